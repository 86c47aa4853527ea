//! The response future of a client.
//!
//! The usual request finds an idle HTTP/1 connection. Its future has a name and needs no allocation. Everything else is
//! a boxed future: waiting for a connection, HTTP/2, and whatever follows a failure.

use std::{
    fmt,
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::Request;
use tracing::{Instrument, Span};

use super::{
    body::VersionBody,
    error::{SendError, SendFailure},
    http1::Http1Exchange,
    sending::{Sending, Sent},
    target::Before,
};
use crate::body::Body;

/// The response future of [`Client`](super::Client). Resolves when the response head has arrived.
///
/// It must not be polled after it has completed.
pub struct ClientFuture(FutureState);

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all futures are of the large one"
)]
enum FutureState {
    /// The usual way: the request is on a connection that was idle.
    Usual {
        exchange: Http1Exchange,
        sending: Sending,
        before: Before,
    },
    /// Any other way.
    Other(Pin<Box<dyn Future<Output = Sent> + Send>>),
    /// The request cannot be sent.
    Failed(Option<SendError>),
}

impl ClientFuture {
    /// Begins to send a request.
    pub(super) fn new(mut sending: Sending, request: Request<Body>) -> Self {
        let Some(http1) = sending.idle(&request) else {
            return Self(FutureState::Other(Box::pin(sending.run(request))));
        };
        Self(match sending.exchange(http1, true, request) {
            Ok((exchange, before)) => FutureState::Usual {
                exchange,
                sending,
                before,
            },
            Err(error) => FutureState::Failed(Some(sending.ended(error))),
        })
    }

    /// Begins to send a request in a span.
    ///
    /// It is apart from the usual way because requests are large, and each step in between moves them.
    #[cold]
    pub(super) fn in_span(span: Span, sending: Sending, request: Request<Body>) -> Self {
        Self(FutureState::Other(Box::pin(
            sending.run(request).instrument(span),
        )))
    }
}

impl Future for ClientFuture {
    type Output = Sent;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Sent> {
        let failed = match &mut self.0 {
            FutureState::Usual {
                exchange, sending, ..
            } => match ready!(Pin::new(exchange).poll(cx)) {
                Ok(response) => {
                    return Poll::Ready(Ok(sending.answered(response.map(VersionBody::Http1))));
                }
                Err(failed) => failed,
            },
            FutureState::Other(sent) => return sent.as_mut().poll(cx),
            FutureState::Failed(error) => match error.take() {
                Some(error) => return Poll::Ready(Err(error)),
                None => return Poll::Pending,
            },
        };
        self.as_mut().go_on(failed);
        self.poll(cx)
    }
}

impl ClientFuture {
    /// Goes on after a failure, if the request may be sent again.
    #[cold]
    fn go_on(mut self: Pin<&mut Self>, failed: SendFailure) {
        let failed_in = mem::replace(&mut self.0, FutureState::Failed(None));
        if let FutureState::Usual {
            mut sending,
            before,
            ..
        } = failed_in
        {
            self.0 = match sending.again(failed, None, before, true) {
                Ok(request) => FutureState::Other(Box::pin(sending.run(request))),
                Err(error) => FutureState::Failed(Some(error)),
            };
        }
    }
}

impl fmt::Debug for ClientFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFuture").finish_non_exhaustive()
    }
}
