//! HTTP/1 upgrades: two connections become one tunnel of raw bytes.
//!
//! RFC 9110 7.8. A token is forwarded only if it is allowed, so that no client can talk an endpoint into `h2c` behind
//! the proxy's back; nothing is tunnelled before the endpoint's 101; what the endpoint refuses is relayed like any
//! other response.

mod open;
mod relay;
mod upgrade;

pub(crate) use self::{
    open::OpenTunnels,
    upgrade::{UpgradeRequest, announce},
};
