//! The HTTP side of CONNECT (RFC 9110 9.3.6), by which a client has a proxy open a tunnel to a server of its choice.

use std::sync::Arc;

use http::request::Parts;
use http_body::Body;
use hyper::upgrade::OnUpgrade;

use super::{
    relay::{Tunnel, TunnelLimits},
    upgraded::{Upgrade, Upgraded},
};
use crate::{error::Error, record::Record};

/// A client's CONNECT, with the client's end of the future tunnel: its connection over HTTP/1, its stream over HTTP/2.
///
/// All bytes that the client sends after the head of its request belong to the tunnel, even those before the response.
pub(crate) struct ConnectRequest {
    /// The client's end, which hyper hands over once a 2xx has been sent.
    downstream: OnUpgrade,
}

impl ConnectRequest {
    /// Takes the client's end of the connection out of a request.
    ///
    /// # Errors
    ///
    /// Returns a config error if the server around the proxy cannot hand its connections over.
    pub(crate) fn take(head: &mut Parts) -> Result<Self, Error> {
        let downstream = head.extensions.remove::<OnUpgrade>();
        let why = "the server does not hand connections over: serve them with upgrades";
        let downstream = downstream.ok_or_else(|| Error::config("CONNECT", why))?;
        Ok(Self { downstream })
    }

    /// Returns the tunnel to `upstream`, which is to be opened when the client is sent a 2xx. `held` is dropped with
    /// it.
    pub(crate) fn tunnel<B: Body>(
        self,
        upstream: Upgraded,
        record: Arc<Record>,
        limits: TunnelLimits,
        held: B,
    ) -> Tunnel<B> {
        let upstream = Upgrade::ready(upstream);
        Tunnel::new(self.downstream, upstream, record, limits, held)
    }
}
