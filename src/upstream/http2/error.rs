//! Classifies HTTP/2 errors by what they say about their request.
//!
//! `resend.rs` decides by these whether a request may be sent again. hyper wraps h2's error as the source of its own.

use std::{error::Error as StdError, io};

use http::Request;
use hyper::client::conn::TrySendError;

use crate::{
    body::Body,
    upstream::error::{Processing, SendFailure},
};

/// Returns hyper's error as what it says about the request, which it contains if the connection did not take it.
pub(super) fn send_failure(mut failed: TrySendError<Request<Body>>) -> SendFailure {
    let request = failed.take_message();
    let error = failed.error();
    let processing = if request.is_some() {
        Processing::Unsent
    } else if is_refused(error) {
        Processing::Refused
    } else if needs_http1(error) {
        Processing::NeedsHttp1
    } else if is_go_away(error) {
        Processing::TooLate
    } else if is_early_close(error) {
        Processing::EarlyClose
    } else {
        Processing::Unknown
    };
    SendFailure {
        error: failed.into_error().into(),
        request,
        processing,
    }
}

/// Returns whether the server says that it has not processed the request.
///
/// RFC 9113 8.7: REFUSED_STREAM tells "that the stream is being closed prior to any processing having occurred. Any
/// request that was sent on the reset stream can be safely retried."
fn is_refused(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// Returns whether the server closes the connection, and the request arrived too late for it.
///
/// RFC 9113 8.7: "Requests on streams with higher numbers" than the last that a GOAWAY names "are therefore guaranteed
/// to be safe to retry". h2 reports a remote GOAWAY on these streams only; the others finish.
fn is_go_away(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.is_go_away() && h2.is_remote())
}

/// Returns whether the server wants the request over HTTP/1.1 (HTTP_1_1_REQUIRED, RFC 9113 7), and has not processed
/// it.
fn needs_http1(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED))
}

/// Returns whether the connection ended before the first byte of a response.
fn is_early_close(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || {
        let io = error
            .source()
            .and_then(|source| source.downcast_ref::<io::Error>());
        io.is_some_and(|io| {
            // The last is what rustls reports of a close without a `close_notify`.
            use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
            matches!(
                io.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            )
        })
    }
}

/// Returns whether the stream was reset from here.
pub(super) fn is_reset_here(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.is_reset() && !h2.is_remote())
}

/// Returns h2's error behind hyper's.
fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    error.source()?.downcast_ref()
}
