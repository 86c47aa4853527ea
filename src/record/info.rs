//! The public view of an exchange, for logs and metrics.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::StatusCode;

use super::{attempt::Attempt, exchange::Record};
use crate::error::ErrorKind;

/// What happened to a request: its attempts, their endpoints and their outcomes.
///
/// It is in the extensions of every response to a request that was sent by a [`ReverseProxy`](crate::ReverseProxy), a
/// [`LoadBalance`](crate::LoadBalance) or an upstream [`Client`](crate::upstream::Client), error responses of the proxy
/// included. A response that the proxy makes without an exchange, such as a 400 for an invalid `Host`, has none.
///
/// It is a live view: an attempt's [outcome](Attempt::outcome) appears when the attempt ends, which for a relayed
/// response is after its last byte. Clones show the same exchange. Holding it keeps the record in memory, but neither a
/// connection nor an endpoint.
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
pub struct Info(pub(super) Arc<Record>);

impl Info {
    /// Returns the view of `record`.
    pub(crate) fn new(record: Arc<Record>) -> Self {
        Self(record)
    }

    /// Returns the name of the endpoint that answered, or was tried last: its URL, unless it was given another. `None`
    /// if no endpoint was tried.
    ///
    /// Where an endpoint of a cluster is a cluster itself, this is the innermost endpoint; [`path`](Self::path) returns
    /// all of them.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.path().pop()
    }

    /// Returns the names of the endpoints on the way to the one that answered, or was tried last, beginning with the
    /// endpoint of the outermost cluster. Empty if no endpoint was tried.
    ///
    /// It has more than one element only where an endpoint of a cluster is a cluster itself.
    #[must_use]
    pub fn path(&self) -> Vec<&str> {
        let mut path = Vec::new();
        for attempt in self.0.standing_attempts() {
            // An attempt at this depth replaces the earlier one there, and everything that was below it.
            path.truncate(attempt.depth());
            path.push(attempt.endpoint());
        }
        path
    }

    /// Returns the [name](crate::balance::LoadBalanceBuilder::name) of the cluster of the outermost endpoint, or `None`
    /// if no endpoint of a cluster was tried.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.0.outermost_attempt()?.cluster()
    }

    /// Returns the status of the response that the client is sent. `None` until there is one, and for a request that no
    /// [`ReverseProxy`](crate::ReverseProxy) has received.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status()
    }

    /// Returns the client's address: that of its connection or, behind a proxy that is
    /// [trusted](crate::ReverseProxy::trusted_peers), the one that this proxy reports. `None` if it is not known, and
    /// for a request that no [`ReverseProxy`](crate::ReverseProxy) has received.
    #[must_use]
    pub fn client_address(&self) -> Option<IpAddr> {
        self.0.client().address
    }

    /// Returns why the exchange failed: the kind of the error that the client was given in place of a response, or what
    /// ended it before the last byte of the response, such as a client that has left. `None` if it has not failed. A
    /// response that reports a failure, such as a 503 of the endpoint, has been relayed and is no error.
    ///
    /// Like the outcome of an attempt, it appears at the end of the exchange.
    #[must_use]
    pub fn error(&self) -> Option<ErrorKind> {
        self.0.error()
    }

    /// Returns how long the exchange took, from the arrival of the request head to the last byte of the response, or to
    /// the end of its tunnel. `None` while it is in progress; [`ended`](Self::ended) waits for that.
    #[must_use]
    pub fn duration(&self) -> Option<Duration> {
        self.0.duration()
    }

    /// Returns the number of bytes of the request body that were sent in the last attempt, so far.
    #[must_use]
    pub fn request_bytes(&self) -> u64 {
        self.0.upload().bytes()
    }

    /// Returns the number of bytes of response data that the proxy has passed on so far. 0 for a request that no
    /// [`ReverseProxy`](crate::ReverseProxy) has received, and for a tunnel; [`Attempt::response_bytes`] has what
    /// came from the endpoint.
    #[must_use]
    pub fn response_bytes(&self) -> u64 {
        self.0.response_bytes()
    }

    /// Completes when the exchange has ended: when the last byte of the response has been passed on, the client has
    /// left, or the tunnel is closed.
    ///
    /// ```
    /// # use axum_upstream::Info;
    /// fn log<B>(response: &http::Response<B>) {
    ///     let Some(info) = response.extensions().get::<Info>().cloned() else { return };
    ///     tokio::spawn(async move {
    ///         info.ended().await;
    ///         println!("{:?}, {} bytes", info.duration(), info.response_bytes());
    ///     });
    /// }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn ended(&self) {
        self.0.ended().await;
    }

    /// Returns all attempts in the order in which they began, those inside nested clusters included.
    pub fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.0.attempts()
    }
}

/// A place for the [`Info`] of an exchange, in the extensions of its request.
///
/// The proxy that receives the request fills it, so that a layer around knows of the exchange even if it is given no
/// response: its client may leave before.
#[derive(Clone, Debug, Default)]
pub(crate) struct InfoSlot(Arc<OnceLock<Info>>);

impl InfoSlot {
    /// Puts the view of `record` in, unless a proxy around has been there first.
    pub(crate) fn fill(&self, record: &Arc<Record>) {
        let _ = self.0.set(Info::new(record.clone()));
    }

    /// Puts a view in that a response came with, unless there is one.
    pub(crate) fn fill_with(&self, info: &Info) {
        let _ = self.0.set(info.clone());
    }

    /// Returns the view, or `None` if no proxy has received the request.
    pub(crate) fn get(&self) -> Option<&Info> {
        self.0.get()
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
            record.push(|| Attempt::of(name, depth));
        }
        assert_eq!(info.path(), ["green", "c"]);
        assert_eq!(info.endpoint(), Some("c"));
        assert_eq!(info.attempts().count(), 5);
    }
}
