//! What may be among the trailers of one message.

use std::fmt;

use http::HeaderMap;

/// A rule for trailers, with the names that this message's head adds to it.
#[derive(Clone)]
pub(crate) struct TrailerRule {
    strip: fn(&mut HeaderMap, &str),
    nominated: Box<str>,
}

impl TrailerRule {
    pub(crate) fn new(strip: fn(&mut HeaderMap, &str), nominated: Box<str>) -> Self {
        Self { strip, nominated }
    }

    pub(super) fn strip(&self, trailers: &mut HeaderMap) {
        (self.strip)(trailers, &self.nominated);
    }
}

impl fmt::Debug for TrailerRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrailerRule")
            .field("nominated", &self.nominated)
            .finish_non_exhaustive()
    }
}
