//! The client's side of a WebSocket over HTTP/2 (RFC 8441): a request by extended CONNECT becomes one to upgrade.
//!
//! Everything behind this file, hooks and balancer and endpoint, sees the form that WebSocket has over HTTP/1.1: a GET
//! with `Upgrade`, and a 101 that agrees. A service that speaks HTTP/2 to its endpoint translates it back.

use http::{Extensions, HeaderMap, Method, Request, Response, StatusCode, header};
use hyper::ext::Protocol;

use super::websocket::{WEBSOCKET, WebSocketKey};
use crate::{
    body::Body,
    error::{Error, ErrorKind},
};

/// A client's handshake over HTTP/2, of which an HTTP/1.1 handshake has been made.
#[derive(Debug)]
pub(super) struct ExtendedConnect {
    /// The key that the endpoint has to accept.
    key: WebSocketKey,
}

impl ExtendedConnect {
    /// Makes a GET of a request by extended CONNECT. Returns `None` for any other request.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::ConnectProtocol`], a 501, if the protocol is another one than `websocket`, or if that is
    /// not `allowed`. RFC 9220 3 says so of HTTP/3; RFC 8441 leaves it open for HTTP/2.
    pub(super) fn take(
        request: &mut Request<Body>,
        allowed: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Option<Self>, Error> {
        let Some(protocol) = protocol(request.method(), request.extensions()) else {
            return Ok(None);
        };
        let protocol = protocol.as_ref();
        if !protocol.eq_ignore_ascii_case(WEBSOCKET.as_bytes()) || !allowed(protocol) {
            return Err(Error::new(ErrorKind::ConnectProtocol));
        }
        let key = WebSocketKey::random();
        // A client over HTTP/2 has no use for a key; one that it has sent anyway would go up beside this one.
        key.put(request.headers_mut());
        *request.method_mut() = Method::GET;
        request.extensions_mut().remove::<Protocol>();
        Ok(Some(Self { key }))
    }

    /// Returns whether the head of a 101 accepts the key.
    pub(super) fn is_accepted_by(&self, headers: &HeaderMap) -> bool {
        self.key.is_accepted_by(headers)
    }
}

/// Makes the head of a 101 the one that agrees over HTTP/2.
///
/// RFC 8441 5: the server answers the handshake "with a 2xx status code". Hop-by-hop fields are removed later, as from
/// any head.
pub(super) fn agree<B>(response: &mut Response<B>) {
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().remove(header::SEC_WEBSOCKET_ACCEPT);
}

/// Returns the protocol of an extended CONNECT: its `:protocol`.
fn protocol<'a>(method: &Method, extensions: &'a Extensions) -> Option<&'a Protocol> {
    extensions.get().filter(|_| *method == Method::CONNECT)
}
