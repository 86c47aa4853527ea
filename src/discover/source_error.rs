//! [`SourceError`]: why a registry was no source.

use std::{error::Error as StdError, fmt};

use crate::error::BoxError;

/// An error of a registry: where it came up, what was wrong, and why if that is known.
#[derive(Debug)]
pub(super) struct SourceError {
    place: String,
    what: String,
    source: Option<BoxError>,
}

/// How many characters of what is wrong are kept. It may contain what the server has sent.
const KEPT: usize = 500;

impl SourceError {
    /// Creates an error of the server at `place`.
    pub(super) fn new(place: impl Into<String>, what: impl AsRef<str>) -> Self {
        Self {
            place: place.into(),
            what: what.as_ref().chars().take(KEPT).collect(),
            source: None,
        }
    }

    /// Sets the cause.
    pub(super) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

impl StdError for SourceError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
