//! [`SourceStream`]: the settings of a source, and the stream of changes that they become.
//!
//! What a user is given of a source is a tuple struct around one, which has the settings as its methods and is made a
//! stream by `discovers!`.

use std::{
    fmt,
    task::{Context, Poll},
    time::Duration,
};

use super::set_reader::{NamedChange, SetReader, SetSource};
use crate::error::BoxError;

/// The shortest interval or timeout of a source, in place of any that is shorter.
///
/// A source that looks again at once would keep a core busy, and one that waits for no time would never have an answer.
/// No source is of use with less than this.
pub(super) const SHORTEST_TIME: Duration = Duration::from_millis(100);

/// The settings of a source.
pub(super) trait SourceSettings: fmt::Debug + Unpin {
    /// What looks for the endpoints.
    type Source: SetSource;

    /// Returns a source that has not looked yet.
    fn source(&self) -> Self::Source;
}

/// The changes of a source, of which the first poll begins to look.
pub(super) struct SourceStream<T: SourceSettings> {
    /// Changes after the first poll have no effect.
    pub(super) settings: T,
    /// Whether a set that is empty is taken as it is.
    pub(super) allows_empty: bool,
    /// `None` before the first poll.
    reader: Option<SetReader<T::Source>>,
}

impl<T: SourceSettings> SourceStream<T> {
    /// Creates a stream of a source that must not be empty.
    pub(super) fn new(settings: T) -> Self {
        Self {
            settings,
            allows_empty: false,
            reader: None,
        }
    }

    /// Polls for the next change. There is always one to come.
    pub(super) fn poll_change(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<NamedChange, BoxError>>> {
        let reader = self
            .reader
            .get_or_insert_with(|| SetReader::new(self.settings.source(), self.allows_empty));
        reader.poll_change(cx).map(Some)
    }
}

impl<T: SourceSettings> fmt::Debug for SourceStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceStream")
            .field("settings", &self.settings)
            .field("allows_empty", &self.allows_empty)
            .field("reader", &self.reader)
            .finish()
    }
}

/// Makes a tuple struct around a [`SourceStream`] a stream of the same changes.
macro_rules! discovers {
    ($source:ty) => {
        impl futures_core::Stream for $source {
            type Item = Result<$crate::discover::set_reader::NamedChange, $crate::error::BoxError>;

            fn poll_next(
                self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Self::Item>> {
                self.get_mut().0.poll_change(cx)
            }
        }
    };
}

pub(super) use discovers;
