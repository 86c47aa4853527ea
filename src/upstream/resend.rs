//! Decides whether a request whose sending failed may be sent again, and where.
//!
//! A connection may close just as a request is sent on it. RFC 9112 9.3.1 has clients prepare for it, and RFC 9110
//! 9.2.2 limits what they may do. The cases, and what follows:
//!
//! | what is known | may be sent again |
//! |---|---|
//! | nothing was sent, the connection was reused | on any connection, as often as it takes |
//! | nothing was sent, the connection was new | at another endpoint: this one closes what it accepts |
//! | REFUSED_STREAM | once, on any connection |
//! | GOAWAY, and the request was too late for it | once, on a new connection |
//! | HTTP_1_1_REQUIRED | once, over HTTP/1.1 |
//! | closed before the first byte of a response, reused, idempotent | once, on a new connection |
//! | anything else | not by the client |
//!
//! In the rows from REFUSED_STREAM on, only a request without a body can be sent again. Over HTTP/1 it is still there;
//! over HTTP/2 hyper has consumed it, so it is sent again from a [`Spare`], a copy of its head. Requests with a body
//! are never copied here. Retries for other reasons, such as statuses, are the balancer's, with a budget.

use std::sync::Arc;

use http::Request;
use http_body::Body as _;

use super::{
    error::{Processing, SendFailure},
    target::Before,
};
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
    /// Decides by what is known of the request's processing, by what is left of it, and by whether the connection was
    /// `reused`. A request that was `repeated` is not repeated again.
    ///
    /// Takes the request out of the failure if it is still there, and restores the head that it had `before`.
    pub(super) fn decide(
        failed: &mut SendFailure,
        spare: Option<Spare>,
        before: Before,
        reused: bool,
        repeated: bool,
    ) -> Self {
        let returned = failed.request.take().map(|mut request| {
            before.restore(&mut request);
            request
        });
        let Some(request) = returned.or_else(|| spare.map(Spare::into_request)) else {
            return Self::Never;
        };
        // RFC 9110 9.2.2: "A proxy MUST NOT automatically retry non-idempotent requests", unless it knows that the
        // request was not processed, as an HTTP/2 server may say. An idempotent one may be repeated if the connection
        // had been idle: the server most likely closed it just as the request was sent.
        let (on_new, on_http1) = match failed.processing {
            // The connection closed before it took the request.
            Processing::Unsent if reused => {
                return Self::Again {
                    request,
                    on_new: false,
                    on_http1: false,
                    last: false,
                };
            }
            Processing::Unsent => return Self::Elsewhere(request),
            _ if repeated => return Self::Never,
            // A refusal of one request says nothing about other connections.
            Processing::Refused => (false, false),
            Processing::NeedsHttp1 => (false, true),
            Processing::TooLate => (true, false),
            Processing::EarlyClose if reused && request.method().is_idempotent() => (true, false),
            Processing::EarlyClose | Processing::Unknown => return Self::Never,
        };
        Self::Again {
            request,
            on_new,
            on_http1,
            last: true,
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
}

impl Spare {
    /// Copies a request that has no body, or returns `None` without copying. To be called before the head is changed
    /// for the endpoint.
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub(super) fn of(request: &Request<Body>) -> Option<Self> {
        let lent = request.body().head();
        request.body().is_end_stream().then(|| Self {
            head: lent.map_or_else(|| Arc::new(copy_head(request, ())), Arc::clone),
            body: request.body().empty_like(),
        })
    }

    /// Returns the request.
    fn into_request(self) -> Request<Body> {
        copy_head(&self.head, self.body)
    }
}
