//! The HTTP side of an upgrade: what a client asks for, and what its endpoint agrees to.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, on};

#[cfg(feature = "http2")]
use super::{
    extended_connect::{self, ExtendedConnect},
    websocket::WEBSOCKET,
};
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
    /// The client's connection, or its stream over HTTP/2, once hyper hands it over.
    downstream: OnUpgrade,
    /// The handshake, if the client asked over HTTP/2.
    #[cfg(feature = "http2")]
    connect: Option<ExtendedConnect>,
}

impl UpgradeRequest {
    /// Takes the client's end of the connection out of a request that asks for an allowed upgrade. Returns `None` for
    /// any other: it is forwarded as the plain request that it also is.
    ///
    /// Over HTTP/1.1, the fields stay on the head; they are stripped later, as all hop-by-hop fields are. A request by
    /// extended CONNECT over HTTP/2 (RFC 8441) becomes a GET.
    ///
    /// `allowed` is in any case; protocol names are compared without regard to it, as RFC 9110 7.8 asks.
    ///
    /// The request may have a body, as those of `docker exec` do. What follows the 101 belongs to the new protocol, but
    /// the request is HTTP to its end, which its framing determines: both connections are handed to the tunnel when the
    /// body has ended, however early the endpoint has agreed.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::ConnectProtocol`], a 501, for an extended CONNECT that is not for an allowed WebSocket, or
    /// whose stream the server around the proxy does not hand over. It is no plain request that could be forwarded.
    pub(crate) fn take(
        request: &mut Request<Body>,
        seen: Seen,
        allowed: &[String],
    ) -> Result<Option<Self>, Error> {
        let allowed = |token: &[u8]| {
            allowed
                .iter()
                .any(|allowed| token.eq_ignore_ascii_case(allowed.as_bytes()))
        };
        #[cfg(feature = "http2")]
        if let Some(connect) = ExtendedConnect::take(request, allowed)? {
            return match is_handed_over(request) {
                true => Ok(Some(Self {
                    token: HeaderValue::from_static(WEBSOCKET),
                    downstream: on(request),
                    connect: Some(connect),
                })),
                false => Err(Error::new(ErrorKind::ConnectProtocol)),
            };
        }
        let token = asked_for(request, seen, allowed).filter(|_| is_handed_over(request));
        Ok(token.map(|token| Self {
            token,
            downstream: on(request),
            #[cfg(feature = "http2")]
            connect: None,
        }))
    }

    /// Puts `Upgrade` on the head of a request. The HTTP/1 connection that sends it adds the option to `Connection`.
    pub(crate) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::UPGRADE, self.token.clone());
    }

    /// Returns whether the client would take a response of this status for an agreement, although it is none.
    ///
    /// Only a 101 opens a tunnel over HTTP/1.1. Over HTTP/2 every 2xx does (RFC 8441 5), so a 2xx by which an endpoint
    /// has ignored `Upgrade` must not reach the client.
    pub(crate) fn is_agreed_by_mistake(&self, status: StatusCode) -> bool {
        self.is_over_http2() && status.is_success()
    }

    /// Returns whether the client asked by extended CONNECT.
    fn is_over_http2(&self) -> bool {
        #[cfg(feature = "http2")]
        return self.connect.is_some();
        #[cfg(not(feature = "http2"))]
        return false;
    }

    /// Returns the response with a tunnel in place of its body, and the protocol that is to be named in it, which both
    /// sides agree on. Over HTTP/2 none is named.
    ///
    /// RFC 9110 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client in the corresponding
    /// request's Upgrade header field." The token is returned as the client wrote it.
    ///
    /// `idle` is the idle timeout of the tunnel.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Upgrade`], a 502, if `Upgrade` in the response is not exactly the token that was asked for;
    /// if the key of a handshake that was translated is not accepted; or if the response's connection cannot be handed
    /// over, as that of an endpoint that is a service in this process.
    pub(crate) fn agree<B: http_body::Body>(
        self,
        mut response: Response<B>,
        record: Arc<Record>,
        idle: Option<Duration>,
    ) -> Result<(Option<HeaderValue>, Response<Tunnel<B>>), Error> {
        let agreed = self.is_agreed_in(response.headers());
        let upstream = upgrade(&mut response).filter(|_| agreed);
        let Some(upstream) = upstream else {
            // Before the response is dropped, whose guard would take it for a client that left.
            record.stop(ErrorKind::Upgrade);
            return Err(Error::new(ErrorKind::Upgrade));
        };
        #[cfg(feature = "http2")]
        if self.connect.is_some() {
            extended_connect::agree(&mut response);
        }
        let named = (!self.is_over_http2()).then_some(self.token);
        let downstream = self.downstream;
        let limits = TunnelLimits {
            idle,
            ..TunnelLimits::default()
        };
        Ok((
            named,
            response.map(|held| Tunnel::new(downstream, upstream, record, limits, held)),
        ))
    }

    /// Returns whether the head of a 101 agrees to what the client asked for, and to nothing else.
    fn is_agreed_in(&self, headers: &HeaderMap) -> bool {
        let mut agreed = tokens(headers, &header::UPGRADE);
        let ours = agreed
            .next()
            .is_some_and(|token| token.eq_ignore_ascii_case(self.token.as_bytes()));
        let agreed = ours && agreed.next().is_none();
        #[cfg(feature = "http2")]
        let agreed = agreed
            && self
                .connect
                .as_ref()
                .is_none_or(|connect| connect.is_accepted_by(headers));
        agreed
    }
}

/// Returns whether the server around the proxy hands the client's connection over. Some cannot, and none is there in
/// tests without a server.
fn is_handed_over(request: &Request<Body>) -> bool {
    request.extensions().get::<OnUpgrade>().is_some()
}

/// Returns the allowed protocol that a request over HTTP/1.1 asks for: the first of several.
///
/// Only HTTP/1.1 has upgrades. RFC 9110 7.8: "A server MUST ignore an Upgrade header field that is received in an
/// HTTP/1.0 request", and in HTTP/2 the field is malformed (RFC 9113 8.2.2).
fn asked_for(
    request: &Request<Body>,
    seen: Seen,
    allowed: impl Fn(&[u8]) -> bool,
) -> Option<HeaderValue> {
    if request.version() != Version::HTTP_11 || !seen.any(Fields::UPGRADE) {
        return None;
    }
    let headers = request.headers();
    // RFC 9110 7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option". Without it the field is left
    // over from another hop.
    let upgrade = |option: &[u8]| option.eq_ignore_ascii_case(b"upgrade");
    if !tokens(headers, &header::CONNECTION).any(upgrade) {
        return None;
    }
    let token = tokens(headers, &header::UPGRADE).find(|token| allowed(token))?;
    HeaderValue::from_bytes(token).ok()
}

/// Puts the fields of an upgrade back on a response head, from which they were stripped as hop-by-hop fields.
///
/// For a 101, and for a 426, whose `Upgrade` says what the endpoint requires (RFC 9110 15.5.22).
pub(crate) fn announce(headers: &mut HeaderMap, token: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, token);
}
