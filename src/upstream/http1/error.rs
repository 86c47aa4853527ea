//! How an exchange over an HTTP/1 connection fails.

use std::{error::Error as StdError, fmt, io};

use crate::error::BoxError;

/// Why a connection could not carry an exchange to its end.
#[derive(Debug)]
pub(in crate::upstream) enum Http1Error {
    /// The endpoint sent something, or closed, before the request was written.
    Stale,
    /// The connection ended before the message that it carried.
    Closed(Arrival),
    /// Reading failed.
    Read(io::Error, Arrival),
    /// The head, or the trailers, of a response are not HTTP.
    Syntax(httparse::Error),
    /// The framing of a response is invalid.
    Framing(&'static str),
    /// A response exceeds a limit.
    TooLarge(&'static str),
    /// The body of the request failed, or is not as long as it said.
    RequestBody(BoxError),
}

/// What had been received when a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Arrival {
    /// Not a byte of a response.
    Nothing,
    /// Part of one.
    Part,
}

impl Http1Error {
    /// Returns whether the connection ended before the first byte of a response.
    pub(in crate::upstream) fn is_early_close(&self) -> bool {
        // The last is what rustls reports of a close without a `close_notify`.
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        match self {
            Self::Closed(Arrival::Nothing) => true,
            Self::Read(error, Arrival::Nothing) => matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
            ),
            _ => false,
        }
    }
}

impl fmt::Display for Http1Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stale => "the endpoint sent something, or closed, before it was asked",
            Self::Closed(Arrival::Nothing) => "connection closed before a response",
            Self::Closed(Arrival::Part) => "connection closed before the response was complete",
            Self::Read(..) => "reading from the connection failed",
            Self::Syntax(_) => "invalid HTTP/1 response",
            Self::Framing(what) | Self::TooLarge(what) => what,
            Self::RequestBody(_) => "the request body failed",
        })
    }
}

impl StdError for Http1Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Read(error, _) => Some(error),
            Self::Syntax(error) => Some(error),
            Self::RequestBody(error) => Some(&**error),
            _ => None,
        }
    }
}
