//! One request over one HTTP/1 connection.

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

type Sent<B> = Result<Response<B>, TrySendError<Request<Body>>>;

impl Http1 {
    /// Sends a request in origin form and waits for the response head. `seen` is what is in the request's.
    ///
    /// Dropping the future closes the connection. An error that still has the request in it was not sent.
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
        // At once, so that the future has no room for a request.
        let response = self.try_send(request);
        self.answer(response, record, expectation, seen.any(Fields::UPGRADE))
    }

    async fn answer(
        mut self,
        response: impl Future<Output = Sent<Incoming>>,
        record: Arc<Record>,
        expectation: Option<Expectation>,
        upgrade: bool,
    ) -> Sent<Http1Body> {
        let mut response = pin!(response);
        if upgrade {
            // The connection ends with the exchange, or hands its stream over to the tunnel.
            let (done, is_done) = oneshot::channel();
            self.detach_for_tunnel(is_done);
            let response = response.await?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                self.io().become_tunnel();
                // RFC 9110 7.8: the 100 should have come first. The tunnel begins where the body ends.
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
            // hyper would send the next request as HTTP/1.0 too, which has no way to say that a body is chunked.
            self.spend();
        }

        let body = |incoming| match self.is_open() {
            false => Http1Body::ended(incoming),
            true if !record.upload().is_under_way() => Http1Body::driving(incoming, self),
            // Both bodies flow: neither must wait for the other to be polled.
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
