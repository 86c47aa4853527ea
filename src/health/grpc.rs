//! The gRPC check: the [gRPC health checking protocol], `grpc.health.v1.Health`.
//!
//! `Watch` is a stream that begins with the state of a service and continues with each change of it. `Check` asks for
//! the state once, and is all that many servers have.
//!
//! Only what the protocol needs is here: one message up, messages without compression down, and the status, which is in
//! the trailers, or in the head of a response without a message ("gRPC over HTTP2", Responses).
//!
//! [gRPC health checking protocol]: https://github.com/grpc/grpc/blob/master/doc/health-checking.md

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};

use super::{
    failure::CheckFailure,
    http::{USER_AGENT, broken},
    message::{MessageReader, ServingStatus},
};
use crate::{
    body::Body,
    error::{BoxError, Error},
};

/// The status of a method that the server does not have.
pub(super) const UNIMPLEMENTED: u32 = 12;

/// The status of a server that sends none, or none that can be read: UNKNOWN.
const UNKNOWN: u32 = 2;

/// The calls of a gRPC check.
#[derive(Clone, Debug)]
pub(super) struct GrpcCheck {
    /// The encoded message that asks for the service.
    pub(super) message: Bytes,
    /// `None` leaves it to the endpoint's client, which sends its own authority.
    pub(super) host: Option<HeaderValue>,
}

/// The states that a server sends in response to a call.
#[derive(Debug)]
pub(super) struct States<B> {
    /// Boxed, since a `Watch` is kept between polls of different futures.
    body: Pin<Box<B>>,
    reader: MessageReader,
}

impl GrpcCheck {
    /// Asks for the state of the service once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the call.
    pub(super) async fn check<S, B>(&self, service: S) -> Result<(), CheckFailure>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Error>,
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let path = Uri::from_static("/grpc.health.v1.Health/Check");
        let mut states = self.call(path, service).await?;
        let state = states.next().await?;
        states.finish().await?;
        state.judge()
    }

    /// Begins to watch the state of the service. Returns the state as it is now, and the stream of what follows.
    ///
    /// # Errors
    ///
    /// [`CheckFailure::GrpcStatus`] with [`UNIMPLEMENTED`] if the server has no `Watch`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the stream, cancels the call.
    pub(super) async fn watch<S, B>(
        &self,
        service: S,
    ) -> Result<(ServingStatus, States<B>), CheckFailure>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Error>,
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let path = Uri::from_static("/grpc.health.v1.Health/Watch");
        let mut states = self.call(path, service).await?;
        Ok((states.next().await?, states))
    }

    /// Calls a method, and returns its response once the head has arrived.
    async fn call<S, B>(&self, path: Uri, service: S) -> Result<States<B>, CheckFailure>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Error>,
    {
        let response = service.oneshot(self.request(path)).await;
        let (head, body) = response.map_err(CheckFailure::Service)?.into_parts();
        if head.status != StatusCode::OK {
            return Err(CheckFailure::Status(head.status));
        }
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        if !head.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
            return Err(CheckFailure::NotGrpc("another content type"));
        }
        if head.headers.contains_key("grpc-status") {
            return Err(ended(&head.headers));
        }
        Ok(States {
            body: Box::pin(body),
            reader: MessageReader::default(),
        })
    }

    /// Makes the request of a call.
    fn request(&self, path: Uri) -> Request<Body> {
        let mut request = Request::new(Body::from(self.message.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path;
        let fields = request.headers_mut();
        let (grpc, trailers) = ("application/grpc", "trailers");
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(grpc));
        fields.insert(header::TE, HeaderValue::from_static(trailers));
        fields.insert(header::USER_AGENT, USER_AGENT);
        if let Some(host) = &self.host {
            fields.insert(header::HOST, host.clone());
        }
        request
    }
}

impl<B> States<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Waits for the next state.
    ///
    /// # Errors
    ///
    /// Why there is none: the call has ended, or the connection broke.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what has arrived is kept for the next call.
    pub(super) async fn next(&mut self) -> Result<ServingStatus, CheckFailure> {
        loop {
            if let Some(state) = self.reader.next()? {
                return Ok(state);
            }
            match self.body.frame().await {
                Some(frame) => match frame.map_err(broken)?.into_data() {
                    Ok(data) => self.reader.push(&data),
                    Err(frame) => {
                        return Err(ended(&frame.into_trailers().unwrap_or_default()));
                    }
                },
                None => return Err(ended(&HeaderMap::new())),
            }
        }
    }

    /// Waits for the end of a call that has sent its one message.
    ///
    /// # Errors
    ///
    /// If it does not end with a status of 0. A server may find out that it fails after it has sent the message.
    async fn finish(mut self) -> Result<(), CheckFailure> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(trailers) = frame.map_err(broken)?.into_trailers() {
                let status = status_of(&trailers);
                return match status {
                    0 if !self.reader.is_partial() => Ok(()),
                    0 => Err(CheckFailure::NotGrpc("more than one message")),
                    status => Err(CheckFailure::GrpcStatus(status)),
                };
            }
        }
        Err(CheckFailure::GrpcStatus(UNKNOWN))
    }
}

/// Returns the failure of a call that ended before it sent a message that was waited for.
fn ended(trailers: &HeaderMap) -> CheckFailure {
    match status_of(trailers) {
        0 => CheckFailure::NotGrpc("no message"),
        status => CheckFailure::GrpcStatus(status),
    }
}

/// Returns the status of a call.
///
/// "Statuses and their use in gRPC": a client that finds none takes it for UNKNOWN.
fn status_of(trailers: &HeaderMap) -> u32 {
    let status = trailers.get("grpc-status").and_then(|value| {
        let value = value.to_str().ok()?;
        value.parse().ok()
    });
    status.unwrap_or(UNKNOWN)
}
