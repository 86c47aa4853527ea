//! One HTTP/2 connection, shared by all requests to an endpoint and driven by a task of its own.

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connect::Io;
use crate::{
    body::Body,
    error::{Error, Kind},
};

/// A handle to the connection; the connection ends when the last handle and the last stream are gone.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Body>,
}

impl Http2 {
    pub(super) async fn handshake(io: Io) -> Result<Self, Error> {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .handshake(io)
            .await
            .map_err(|error| Error::new(Kind::Unreachable).with(error))?;
        // Multiplexed streams have no single request to drive them. The task ends with the last sender.
        tokio::spawn(driver);
        Ok(Self { sender })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a request in absolute form and waits for the response head.
    ///
    /// Dropping the future resets the stream. An error that still has the request in it was not sent.
    pub(super) async fn send(
        mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        self.sender.try_send_request(request).await
    }
}
