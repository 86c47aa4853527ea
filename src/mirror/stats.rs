//! What is counted.

use std::sync::{
    Arc,
    atomic::{
        AtomicU64, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed},
    },
};

/// Reads what a [`MirrorLayer`](super::MirrorLayer) has done so far. Clones are cheap, and keep no task alive.
#[derive(Clone, Debug)]
pub struct MirrorHandle(pub(super) Arc<MirrorCounts>);

/// What a [`MirrorLayer`](super::MirrorLayer) and all its services have done so far.
///
/// Every request that is chosen to be copied is counted once in the end: as `sent`, or in one of the counts that begin
/// with `left_out`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MirrorStats {
    /// Copies that are under way: the first service reads the body, or the second has not answered yet.
    pub in_flight: usize,
    /// Copies that were sent to the second service.
    pub sent: u64,
    /// Copies that the second service has answered, and whose answer was read, to its end or to the limit.
    pub answered: u64,
    /// Copies that the second service failed to answer.
    pub failed: u64,
    /// Copies that the second service has not answered within the timeout.
    pub timed_out: u64,
    /// Answers that were compared with those of the first service.
    pub compared: u64,
    /// Answers for which the first service has none that is whole: it has failed, or the client has left.
    pub not_compared: u64,
    /// Requests that were not copied because too many copies were under way.
    pub left_out_busy: u64,
    /// Requests that were not copied because their body is longer than the limit.
    pub left_out_too_large: u64,
    /// Requests that were not copied because they are upgrades, or CONNECT.
    pub left_out_upgrade: u64,
    /// Requests that were not copied because the first service has not read all of their body, or was never polled.
    pub left_out_incomplete: u64,
}

/// One counter for each field of [`MirrorStats`].
#[derive(Debug, Default)]
pub(super) struct MirrorCounts {
    in_flight: AtomicUsize,
    pub(super) sent: MirrorCounter,
    pub(super) answered: MirrorCounter,
    pub(super) failed: MirrorCounter,
    pub(super) timed_out: MirrorCounter,
    pub(super) compared: MirrorCounter,
    pub(super) not_compared: MirrorCounter,
    pub(super) busy: MirrorCounter,
    pub(super) too_large: MirrorCounter,
    pub(super) upgrade: MirrorCounter,
    pub(super) incomplete: MirrorCounter,
}

/// Counts up.
#[derive(Debug, Default)]
pub(super) struct MirrorCounter(AtomicU64);

/// One of the copies that may be under way. Its drop makes room for another.
#[derive(Debug)]
pub(super) struct MirrorPermit(Arc<MirrorCounts>);

impl MirrorCounter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl MirrorPermit {
    /// Returns one of `limit` permits, or `None` if all are taken.
    pub(super) fn take(counts: &Arc<MirrorCounts>, limit: usize) -> Option<Self> {
        let taken = counts.in_flight.fetch_update(AcqRel, Acquire, |taken| {
            (taken < limit).then_some(taken + 1)
        });
        taken.ok().map(|_| Self(counts.clone()))
    }

    /// Returns the counts.
    pub(super) fn counts(&self) -> &MirrorCounts {
        &self.0
    }
}

impl Drop for MirrorPermit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, AcqRel);
    }
}

impl MirrorHandle {
    /// Returns the counts.
    #[must_use]
    pub fn stats(&self) -> MirrorStats {
        let counts = &*self.0;
        MirrorStats {
            in_flight: counts.in_flight.load(Acquire),
            sent: counts.sent.get(),
            answered: counts.answered.get(),
            failed: counts.failed.get(),
            timed_out: counts.timed_out.get(),
            compared: counts.compared.get(),
            not_compared: counts.not_compared.get(),
            left_out_busy: counts.busy.get(),
            left_out_too_large: counts.too_large.get(),
            left_out_upgrade: counts.upgrade.get(),
            left_out_incomplete: counts.incomplete.get(),
        }
    }
}
