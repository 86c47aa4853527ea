//! What happened to a request, for logs and metrics.

use std::{fmt, sync::Arc};

use super::{attempt::Attempt, exchange::Record};

/// What happened to a request: the public view of its record, found in the extensions of every response of a
/// [`ReverseProxy`](crate::ReverseProxy) or [`LoadBalance`](crate::LoadBalance), errors included.
///
/// It is a live view: an attempt's [outcome](Attempt::outcome) appears when the attempt ends, which for a response that
/// is relayed is after its last byte. Clones see the same exchange.
///
/// ```
/// use axum_upstream::Info;
///
/// fn log<B>(response: &http::Response<B>) {
///     if let Some(info) = response.extensions().get::<Info>() {
///         let endpoint = info.endpoint().unwrap_or("-");
///         println!("{endpoint} answered, after {} attempts", info.attempts().count());
///     }
/// }
/// ```
#[derive(Clone)]
pub struct Info(Arc<Record>);

impl Info {
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self(record)
    }

    /// The name of the endpoint that answered, or was tried last: its URL, unless it was given another. `None` if no
    /// endpoint was tried.
    ///
    /// Where an endpoint of a cluster is a cluster itself, this is the innermost one; [`path`](Self::path) has all.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.path().pop()
    }

    /// The endpoints on the way to the one that answered, or was tried last: the outermost cluster's first.
    #[must_use]
    pub fn path(&self) -> Vec<&str> {
        let mut path = Vec::new();
        for attempt in self.attempts() {
            path.truncate(attempt.depth());
            path.push(attempt.endpoint());
        }
        path
    }

    /// All attempts, in the order in which they began, those inside of a cluster that is an endpoint included.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.0.attempts()
    }
}

impl fmt::Debug for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.attempts()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_the_last_one_taken() {
        let record = Arc::new(Record::default());
        let info = Info::new(record.clone());
        assert_eq!(info.endpoint(), None);
        for (name, depth) in [("blue", 0), ("a", 1), ("b", 1), ("green", 0), ("c", 1)] {
            record.push(Attempt::new(name.into(), depth));
        }
        assert_eq!(info.path(), ["green", "c"]);
        assert_eq!(info.endpoint(), Some("c"));
        assert_eq!(info.attempts().count(), 5);
    }
}
