//! Whole sets as changes.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tower::discover::Change;

use crate::endpoint::EndpointSpec;

/// Discovers endpoints by whole sets: each item is what there is from then on, and replaces the set before.
///
/// An endpoint whose name stays keeps its service, connections included, and takes the new weight and priority if they
/// changed. One whose name is gone drains. Of several with one name, the last counts. When the stream ends, the last
/// set stays.
///
/// A set that is the same as the one before changes nothing, so it does not undo what was changed by a
/// [`Handle`](crate::balance::Handle).
pub fn from_sets<St, S>(sets: St) -> Sets<St, S>
where
    St: Stream<Item = Vec<EndpointSpec<S>>>,
{
    Sets {
        sets,
        present: HashMap::new(),
        changes: VecDeque::new(),
        told: false,
    }
}

pin_project! {
    /// A [`Discover`](super::Discover) over a stream of sets. See [`from_sets`].
    pub struct Sets<St, S> {
        #[pin]
        sets: St,
        present: HashMap<Arc<str>, EndpointSettings>,
        changes: VecDeque<Change<Arc<str>, EndpointSpec<S>>>,
        told: bool,
    }
}

/// What of an endpoint may change while it stays: its weight and its priority.
type EndpointSettings = (u32, u8);

impl<St, S> Stream for Sets<St, S>
where
    St: Stream<Item = Vec<EndpointSpec<S>>>,
{
    type Item = Result<Change<Arc<str>, EndpointSpec<S>>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(change) = this.changes.pop_front() {
                *this.told = true;
                return Poll::Ready(Some(Ok(change)));
            }
            let Some(set) = ready!(this.sets.as_mut().poll_next(cx)) else {
                return Poll::Ready(None);
            };
            differences(this.present, set, this.changes);
            if this.changes.is_empty() && !*this.told {
                // An empty set is an answer, and requests need not wait for another: the removal of what was never
                // there says so.
                this.changes.push_back(Change::Remove("".into()));
            }
        }
    }
}

/// What makes a set of what is `present`. What comes is before what goes, so that the cluster is never empty in
/// between.
fn differences<S>(
    present: &mut HashMap<Arc<str>, EndpointSettings>,
    set: Vec<EndpointSpec<S>>,
    changes: &mut VecDeque<Change<Arc<str>, EndpointSpec<S>>>,
) {
    let names = set.iter().map(EndpointSpec::shared_name).enumerate();
    let last: HashMap<_, _> = names.map(|(nth, name)| (name, nth)).collect();
    let mut before = mem::take(present);
    for (nth, spec) in set.into_iter().enumerate() {
        let name = spec.shared_name();
        if last.get(&name) != Some(&nth) {
            continue;
        }
        let settings = spec.settings();
        if before.remove(&name) != Some(settings) {
            changes.push_back(Change::Insert(name.clone(), spec.keeping_service()));
        }
        present.insert(name, settings);
    }
    changes.extend(before.into_keys().map(Change::Remove));
}

impl<St, S> fmt::Debug for Sets<St, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sets")
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}
