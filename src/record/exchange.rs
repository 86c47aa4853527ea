//! The record of one exchange.

use std::{
    net::{IpAddr, SocketAddr},
    sync::OnceLock,
};

use tokio::time::Instant;

use super::{
    attempt::Attempt,
    upload::{Upload, UploadState},
};
use crate::error::ErrorKind;

/// What is known of the client once trusted proxies have been taken into account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientFacts {
    pub(crate) address: Option<IpAddr>,
    /// The other end of the connection that the request came over: the client's, or that of a proxy in front.
    pub(crate) peer: Option<SocketAddr>,
    /// Whether the client's own connection is encrypted.
    pub(crate) tls: bool,
}

impl ClientFacts {
    /// The client's connection; `None` if it is not known.
    pub(crate) fn connection(&self) -> Option<ClientConnection> {
        let client = self.address;
        self.peer.map(|peer| ClientConnection { peer, client })
    }
}

/// One connection of one client: no two that live at the same time have the same addresses. Over a connection of a
/// trusted proxy, each client has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientConnection {
    peer: SocketAddr,
    client: Option<IpAddr>,
}

/// Everything that is known of one exchange. One `Arc` holds it from the request's arrival to the last byte.
#[derive(Debug)]
pub(crate) struct Record {
    start: Instant,
    client: ClientFacts,
    upload: Upload,
    /// Why the proxy itself gave the exchange up.
    stopped: OnceLock<ErrorKind>,
    attempts: OnceLock<Attempt>,
}

impl Record {
    pub(crate) fn new(client: ClientFacts) -> Self {
        Self {
            start: Instant::now(),
            client,
            upload: Upload::default(),
            stopped: OnceLock::new(),
            attempts: OnceLock::new(),
        }
    }

    /// When the exchange began.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    pub(crate) fn client(&self) -> &ClientFacts {
        &self.client
    }

    pub(crate) fn upload(&self) -> &Upload {
        &self.upload
    }

    /// Notes that the request body has moved to `state`, now.
    pub(crate) fn touch_upload(&self, state: UploadState) {
        self.upload.touch(self.start, state);
    }

    /// When the request body last moved; the beginning of the exchange if it never has.
    pub(crate) fn upload_moved(&self) -> Instant {
        self.upload.last_moved(self.start)
    }

    /// Notes why the proxy gives the exchange up, before it drops the attempt under way.
    pub(crate) fn stop(&self, kind: ErrorKind) {
        // The first reason is the one that ended it.
        let _ = self.stopped.set(kind);
    }

    pub(crate) fn stopped(&self) -> Option<ErrorKind> {
        self.stopped.get().copied()
    }

    /// All attempts, in the order in which they began.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        std::iter::successors(self.attempts.get(), |attempt| attempt.next())
    }

    /// The attempt that began last.
    pub(crate) fn last_attempt(&self) -> Option<&Attempt> {
        self.attempts().last()
    }

    /// Notes that nothing of the request has been sent to the attempt's endpoint.
    pub(crate) fn not_sent(&self) {
        if let Some(attempt) = self.last_attempt() {
            attempt.not_sent();
        }
    }

    /// Notes that the attempt under way is about to write its request to a connection.
    pub(crate) fn sending(&self) {
        if let Some(attempt) = self.last_attempt() {
            attempt.sending();
        }
    }

    /// Adds an attempt, and returns its place among all.
    pub(super) fn push(&self, attempt: Attempt) -> usize {
        Attempt::append(&self.attempts, attempt)
    }
}

impl Default for Record {
    fn default() -> Self {
        Self::new(ClientFacts::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_stand_in_the_order_of_their_beginning() {
        let record = Record::default();
        let nths = ["a", "b", "c"].map(|name| record.push(Attempt::new(name.into(), 0)));
        let names: Vec<_> = record.attempts().map(Attempt::endpoint).collect();
        assert_eq!((nths, &names[..]), ([0, 1, 2], &["a", "b", "c"][..]));
    }

    #[test]
    fn the_first_reason_to_stop_stays() {
        let record = Record::default();
        record.stop(ErrorKind::ResponseTimeout);
        record.stop(ErrorKind::TotalTimeout);
        assert_eq!(record.stopped(), Some(ErrorKind::ResponseTimeout));
    }
}
