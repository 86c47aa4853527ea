//! Decides whether a request whose sending failed may be sent again, and where.
//!
//! A connection may close just as a request is sent on it. RFC 9112 9.3.1 has clients prepare for it, and RFC 9110
//! 9.2.2 limits what they may do. The cases, and what follows:
//!
//! | what is known | may be sent again |
//! |---|---|
//! | hyper returned the request, the connection was reused | on any connection, as often as it takes |
//! | hyper returned the request, the connection was new | at another endpoint: this one closes what it accepts |
//! | REFUSED_STREAM | once, on any connection |
//! | GOAWAY, and the request was too late for it | once, on a new connection |
//! | HTTP_1_1_REQUIRED | once, over HTTP/1.1 |
//! | closed before the first byte of a response, reused, idempotent | once, on a new connection |
//! | anything else | not by the client |
//!
//! In the rows from REFUSED_STREAM on hyper has consumed the request, so it is sent again from a [`Spare`]: a copy of
//! the head, which exists only for requests without a body. Requests with a body are never copied here. Retries for
//! other reasons, such as statuses, are the balancer's, with a budget.

use std::{error::Error as StdError, io, sync::Arc};

use http::Request;
use http_body::Body as _;
use hyper::client::conn::TrySendError;

#[cfg(feature = "http2")]
use super::http2::{is_go_away, is_refused, needs_http1};
use super::pool::Checkout;
use super::target::Before;
use crate::body::{Body, copy_head};

/// What may be done with a request whose sending failed.
pub(super) enum Resend {
    /// It may be sent once more to the same server.
    Again {
        /// The request, as it came to the client.
        request: Request<Body>,
        /// Only on a new connection: where one idle connection was closed, others may be, too.
        on_new: bool,
        /// Only over HTTP/1.1, as the server demands.
        on_http1: bool,
        /// The server may have received some of it, so this is the last time.
        last: bool,
    },
    /// Nothing of it was sent, but the server closes what it has just accepted: it may be sent to another endpoint.
    Elsewhere(Request<Body>),
    /// It must not be sent again.
    Never,
}

impl Resend {
    /// Decides by the error, by what is left of the request, and by whether the connection was `reused`. Takes the
    /// request out of the error if it is still there, and restores the head that it had `before`.
    pub(super) fn decide(
        failed: &mut TrySendError<Request<Body>>,
        spare: Option<Spare>,
        before: Before,
        reused: bool,
    ) -> Self {
        let returned = failed.take_message().map(|mut request| {
            before.restore(&mut request);
            request
        });
        match (returned, spare) {
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
                    // A refusal of one request says nothing about other connections.
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

/// A copy of the head of a request without a body, from which it may be sent once more.
///
/// The body is an empty one that belongs to the same exchange.
pub(super) struct Spare {
    /// As it came to the client. A balancer in front may have made the copy already.
    head: Arc<Request<()>>,
    body: Body,
    /// Whether the connection that the request was sent on had been used before.
    reused: bool,
}

impl Spare {
    /// Copies a request that could be repeated, or returns `None` without copying. To be called before the head is
    /// changed for the endpoint.
    ///
    /// On a new HTTP/1 connection nothing could be: if it fails, the server failed while it processed the request. On
    /// HTTP/2 any method may have to be, as a refusal is possible at any time.
    pub(super) fn of(request: &Request<Body>, checkout: &Checkout) -> Option<Self> {
        let repeatable = match checkout {
            Checkout::Http1 { reused, .. } => *reused && request.method().is_idempotent(),
            #[cfg(feature = "http2")]
            Checkout::Http2 { .. } => true,
        };
        let lent = request.body().head();
        (repeatable && request.body().is_end_stream()).then(|| Self {
            head: lent.map_or_else(|| Arc::new(copy_head(request, ())), Arc::clone),
            body: request.body().empty_like(),
            reused: checkout.is_reused(),
        })
    }

    /// Returns whether the request may be sent once more after this error.
    ///
    /// RFC 9110 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests", unless it knows that the request
    /// was not processed, as an HTTP/2 server may say. An idempotent one may be repeated if the connection had been
    /// idle: the server most likely closed it just as the request was sent.
    fn may_be_repeated(&self, error: &hyper::Error) -> bool {
        if is_refused(error) || is_go_away(error) || needs_http1(error) {
            return true;
        }
        self.reused && self.head.method().is_idempotent() && is_early_close(error)
    }

    /// Returns the request.
    fn into_request(self) -> Request<Body> {
        copy_head(&self.head, self.body)
    }
}

/// Returns `false`: without HTTP/2 there is no such error.
#[cfg(not(feature = "http2"))]
fn is_refused(_: &hyper::Error) -> bool {
    false
}

/// Returns `false`: without HTTP/2 there is no such error.
#[cfg(not(feature = "http2"))]
fn is_go_away(_: &hyper::Error) -> bool {
    false
}

/// Returns `false`: without HTTP/2 there is no such error.
#[cfg(not(feature = "http2"))]
fn needs_http1(_: &hyper::Error) -> bool {
    false
}

/// Returns whether the connection ended before the first byte of a response.
fn is_early_close(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || {
        let io = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>());
        io.is_some_and(|io| {
            // The last is what rustls reports of a close without a `close_notify`.
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(
                io.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            )
        })
    }
}
