//! The HTTP side of an upgrade: what a client asks for, and what its endpoint agrees to.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use hyper::upgrade::{OnUpgrade, on};

use super::{
    relay::{Tunnel, TunnelLimits},
    upgraded::upgrade,
};
use crate::{
    body::Body,
    error::{Error, ErrorKind},
    record::Record,
    rewrite::{Fields, Seen, tokens},
};

/// A client's request to switch protocols, with the client's end of the future tunnel.
pub(crate) struct UpgradeRequest {
    /// The protocol, as the client wrote it: `websocket`.
    token: HeaderValue,
    /// The client's connection, once hyper hands it over.
    downstream: OnUpgrade,
}

impl UpgradeRequest {
    /// Takes the client's end of the connection out of a request that asks for an allowed upgrade. Returns `None` for
    /// any other: it is forwarded as the plain request that it also is.
    ///
    /// The fields stay on the head; they are stripped later, as all hop-by-hop fields are.
    ///
    /// Of several tokens, the first allowed one is taken. `allowed` is in any case; protocol names are compared without
    /// regard to it, as RFC 9110 7.8 asks.
    ///
    /// Only HTTP/1.1 has upgrades. RFC 9110 7.8: "A server MUST ignore an Upgrade header field that is received in an
    /// HTTP/1.0 request", and in HTTP/2 the field is malformed (RFC 9113 8.2.2).
    ///
    /// The request may have a body, as those of `docker exec` do. What follows the 101 belongs to the new protocol, but
    /// the request is HTTP to its end, which its framing determines: both connections are handed to the tunnel when the
    /// body has ended, however early the endpoint has agreed.
    pub(crate) fn take(
        request: &mut Request<Body>,
        seen: Seen,
        allowed: &[String],
    ) -> Option<Self> {
        if request.version() != Version::HTTP_11 || !seen.any(Fields::UPGRADE) {
            return None;
        }
        let headers = request.headers();
        // RFC 9110 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option". Without it the field is
        // left over from another hop.
        let upgrade = |option: &[u8]| option.eq_ignore_ascii_case(b"upgrade");
        if !tokens(headers, &header::CONNECTION).any(upgrade) {
            return None;
        }
        let allowed = |token: &&[u8]| {
            allowed
                .iter()
                .any(|allowed| token.eq_ignore_ascii_case(allowed.as_bytes()))
        };
        let token = tokens(headers, &header::UPGRADE).find(allowed)?;
        let token = HeaderValue::from_bytes(token).ok()?;
        // Absent if the server around the proxy cannot hand its connection over, and in tests without a server.
        request.extensions().get::<OnUpgrade>()?;
        Some(Self {
            token,
            downstream: on(request),
        })
    }

    /// Puts `Upgrade` on the head of a request. The HTTP/1 connection that sends it adds the option to `Connection`.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::UPGRADE, self.token.clone());
    }

    /// Returns the protocol that both sides agree on, and the response with a tunnel in place of its body.
    ///
    /// RFC 9110 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client in the corresponding
    /// request's Upgrade header field." The token is returned as the client wrote it.
    ///
    /// `idle` is the idle timeout of the tunnel.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Upgrade`], a 502, if `Upgrade` in the response is not exactly the token that was asked for,
    /// or if the response's connection cannot be handed over, as that of an endpoint that is a service in this process.
    pub(crate) fn agree<B: http_body::Body>(
        self,
        mut response: Response<B>,
        record: Arc<Record>,
        idle: Option<Duration>,
    ) -> Result<(HeaderValue, Response<Tunnel<B>>), Error> {
        let ours = |token: &[u8]| token.eq_ignore_ascii_case(self.token.as_bytes());
        let headers = response.headers();
        let agreed = headers
            .get(header::UPGRADE)
            .is_some_and(|token| ours(token.as_bytes()))
            && tokens(headers, &header::UPGRADE).count() == 1;
        let upstream = upgrade(&mut response).filter(|_| agreed);
        let Some(upstream) = upstream else {
            // Before the response is dropped, whose guard would take it for a client that left.
            record.stop(ErrorKind::Upgrade);
            return Err(Error::new(ErrorKind::Upgrade));
        };
        let downstream = self.downstream;
        let limits = TunnelLimits {
            idle,
            ..TunnelLimits::default()
        };
        Ok((
            self.token,
            response.map(|held| Tunnel::new(downstream, upstream, record, limits, held)),
        ))
    }
}

/// Puts the fields of an upgrade back on a response head, from which they were stripped as hop-by-hop fields.
///
/// For a 101, and for a 426, whose `Upgrade` says what the endpoint requires (RFC 9110 15.5.22).
pub(crate) fn announce(headers: &mut HeaderMap, token: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, token);
}
