//! [`InheritedStream`]: a discovery in a cluster that has its former endpoints until the source has reported.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_core::Stream;
use tower::discover::Change;

use crate::{endpoint::EndpointSpec, error::BoxError};

/// A discovery in a cluster that was given endpoints before. It names these first, so that they are its own, and those
/// that are not in the first set of the source leave with that.
///
/// So a cluster that takes the place of another one, since its settings have changed, serves requests at once, and goes
/// on if its source cannot be reached at this moment.
pub(super) struct InheritedStream<D> {
    /// The endpoints that have not been yielded yet.
    inherited: std::vec::IntoIter<EndpointSpec>,
    /// The names of those that the source has not named yet.
    unnamed: HashSet<Arc<str>>,
    has_reported: bool,
    source: D,
}

impl<D> InheritedStream<D> {
    /// Follows a source in a cluster that was given these endpoints.
    pub(super) fn new(inherited: Vec<EndpointSpec>, source: D) -> Self {
        Self {
            unnamed: inherited.iter().map(EndpointSpec::shared_name).collect(),
            inherited: inherited.into_iter(),
            has_reported: false,
            source,
        }
    }
}

impl<D> Stream for InheritedStream<D>
where
    D: Stream<Item = Result<Change<Arc<str>, EndpointSpec>, BoxError>> + Unpin,
{
    type Item = D::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<D::Item>> {
        let this = self.get_mut();
        if let Some(spec) = this.inherited.next() {
            let spec = spec.keeping_service().of_former_cluster();
            let change = Change::Insert(spec.shared_name(), spec);
            return Poll::Ready(Some(Ok(change)));
        }
        let polled = Pin::new(&mut this.source).poll_next(cx);
        match &polled {
            Poll::Ready(Some(Ok(change))) => {
                this.has_reported = true;
                if let Change::Insert(name, _) = change {
                    this.unnamed.remove(name);
                }
                polled
            }
            // A source yields the changes of a set one after the other, and is pending when it has yielded all of them.
            Poll::Pending if this.has_reported => match this.unnamed.iter().next().cloned() {
                Some(name) => {
                    this.unnamed.remove(&name);
                    Poll::Ready(Some(Ok(Change::Remove(name))))
                }
                None => Poll::Pending,
            },
            _ => polled,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;

    /// A stream that is pending once where there is no item.
    fn pausing<T: Unpin>(items: Vec<Option<T>>) -> impl Stream<Item = T> + Unpin {
        let mut items = items.into_iter();
        stream::poll_fn(move |cx| match items.next() {
            Some(Some(item)) => Poll::Ready(Some(item)),
            Some(None) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        })
    }

    type Item = Result<Change<Arc<str>, EndpointSpec>, BoxError>;

    fn insert(url: &str) -> Option<Item> {
        let spec = EndpointSpec::url(url).unwrap();
        Some(Ok(Change::Insert(spec.shared_name(), spec)))
    }

    /// The names of what comes, those of removals with a minus.
    async fn names(had: &[&str], items: Vec<Option<Item>>) -> Vec<String> {
        let had = had.iter().map(|url| EndpointSpec::url(url).unwrap());
        let had = had.collect();
        let inherited = InheritedStream::new(had, pausing(items));
        let shown = inherited.map(|item| match item {
            Ok(Change::Insert(name, _)) => name.to_string(),
            Ok(Change::Remove(name)) => format!("-{name}"),
            Err(error) => format!("!{error}"),
        });
        shown.collect().await
    }

    #[tokio::test]
    async fn what_the_first_set_does_not_have_leaves() {
        let had = ["http://a", "http://b"];
        let items = vec![
            None,
            Some(Err("unreachable".into())),
            None,
            insert("http://b"),
            insert("http://c"),
            None,
            insert("http://d"),
        ];
        let expected = [
            "http://a",
            "http://b",
            "!unreachable",
            "http://b",
            "http://c",
            "-http://a",
            "http://d",
        ];
        assert_eq!(names(&had, items).await, expected);
        // An error alone says nothing about the set.
        let items = vec![Some(Err("unreachable".into())), None, None];
        assert_eq!(names(&had[..1], items).await, ["http://a", "!unreachable"]);
    }
}
