//! What the guard of a request in flight learns from its response body.

use http::HeaderMap;
use tracing::span::EnteredSpan;

use super::in_flight::InFlight;
use crate::{
    body::Guard,
    error::{Error, ErrorKind},
    record::class_of_grpc_status,
};

/// The guard of the response body, whose end is the end of the attempt.
impl<E> Guard<E> for InFlight {
    fn enter(&self) -> Option<EnteredSpan> {
        self.enter()
    }

    /// Ends the attempt as the head and the trailers said.
    fn complete(mut self) {
        self.complete_with(self.class);
    }

    fn data(&mut self, bytes: usize) {
        if let Some(attempt) = &self.attempt {
            attempt.receive(bytes);
        }
    }

    /// Takes the class of a gRPC response, which is in the trailers unless there was no message.
    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(class) = class_of_grpc_status(trailers) {
            self.class = class;
        }
    }

    /// Ends the attempt with a body that broke. The cause is reported to the client's side by the body itself.
    fn failed(mut self, _: &E) {
        let error = Error::new(ErrorKind::ResponseBody);
        let _ = Self::failed(&mut self, &error);
    }
}
