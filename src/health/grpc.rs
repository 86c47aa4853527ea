//! The gRPC check: the [gRPC health checking protocol], `grpc.health.v1.Health`.
//!
//! `Watch` is a stream that begins with the state of a service and continues with each change of it. `Check` asks for
//! the state once, and is all that many servers have.
//!
//! [gRPC health checking protocol]: https://github.com/grpc/grpc/blob/master/doc/health-checking.md

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use tower::{Service, ServiceExt};

use super::{
    failure::CheckFailure,
    http::{USER_AGENT, broken},
    message::{MAX_MESSAGE, ServingStatus},
};
use crate::{
    body::Body,
    error::{BoxError, Error},
    grpc::{CallFailure, GrpcViolation, MessageStream, call_request},
};

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
pub(super) struct States<B>(MessageStream<B>);

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
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
    {
        let mut request = call_request(path, Body::from(self.message.clone()));
        let fields = request.headers_mut();
        fields.insert(header::USER_AGENT, USER_AGENT);
        if let Some(host) = &self.host {
            fields.insert(header::HOST, host.clone());
        }
        let response = service.oneshot(request).await;
        let response = response.map_err(CheckFailure::Service)?;
        Ok(States(MessageStream::new(response, MAX_MESSAGE)?))
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
        let message = self.0.next().await?;
        let message = message.ok_or(CheckFailure::NotGrpc("no message"))?;
        Ok(ServingStatus::of(&message).map_err(CallFailure::from)?)
    }

    /// Waits for the end of a call that has sent its one message.
    ///
    /// # Errors
    ///
    /// If it does not end with a status of 0. A server may find out that it fails after it has sent the message.
    async fn finish(mut self) -> Result<(), CheckFailure> {
        match self.0.next().await? {
            None => Ok(()),
            Some(_) => Err(CheckFailure::NotGrpc("more than one message")),
        }
    }
}

impl From<CallFailure> for CheckFailure {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Http(status) => Self::Status(status),
            CallFailure::Grpc(status, _) => Self::GrpcStatus(status),
            CallFailure::Violation(GrpcViolation(why)) => Self::NotGrpc(why),
            CallFailure::Broken(error) => broken(error),
        }
    }
}
