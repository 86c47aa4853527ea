//! How a [`Client`](super::Client) fails.
//!
//! Two types, for two questions: [`SendError`] tells the caller of a client whether the request can be sent elsewhere;
//! [`Failure`] tells the client whether a connection failed to send, or received a response that cannot be used, and
//! what that says about the request. What kind of error it is, and which status it becomes, is [`Error`]'s.

use std::{
    error::Error as StdError,
    fmt,
    sync::{Mutex, PoisonError},
};

use http::Request;

use crate::{
    body::Body,
    error::{BoxError, Error, ErrorKind},
};

/// The error of a [`Client`](super::Client), together with the request if nothing of it was sent.
///
/// `Display` and `source` are those of the [`Error`] within.
#[derive(Debug)]
pub struct SendError {
    /// Why.
    error: Error,
    /// The request, boxed to keep the error small. The mutex is never locked: it makes the type `Sync`, as errors must
    /// be and bodies need not.
    request: Mutex<Option<Box<Request<Body>>>>,
}

/// Why an HTTP/2 connection yielded no response.
#[cfg(feature = "http2")]
#[derive(Debug)]
pub(super) enum Failure {
    /// The request could not be sent, or no response arrived. Boxed, since it has room for a request.
    Send(Box<SendFailure>),
    /// A response has arrived that cannot be passed on. The request has been processed, so it is not sent again.
    Response(BoxError),
}

/// How the sending of a request failed.
#[derive(Debug)]
pub(super) struct SendFailure {
    /// Why.
    pub(super) error: BoxError,
    /// The request, if it is still there. Its head is that which was sent.
    pub(super) request: Option<Request<Body>>,
    /// What is known of what the endpoint has done with it.
    pub(super) processing: Processing,
}

/// What a failed sending says about the processing of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "http2"), expect(dead_code))]
pub(super) enum Processing {
    /// Nothing of it was sent. The failure contains it.
    Unsent,
    /// The endpoint says that it has refused it (REFUSED_STREAM).
    Refused,
    /// The endpoint says that it came too late (GOAWAY).
    TooLate,
    /// The endpoint wants it over HTTP/1.1 (HTTP_1_1_REQUIRED).
    NeedsHttp1,
    /// The connection ended before the first byte of a response.
    EarlyClose,
    /// Nothing is known.
    Unknown,
}

#[cfg(feature = "http2")]
impl From<SendFailure> for Failure {
    fn from(failure: SendFailure) -> Self {
        Self::Send(Box::new(failure))
    }
}

impl SendError {
    /// Returns an error that contains the request, because nothing of it was sent.
    pub(super) fn unsent(error: Error, request: Request<Body>) -> Self {
        Self {
            error,
            request: Mutex::new(Some(Box::new(request))),
        }
    }

    /// Takes the request out, if nothing of it was sent, so that it can be sent elsewhere. Returns `None` if some of it
    /// may have been sent, and on a second call.
    ///
    /// The head is as it was passed to the client, but for a `Content-Length` that did not agree with the body; the
    /// body is whole.
    pub fn take_request(&mut self) -> Option<Request<Body>> {
        let request = self
            .request
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        request.take().map(|request| *request)
    }

    /// Splits the error of any endpoint's service into an [`Error`], and the request if the error is a [`SendError`]
    /// that contains one. Other errors become `ErrorKind::Service`, unless an error of this crate is among their
    /// sources.
    pub(crate) fn split(error: BoxError) -> (Error, Option<Request<Body>>) {
        match error.downcast::<Self>() {
            Ok(mut error) => {
                let request = error.take_request();
                (error.into_error(), request)
            }
            Err(error) => (Error::own_or(ErrorKind::Service, error), None),
        }
    }

    /// Returns the error, and drops the request.
    #[must_use]
    pub fn into_error(self) -> Error {
        self.error
    }
}

impl From<Error> for SendError {
    /// Returns an error without a request: some of it may have been sent.
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
