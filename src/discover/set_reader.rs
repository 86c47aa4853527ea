//! What all sources of this crate have in common: they look for the whole set again and again, and may fail.
//!
//! A source waits until it has to look, and looks ([`SetSource`]). [`SetReader`] makes a stream of changes of that, and
//! decides about sets that are suspicious:
//!
//! - an error leaves the last set, and so does a set that is empty, unless the source states that there is nothing or
//!   the user wants that to be believed. It is an error of the stream, so the cluster reports it, and asks again after
//!   a pause that grows;
//! - an entry that cannot be used is skipped with a warning that names it, once for as long as it stays.
//!
//! The stream never ends. What drains and what is known again when it comes back is up to the cluster.

use std::{
    collections::HashSet,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tower::discover::Change;

use super::reported::{Located, ReportedSet};
use crate::{endpoint::EndpointSpec, error::BoxError, upstream::Client};

/// Where a set of endpoints is looked for.
pub(super) trait SetSource: Sized + Send + 'static {
    /// Waits until it has to look, and returns the whole set. Returns `None` if it is the same set as the last one that
    /// was returned, which need not be made and compared again then.
    ///
    /// After an error it is called again when the cluster has paused, and then need not wait.
    ///
    /// # Cancel safety
    ///
    /// The source is dropped with the future, as the cluster is.
    fn next_set(&mut self) -> impl Future<Output = Result<Option<FoundSet>, BoxError>> + Send;
}

/// A set as a source found it.
pub(super) struct FoundSet {
    pub(super) endpoints: Vec<Located>,
    pub(super) skipped: Vec<SkippedEntry>,
    /// Why there is nothing, if there is no endpoint. `None` if the source states that there are none; otherwise it may
    /// be a mistake of what feeds the source.
    pub(super) doubt: Option<BoxError>,
}

impl FoundSet {
    /// Creates an empty set; `why` is the error if nothing is added.
    pub(super) fn nothing(why: impl Into<BoxError>) -> Self {
        Self {
            endpoints: Vec::new(),
            skipped: Vec::new(),
            doubt: Some(why.into()),
        }
    }

    /// Adds an endpoint, or skips the entry that should have become one.
    pub(super) fn add(&mut self, entry: String, endpoint: Result<Located, impl Into<BoxError>>) {
        match endpoint {
            Ok(located) => self.endpoints.push(located),
            Err(error) => self.skipped.push(SkippedEntry {
                entry,
                cause: error.into(),
            }),
        }
    }
}

/// An entry of a set that is no endpoint.
pub(super) struct SkippedEntry {
    /// What the source calls it.
    pub(super) entry: String,
    pub(super) cause: BoxError,
}

/// The changes of the set of a source.
pub(super) struct SetReader<W> {
    state: ReaderState<W>,
    reported: ReportedSet<Client>,
    /// Whether a set that is empty is taken as it is.
    allows_empty: bool,
    /// The entries that were skipped in the latest set.
    skipped: HashSet<String>,
    /// Why the latest set was not taken, if it was not: for as long as the source finds the same one.
    refused: Option<String>,
}

/// The source, and what it found once it has looked.
type Looked<W> = (W, Result<Option<FoundSet>, BoxError>);

/// The source is in the future while it looks.
enum ReaderState<W> {
    Idle(W),
    Looking(Pin<Box<dyn Future<Output = Looked<W>> + Send>>),
    /// Only within a poll.
    Moving,
}

impl<W: SetSource> SetReader<W> {
    /// Creates a reader that has not looked yet. The first poll does.
    pub(super) fn new(source: W, allows_empty: bool) -> Self {
        Self {
            state: ReaderState::Idle(source),
            reported: ReportedSet::default(),
            allows_empty,
            skipped: HashSet::new(),
            refused: None,
        }
    }

    /// Polls for the next change. There is always one to come.
    pub(super) fn poll_change(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<NamedChange, BoxError>> {
        loop {
            if let Some(change) = self.reported.next_change() {
                return Poll::Ready(Ok(change));
            }
            match (ready!(self.poll_set(cx))?, &self.refused) {
                (Some(found), _) => self.take(found)?,
                (None, Some(why)) => return Poll::Ready(Err(why.clone().into())),
                (None, None) => self.reported.confirm(),
            }
        }
    }

    /// Polls the source for a set.
    fn poll_set(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<FoundSet>, BoxError>> {
        let mut looking = match std::mem::replace(&mut self.state, ReaderState::Moving) {
            ReaderState::Idle(mut source) => Box::pin(async move {
                let found = source.next_set().await;
                (source, found)
            }),
            ReaderState::Looking(looking) => looking,
            // A poll has panicked, so there is no source any more.
            ReaderState::Moving => return Poll::Pending,
        };
        let looked = looking.as_mut().poll(cx);
        if looked.is_pending() {
            self.state = ReaderState::Looking(looking);
        }
        looked.map(|(source, found)| {
            self.state = ReaderState::Idle(source);
            found
        })
    }

    /// Takes a set that was found.
    ///
    /// # Errors
    ///
    /// The set is empty, and nothing says that this is right.
    fn take(&mut self, found: FoundSet) -> Result<(), BoxError> {
        let mut skipped = HashSet::new();
        for SkippedEntry { entry, cause } in found.skipped {
            if !self.skipped.contains(&entry) {
                tracing::warn!(entry, %cause, "discovery skips an entry");
            }
            skipped.insert(entry);
        }
        self.skipped = skipped;
        match found.doubt {
            Some(why) if found.endpoints.is_empty() && !self.allows_empty => {
                self.refused = Some(why.to_string());
                Err(why)
            }
            _ => {
                self.refused = None;
                self.reported.update(found.endpoints);
                Ok(())
            }
        }
    }
}

/// A change of a source's set, by the name of the endpoint.
pub(super) type NamedChange = Change<Arc<str>, EndpointSpec>;

impl<W> fmt::Debug for SetReader<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetReader")
            .field("reported", &self.reported)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::{poll_fn, ready};

    use super::*;
    use crate::upstream::ClientBuilder;

    /// What a source finds, one after the other.
    struct Script(std::vec::IntoIter<Option<FoundSet>>);

    impl SetSource for Script {
        fn next_set(&mut self) -> impl Future<Output = Result<Option<FoundSet>, BoxError>> + Send {
            ready(self.0.next().ok_or_else(|| "the end".into()))
        }
    }

    fn set(urls: &[&str]) -> Option<FoundSet> {
        let mut set = FoundSet::nothing("nothing is there");
        for url in urls {
            let spec = EndpointSpec::url_with(&ClientBuilder::default(), url);
            let located = |spec| Located {
                spec,
                addresses: Vec::new(),
            };
            set.add((*url).to_owned(), spec.map(located));
        }
        Some(set)
    }

    /// A set that is the same as before is a report: of a success, or of the error that it was.
    #[tokio::test]
    async fn what_stays_the_same_is_reported() {
        let script = vec![
            set(&["http://a"]),
            None,
            set(&[]),
            None,
            set(&["http://b"]),
            None,
        ];
        let mut reader = SetReader::new(Script(script.into_iter()), false);
        let mut said = Vec::new();
        loop {
            match poll_fn(|cx| reader.poll_change(cx)).await {
                Ok(Change::Insert(name, _)) => said.push(format!("+{name}")),
                Ok(Change::Remove(name)) => said.push(format!("-{name}")),
                Err(end) if end.to_string() == "the end" => break,
                Err(error) => said.push(error.to_string()),
            }
        }
        let expected = [
            "+http://a",
            "-",
            "nothing is there",
            "nothing is there",
            "+http://b",
            "-http://a",
            "-",
        ];
        assert_eq!(said, expected);
    }
}
