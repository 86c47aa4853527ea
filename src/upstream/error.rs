//! How a [`Client`](super::Client) fails.

use std::{
    error::Error as StdError,
    fmt,
    sync::{Mutex, PoisonError},
};

use http::Request;
use hyper::client::conn::TrySendError;

use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind},
};

/// Why a [`Client`](super::Client) failed, and the request, if not a byte of it was sent.
#[derive(Debug)]
pub struct SendError {
    error: Error,
    /// Never locked: the mutex makes it `Sync`, as errors must be and bodies need not.
    request: Mutex<Option<Box<Request<Body>>>>,
}

/// Why a connection gave no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request could not be sent, or nothing came back. An error that still has the request in it was not sent.
    Send(Box<TrySendError<Request<Body>>>),
    /// There is a response, which cannot be passed on.
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    Response(BoxError),
}

impl From<TrySendError<Request<Body>>> for Failure {
    fn from(error: TrySendError<Request<Body>>) -> Self {
        Self::Send(Box::new(error))
    }
}

impl SendError {
    pub(super) fn unsent(error: Error, request: Request<Body>) -> Self {
        Self {
            error,
            request: Mutex::new(Some(Box::new(request))),
        }
    }

    /// The request, when it was not sent and can go elsewhere.
    pub fn take_request(&mut self) -> Option<Request<Body>> {
        let request = self
            .request
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        request.take().map(|request| *request)
    }

    /// What a service failed with, and the request if this type says that it was not sent.
    pub(crate) fn split(error: BoxError) -> (Error, Option<Request<Body>>) {
        match error.downcast::<Self>() {
            Ok(mut error) => {
                let request = error.take_request();
                (error.into_error(), request)
            }
            Err(error) => (Error::own_or(ErrorKind::Service, error), None),
        }
    }

    /// Why.
    #[must_use]
    pub fn into_error(self) -> Error {
        self.error
    }
}

impl From<Error> for SendError {
    fn from(error: Error) -> Self {
        Self {
            error,
            request: Mutex::default(),
        }
    }
}

impl From<SendError> for Error {
    fn from(failed: SendError) -> Self {
        failed.error
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl StdError for SendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.error.source()
    }
}
