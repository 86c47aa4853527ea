//! Why a reader of a response that arrives gets no more of it.

use std::{error::Error as StdError, fmt};

/// Why a reader gets no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordingError {
    /// The response broke before its end.
    Broken,
    /// The response is too large to be kept, and the reader is too far behind another one.
    Behind,
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Broken => "the response broke while it was being cached",
            Self::Behind => "too slow for a response that is too large to be cached",
        })
    }
}

impl StdError for RecordingError {}
