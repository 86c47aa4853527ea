//! Sends one request over an HTTP/1 connection.
//!
//! Steps:
//!
//! 1. Frame the head: `Transfer-Encoding` or `Content-Length`, `Connection` (`framing.rs`).
//! 2. Leave the connection to its client if the request authenticates it (`auth.rs`), and make the body wait if it
//!    expects a 100 (`expect.rs`).
//! 3. Hand the request to hyper. From here on it may have been sent.
//! 4. Drive the connection until the response head arrives; or, for an upgrade, let a task drive it.
//! 5. Decide what drives the connection while the body is read, and whether it can be reused.
//!
//! What is not decided here: whether a failed request is sent again (`resend.rs`), and any deadline. A timeout drops
//! the future from outside.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
};

use http::{Request, Response, StatusCode, Version};
use hyper::{body::Incoming, client::conn::TrySendError};
use tokio::sync::oneshot;

use super::{
    auth::{asks_for_connection, authenticates_connection},
    body::Http1Body,
    connection::Http1,
    expect::Expectation,
    framing::frame,
};
use crate::{
    body::Body,
    record::Record,
    rewrite::{Fields, Seen},
};

/// The outcome of a sending; the error contains the request if nothing of it was sent.
type Sent<B> = Result<Response<B>, TrySendError<Request<Body>>>;

impl Http1 {
    /// Sends a request in origin form and waits for the response head. `seen` describes the request's fields.
    ///
    /// Takes the connection: it travels on in the response body, from which it returns to the pool.
    ///
    /// # Errors
    ///
    /// hyper's error. If it still contains the request, nothing of that was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection. For an upgrade, whose connection has a task, that task ends when
    /// hyper finds the response dropped, or 30 s later.
    pub(in crate::upstream) fn send(
        mut self,
        mut request: Request<Body>,
        seen: Seen,
    ) -> impl Future<Output = Sent<Http1Body>> {
        frame(&mut request, seen);
        let record = request.body_mut().record().clone();
        if seen.any(Fields::AUTHORIZATION) && authenticates_connection(request.headers()) {
            self.belongs_to(record.client().connection());
        }
        let expectation = match seen.any(Fields::EXPECT) {
            true => Expectation::of(&mut request),
            false => None,
        };
        // Before the first await, so that the future need not have room for a request.
        let response = self.try_send(request);
        self.answer(response, record, expectation, seen.any(Fields::UPGRADE))
    }

    /// Waits for the response head, and pairs the response body with what drives the connection. Steps 4 and 5.
    async fn answer(
        mut self,
        response: impl Future<Output = Sent<Incoming>>,
        record: Arc<Record>,
        expectation: Option<Expectation>,
        upgrade: bool,
    ) -> Sent<Http1Body> {
        let mut response = pin!(response);
        if upgrade {
            // The connection ends with this exchange, or its stream goes to the tunnel. Either way a task drives it:
            // the two sides of a tunnel have no common future.
            let (done, is_done) = oneshot::channel();
            self.detach_for_tunnel(is_done);
            let response = response.await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                self.io().become_tunnel();
                // RFC 9110 7.8: a server that receives both `Upgrade` and `Expect: 100-continue` sends a 100 before the
                // 101. One that did not still wants the body, and the tunnel begins where the body ends.
                expectation.inspect(Expectation::send_body);
            } else if let Some(expectation) = expectation {
                expectation.withhold_body();
            }
            self.io().passed_head();
            let io = self.io().clone();
            return Ok(response.map(|incoming| Http1Body::driven_elsewhere(incoming, io, done)));
        }

        let response = poll_fn(|cx| self.drive(cx, |fed| response.as_mut().poll(fed))).await?;
        self.io().passed_head();
        if asks_for_connection(response.status(), response.headers()) {
            self.belongs_to(record.client().connection());
        }
        let withheld = expectation.is_some_and(|expectation| expectation.withhold_body());
        if withheld {
            self.withhold_body();
        }
        if response.version() < Version::HTTP_11 {
            // hyper would send the next request as HTTP/1.0 too, a version in which a body cannot be chunked.
            self.spend();
        }

        let body = |incoming| match self.is_open() {
            false => Http1Body::ended(incoming),
            true if !record.upload().is_under_way() => Http1Body::driving(incoming, self),
            // Both bodies are in progress: neither may have to wait for the other to be polled.
            true => {
                let (done, is_done) = oneshot::channel();
                let io = self.io().clone();
                self.detach(is_done);
                Http1Body::driven_elsewhere(incoming, io, done)
            }
        };
        let mut response = response.map(body);
        if http_body::Body::is_end_stream(response.body()) {
            response.body_mut().finish();
        }
        Ok(response)
    }
}
