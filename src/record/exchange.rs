//! The record of one exchange, and what it knows of the client.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::time::Instant;

use super::{
    attempt::Attempt,
    upload::{Upload, UploadState},
};
use crate::error::ErrorKind;

/// What is known of the client, after the forwarding fields of trusted proxies have been taken into account.
///
/// Balancing policies use it: `address` is hashed by the policy for client addresses, `tls` decides about the `Secure`
/// attribute of the session cookie. All fields are unset in the record of a request that no `ReverseProxy` has
/// received.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ClientFacts {
    /// The client's address, as far as it can be trusted: see `ForwardedPolicy::client_address`.
    pub(crate) address: Option<IpAddr>,
    /// The remote address of the connection on which the request arrived: the client's, or that of a proxy in front.
    pub(crate) peer: Option<SocketAddr>,
    /// Whether the client's own connection is encrypted, which a trusted proxy in front may have terminated.
    pub(crate) tls: bool,
}

impl ClientFacts {
    /// Returns the identity of the client's connection, or `None` if its address is unknown.
    pub(crate) fn connection(&self) -> Option<ClientConnection> {
        let client = self.address;
        self.peer.map(|peer| ClientConnection { peer, client })
    }
}

/// The identity of one client's connection: no two that are open at the same time have equal addresses.
///
/// A connection to an endpoint that authenticates its client as a whole, as NTLM does, is tied to it. On a connection
/// of a trusted proxy, which carries the requests of many clients, each client address has an identity of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientConnection {
    peer: SocketAddr,
    client: Option<IpAddr>,
}

/// Everything that is known of one exchange.
///
/// One `Arc` holds it from the arrival of the request to the last byte of the response, or to the end of its tunnel.
#[derive(Debug)]
pub(crate) struct Record {
    /// When the exchange began. The total timeout, and the times in `upload`, count from here.
    start: Instant,
    client: ClientFacts,
    upload: Upload,
    /// Why the proxy itself gave the exchange up. Set at most once.
    stopped: OnceLock<ErrorKind>,
    /// Whether the exchange went on as a tunnel, which has ended.
    complete: AtomicBool,
    /// The first attempt; the others follow through `Attempt::next`.
    attempts: OnceLock<Attempt>,
}

impl Record {
    /// Returns the record of an exchange that begins now.
    pub(crate) fn new(client: ClientFacts) -> Self {
        Self {
            start: Instant::now(),
            client,
            upload: Upload::default(),
            stopped: OnceLock::new(),
            complete: AtomicBool::new(false),
            attempts: OnceLock::new(),
        }
    }

    /// Returns when the exchange began.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Returns what is known of the client.
    pub(crate) fn client(&self) -> &ClientFacts {
        &self.client
    }

    /// Returns the progress of the request body.
    pub(crate) fn upload(&self) -> &Upload {
        &self.upload
    }

    /// Begins an upload of the request body, the first one or another one, in this state. Returns its generation, by
    /// which its body is known from now on; the bodies of earlier ones record nothing any more.
    pub(crate) fn begin_upload(&self, state: UploadState) -> u32 {
        self.upload.begin(self.start, state)
    }

    /// Records that the request body has moved to `state` now, if its upload is still the latest.
    pub(crate) fn touch_upload(&self, generation: u32, state: UploadState) {
        self.upload.touch(self.start, generation, state);
    }

    /// Returns when the request body last moved, or the beginning of the exchange if it never has.
    pub(crate) fn upload_moved(&self) -> Instant {
        self.upload.last_moved(self.start)
    }

    /// Records why the proxy gives the exchange up, before it drops the attempt in progress: the drop then knows that a
    /// deadline, and not the client, ended the attempt.
    ///
    /// Only the first reason is kept.
    pub(crate) fn stop(&self, kind: ErrorKind) {
        // A later deadline may pass while the exchange is torn down.
        let _ = self.stopped.set(kind);
    }

    /// Returns why the proxy gave the exchange up, or `None` if it did not.
    pub(crate) fn stopped(&self) -> Option<ErrorKind> {
        self.stopped.get().copied()
    }

    /// Records that the tunnel which the exchange has become has ended: what is dropped from now on is complete.
    pub(crate) fn complete(&self) {
        self.complete.store(true, Relaxed);
    }

    /// Returns whether the exchange was a tunnel, which has ended.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Relaxed)
    }

    /// Returns all attempts, in the order in which they began.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        std::iter::successors(self.attempts.get(), |attempt| attempt.next())
    }

    /// Returns the attempt that began last. Where clusters are nested, it is the innermost attempt in progress.
    pub(crate) fn last_attempt(&self) -> Option<&Attempt> {
        self.attempts().last()
    }

    /// Records that nothing of the request has been sent by the attempt at index `nth` and those that it is part of:
    /// where clusters are nested, one of each cluster around it.
    pub(crate) fn not_sent(&self, nth: Option<usize>) {
        self.attempts_around(nth).for_each(Attempt::not_sent);
    }

    /// Records that the request is about to be written to a connection, for the same attempts.
    pub(crate) fn sending(&self, nth: Option<usize>) {
        self.attempts_around(nth).for_each(Attempt::sending);
    }

    /// Returns the attempt at index `nth`, the one that it is part of, and so on outward. Attempts at the same time,
    /// as with hedging, are not among them.
    fn attempts_around(&self, nth: Option<usize>) -> impl Iterator<Item = &Attempt> {
        let at = |nth: Option<usize>| nth.and_then(|nth| self.attempts().nth(nth));
        std::iter::successors(at(nth), move |attempt| at(attempt.parent()))
    }

    /// Adds an attempt, and returns its index among all.
    pub(super) fn push(&self, attempt: Attempt) -> usize {
        Attempt::append(&self.attempts, attempt)
    }
}

/// The record of a request that no proxy has received: nothing is known of its client.
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
        let nths = ["a", "b", "c"].map(|name| record.push(Attempt::new(name.into(), 0, None)));
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
