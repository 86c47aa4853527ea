//! HTTP/1.1 upgrades (RFC 9110 7.8) and CONNECT (RFC 9110 9.3.6): two connections become one tunnel of raw bytes.
//!
//! An upgrade passes through four steps:
//!
//! 1. [`UpgradeRequest::take`] recognises a request to upgrade, and takes the client's end of the connection out of its
//!    extensions. An `Upgrade` token is forwarded only if it is allowed, so that no client can switch an endpoint's
//!    connection to `h2c` and send requests on it that the proxy has not checked.
//! 2. [`UpgradeRequest::ask`] puts `Upgrade` on the rewritten head.
//! 3. [`UpgradeRequest::agree`] checks the endpoint's 101. Nothing is tunnelled before it, and any other response is
//!    relayed as usual.
//! 4. [`OpenTunnels::open`] spawns a task that copies bytes in both directions until the tunnel ends.
//!
//! CONNECT is simpler: [`ConnectRequest::take`] takes the client's end out, the forward proxy connects to the server,
//! and [`ConnectRequest::tunnel`] joins both. No endpoint has to agree, and there is no HTTP on the other side.
//!
//! Extended CONNECT over HTTP/2 (RFC 8441) is not supported. `wss://` needs nothing more: the server
//! around the proxy terminates TLS on the client's side, and the endpoint's client speaks it on the other.

mod connect;
mod end;
mod meter;
mod open;
mod relay;
mod upgrade;
mod upgraded;

pub use self::upgraded::{Upgrade, Upgraded, upgrade};
pub(crate) use self::{
    connect::ConnectRequest,
    end::TunnelReport,
    open::OpenTunnels,
    relay::{Tunnel, TunnelLimits},
    upgrade::{UpgradeRequest, announce},
    upgraded::offer,
};
