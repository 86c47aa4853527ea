//! What becomes of a request whose sending failed: whether it may be sent again, and where.

use std::{error::Error as StdError, io};

use http::{Extensions, HeaderMap, Method, Request, Uri};
use http_body::Body as _;
use hyper::client::conn::TrySendError;

#[cfg(feature = "http2")]
use super::http2::{is_go_away, is_refused, needs_http1};
use super::pool::Checkout;
use crate::body::Body;

/// What may be done with a request whose sending failed.
pub(super) enum Resend {
    /// It may be sent once more to the same server.
    Again {
        request: Request<Body>,
        /// Only on a new connection: where one idle connection was closed, others may be, too.
        on_new: bool,
        /// Only over HTTP/1.1, which the server asks for.
        on_http1: bool,
        /// The server may have seen a part of it, so this is the last time.
        last: bool,
    },
    /// Nothing of it was sent, but the server closes what it has just accepted: it may go to another endpoint.
    Elsewhere(Request<Body>),
    /// It must not be sent again.
    Never,
}

impl Resend {
    /// Decides by the error and by what is left of the request.
    pub(super) fn decide(
        failed: &mut TrySendError<Request<Body>>,
        spare: Option<Spare>,
        reused: bool,
    ) -> Self {
        match (failed.take_message(), spare) {
            // The connection closed before it took the request.
            (Some(request), _) if reused => Self::Again {
                request,
                on_new: false,
                on_http1: false,
                last: false,
            },
            (Some(request), _) => Self::Elsewhere(request),
            (None, Some(spare)) if spare.may_be_repeated(failed.error()) => {
                let on_http1 = needs_http1(failed.error());
                Self::Again {
                    // A refusal of one request says nothing of other connections.
                    on_new: !(on_http1 || is_refused(failed.error())),
                    on_http1,
                    request: spare.into_request(),
                    last: true,
                }
            }
            (None, _) => Self::Never,
        }
    }
}

/// A copy of a head without a body, which may be sent once more.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    extensions: Extensions,
    body: Body,
    reused: bool,
}

impl Spare {
    /// Copies what could be repeated: on a new HTTP/1 connection nothing could.
    pub(super) fn of(request: &Request<Body>, checkout: &Checkout) -> Option<Self> {
        let repeatable = match checkout {
            Checkout::Http1 { reused, .. } => *reused && request.method().is_idempotent(),
            #[cfg(feature = "http2")]
            Checkout::Http2 { .. } => true,
        };
        (repeatable && request.body().is_end_stream()).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
            body: request.body().empty_like(),
            reused: checkout.is_reused(),
        })
    }

    /// RFC 9110 9.2.2: a proxy must not automatically retry a request whose method is not idempotent, unless it knows
    /// that it was not processed. An idempotent one may be when the connection had idled: the server most likely closed
    /// it as the request went out.
    fn may_be_repeated(&self, error: &hyper::Error) -> bool {
        if is_refused(error) || is_go_away(error) || needs_http1(error) {
            return true;
        }
        self.reused && self.method.is_idempotent() && is_early_close(error)
    }

    fn into_request(self) -> Request<Body> {
        let mut request = Request::new(self.body);
        *request.extensions_mut() = self.extensions;
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

#[cfg(not(feature = "http2"))]
fn is_refused(_: &hyper::Error) -> bool {
    false
}

#[cfg(not(feature = "http2"))]
fn is_go_away(_: &hyper::Error) -> bool {
    false
}

#[cfg(not(feature = "http2"))]
fn needs_http1(_: &hyper::Error) -> bool {
    false
}

/// Whether the connection ended before the first byte of a response.
fn is_early_close(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || {
        let io = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>());
        io.is_some_and(|io| {
            // The last is what rustls says of a close without a farewell.
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(
                io.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            )
        })
    }
}
