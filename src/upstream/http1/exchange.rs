//! One exchange over an HTTP/1 connection, up to its response head.
//!
//! Steps:
//!
//! 1. Ask the connection whether the endpoint has been silent. Until then, nothing has been sent.
//! 2. Write the head (`request_head.rs`), and as much of the body as the socket takes (`upload.rs`), unless it waits
//!    for a 100 (`expect.rs`).
//! 3. Read heads (`response_head.rs`). Interim responses are handed on; the first other one ends the wait.
//! 4. Decide what drives the connection from now on: the response body, or a task.
//!
//! Steps 2 and 3 alternate with each poll, so that an endpoint may answer before it has the whole request.
//!
//! What is not decided here: whether a failed request is sent again (`resend.rs`), and any deadline. A timeout drops
//! the future from outside.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;

use super::{
    auth::{asks_for_connection, authenticates_connection},
    body::Http1Body,
    connection::Http1,
    error::Http1Error,
    expect::Expectation,
    interim::hand_on,
    request_head::{self, RequestLength},
    response_head::ResponseHead,
    tunnel::hand_over,
};
use crate::{
    body::Body,
    record::ClientConnection,
    rewrite::{Fields, Seen},
    telemetry::CloseCause,
    upstream::error::{Processing, SendFailure},
};

/// Sends a request, and waits for its response head. Resolves once.
///
/// # Cancel safety
///
/// Dropping it closes the connection, unless nothing has been sent: HTTP/1 has no other way to cancel.
pub(in crate::upstream) struct Http1Exchange {
    /// `None` once it has been given to the response body, or closed.
    http1: Option<Http1>,
    request: Request<Body>,
    /// Takes the place of `Host` in the head that is written.
    host: Option<HeaderValue>,
    /// The fields of the request.
    seen: Seen,
    /// The client's connection, if it is known.
    client: Option<ClientConnection>,
    /// Whether the head has been written.
    begun: bool,
    /// Whether the request has a body, which is known when the head is written.
    has_body: bool,
    /// What the request body waits for.
    expectation: Option<Expectation>,
    /// Whether an interim response has arrived.
    answered: bool,
}

impl Http1 {
    /// Sends a request in origin form. `host` takes the place of the `Host` in it, if there is one; `seen` describes
    /// its fields; `client` is the connection that it came from.
    ///
    /// Takes the connection: it travels on in the response body, from which it returns to the pool.
    pub(in crate::upstream) fn send(
        self,
        request: Request<Body>,
        host: Option<HeaderValue>,
        seen: Seen,
        client: Option<ClientConnection>,
    ) -> Http1Exchange {
        Http1Exchange {
            http1: Some(self),
            request,
            host,
            seen,
            client,
            begun: false,
            has_body: false,
            expectation: None,
            answered: false,
        }
    }
}

impl Future for Http1Exchange {
    type Output = Result<Response<Http1Body>, SendFailure>;

    /// Stays pending when it is polled after it has completed.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        Poll::Ready(match ready!(this.poll_response(cx)) {
            Ok(head) => this.finish(head).map_err(|error| this.failed(error)),
            Err(error) => Err(this.failed(error)),
        })
    }
}

impl Http1Exchange {
    /// Steps 1 to 3.
    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Http1Error>> {
        if !self.begun {
            let is_silent = |http1: &mut Http1| http1.is_silent(cx);
            match self.http1.as_mut().map(is_silent) {
                Some(true) => {}
                Some(false) => return Poll::Ready(Err(Http1Error::Stale)),
                None => return Poll::Pending,
            }
            self.begin();
        }
        loop {
            self.poll_send(cx)?;
            let Some(http1) = &mut self.http1 else {
                return Poll::Pending;
            };
            let head = ready!(http1.wire_mut().poll_head(self.request.method(), cx))?;
            let status = head.response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok(head));
            }
            self.interim(&head.response);
        }
    }

    /// Writes the head to the buffer of the connection.
    fn begin(&mut self) {
        if self.seen.any(Fields::EXPECT) {
            self.expectation = Expectation::of(&mut self.request);
        }
        let Some(http1) = &mut self.http1 else {
            return;
        };
        let (request, seen) = (&self.request, self.seen);
        if seen.any(Fields::AUTHORIZATION) && authenticates_connection(request.headers()) {
            http1.belongs_to(self.client);
        }
        let length = RequestLength::of(request, seen);
        let out = http1.begin(length.into());
        request_head::write(request, self.host.as_ref(), length, seen, out);
        (self.begun, self.has_body) = (true, !request.body().is_end_stream());
    }

    /// Sends as much of the request as is allowed and as the socket takes.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Http1Error> {
        let waits = |expectation: &mut Expectation| expectation.poll_patience(cx).is_pending();
        let waits = self.expectation.as_mut().is_some_and(waits);
        if !waits {
            self.meet_expectation();
        }
        let Some(http1) = &mut self.http1 else {
            return Ok(());
        };
        let wire = http1.wire_mut();
        if waits {
            let _ = wire.poll_flush(cx);
        } else if wire.is_still_sending() {
            if let Poll::Ready(Err(error)) = wire.poll_upload(self.request.body_mut(), cx) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Lets the request body go, if it has waited.
    fn meet_expectation(&mut self) {
        if let Some(expectation) = self.expectation.take() {
            expectation.met();
        }
    }

    /// Handles an interim response, which is no answer yet.
    fn interim(&mut self, response: &Response<()>) {
        self.answered = true;
        if response.status() == StatusCode::CONTINUE {
            self.meet_expectation();
        }
        hand_on(&self.request, response);
    }

    /// Step 4.
    fn finish(&mut self, head: ResponseHead) -> Result<Response<Http1Body>, Http1Error> {
        let Some(mut http1) = self.http1.take() else {
            return Err(Http1Error::Stale);
        };
        let ResponseHead {
            response,
            length,
            keeps_alive,
        } = head;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            // RFC 9110 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client".
            if !self.seen.any(Fields::UPGRADE) {
                return Err(Http1Error::Framing(
                    "the endpoint switches protocols unasked",
                ));
            }
            // RFC 9110 7.8: a server that receives both `Upgrade` and `Expect: 100-continue` sends a 100 before the
            // 101. One that did not still wants the body, and the tunnel begins where the body ends.
            self.meet_expectation();
            let body = mem::take(self.request.body_mut());
            return Ok(hand_over(response, http1, body));
        }
        if asks_for_connection(response.status(), response.headers()) {
            http1.belongs_to(self.client);
        }
        if !keeps_alive {
            http1.spend();
        }
        if let Some(expectation) = self.expectation.take() {
            expectation.refused();
            http1.wire_mut().withhold_body();
            http1.spend();
        }
        http1.wire_mut().begin_body(length);
        let body = if http1.wire().is_still_sending() {
            // Both messages are in progress: neither may have to wait for the other to be polled.
            Http1Body::driven_by_task(http1, mem::take(self.request.body_mut()))
        } else {
            Http1Body::driving(http1)
        };
        Ok(response.map(|()| body))
    }

    /// Closes the connection, and returns what is left of the request with the error.
    fn failed(&mut self, error: Http1Error) -> SendFailure {
        if let Some(http1) = self.http1.take().filter(|_| !self.begun) {
            http1.closes(CloseCause::Endpoint);
        }
        let is_whole = !self.begun || !self.has_body;
        let processing = match self.begun {
            false => Processing::Unsent,
            true if error.is_early_close() && !self.answered => Processing::EarlyClose,
            true => Processing::Unknown,
        };
        SendFailure {
            error: error.into(),
            request: is_whole.then(|| mem::take(&mut self.request)),
            processing,
        }
    }
}

impl Drop for Http1Exchange {
    /// Returns a connection that nothing has been sent on to the pool.
    fn drop(&mut self) {
        if let Some(http1) = self.http1.take().filter(|_| !self.begun) {
            http1.go_home();
        }
    }
}
