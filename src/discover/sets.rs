//! [`from_sets`]: whole sets as a stream of changes.
//!
//! A source often knows only the set at hand. [`Sets`] compares each set with the one before and yields the
//! differences. The cluster is not told of what stays the same, so that it neither replaces a service nor undoes what a
//! [`Handle`](crate::balance::Handle) changed.
//!
//! It compares what it yielded itself, and does not read the cluster. An endpoint that a `Handle` has removed therefore
//! stays away until its weight or priority changes, or until it has been missing from a set and comes back.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use pin_project_lite::pin_project;
use tower::discover::Change;

use super::reported::{Located, ReportedSet};
use crate::endpoint::EndpointSpec;

/// Discovers endpoints by whole sets: each item of the stream replaces the set before it.
///
/// - An endpoint whose name stays keeps its service, connections included, and takes the new weight and priority if
///   they differ from those in the set before. A new load measure alone is no difference.
/// - An endpoint whose name is gone leaves the cluster, and drains.
/// - Of several specs with the same name, the last counts.
/// - An empty set empties the cluster. It is a report like any other, so requests do not wait for the next one.
/// - When the stream ends, the last set stays.
///
/// A set that is the same as the one before changes nothing, so it does not undo what a
/// [`Handle`](crate::balance::Handle) changed.
///
/// The stream cannot fail. A source that fails should yield nothing, and keep the set, until it succeeds again.
///
/// ```
/// use axum_upstream::{EndpointSpec, LoadBalance, discover};
/// use futures_util::stream;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), axum_upstream::Error> {
/// let blue = vec![EndpointSpec::url("http://10.0.0.1")?];
/// let green = vec![EndpointSpec::url("http://10.0.0.2;weight=2")?];
/// let sets = discover::from_sets(stream::iter([blue, green]));
/// let backends: LoadBalance = LoadBalance::from_discover(sets)?;
/// # Ok(())
/// # }
/// ```
pub fn from_sets<St, S>(sets: St) -> Sets<St, S>
where
    St: Stream<Item = Vec<EndpointSpec<S>>>,
{
    Sets {
        sets,
        reported: ReportedSet::default(),
    }
}

pin_project! {
    /// A [`Discover`](super::Discover) over a stream of sets, made by [`from_sets`].
    ///
    /// The key of each change is the name of the endpoint. It ends when the stream of sets ends.
    pub struct Sets<St, S> {
        #[pin]
        sets: St,
        // The next set is polled for when it has no more changes.
        reported: ReportedSet<S>,
    }
}

impl<St, S> Stream for Sets<St, S>
where
    St: Stream<Item = Vec<EndpointSpec<S>>>,
{
    type Item = Result<Change<Arc<str>, EndpointSpec<S>>, Infallible>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut this = self.project();
        loop {
            if let Some(change) = this.reported.next_change() {
                return Poll::Ready(Some(Ok(change)));
            }
            let Some(set) = ready!(this.sets.as_mut().poll_next(cx)) else {
                return Poll::Ready(None);
            };
            let located = |spec| Located {
                spec,
                addresses: Vec::new(),
            };
            this.reported.update(set.into_iter().map(located).collect());
        }
    }
}

impl<St, S> fmt::Debug for Sets<St, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sets")
            .field("present", &self.reported)
            .finish_non_exhaustive()
    }
}
