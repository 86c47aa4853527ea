//! Upgrades (RFC 9110 7.8), WebSockets over HTTP/2 (RFC 8441) and CONNECT (RFC 9110 9.3.6): two connections become one
//! tunnel of raw bytes.
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
//! A client that opens a WebSocket over HTTP/2 asks by extended CONNECT. The first step makes an upgrade of it, whose
//! key [`WebSocketKey`] invents and the third step checks, so that hooks, balancer and endpoint see one form. Toward an
//! endpoint that speaks HTTP/2, its client (`upstream/http2/`) translates the other way. Other extended CONNECT is
//! refused with 501.
//!
//! CONNECT is simpler: [`ConnectRequest::take`] takes the client's end out, the forward proxy connects to the server,
//! and [`ConnectRequest::tunnel`] joins both. No endpoint has to agree, and there is no HTTP on the other side.
//!
//! `wss://` needs nothing more: the server around the proxy terminates TLS on the client's side, and the endpoint's
//! client speaks it on the other.

mod connect;
mod end;
#[cfg(feature = "http2")]
mod extended_connect;
mod meter;
mod open;
mod relay;
mod upgrade;
mod upgraded;
#[cfg(feature = "http2")]
mod websocket;

pub use self::upgraded::{Upgrade, Upgraded, upgrade};
#[cfg(feature = "http2")]
pub(crate) use self::websocket::{WEBSOCKET, WebSocketKey};
pub(crate) use self::{
    connect::ConnectRequest,
    end::TunnelReport,
    open::OpenTunnels,
    relay::{Tunnel, TunnelLimits},
    upgrade::{UpgradeRequest, announce},
    upgraded::offer,
};
