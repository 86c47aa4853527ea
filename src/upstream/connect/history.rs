//! Remembers which addresses of a name have failed lately.
//!
//! States of an address:
//!
//! - *Good*: not in the list. It keeps the place that the resolver gave it.
//! - *Avoided*: in the list, and its time has not passed. It is tried after all good ones.
//! - *Due*: in the list, and its time has passed. It keeps its place again, for one attempt: as that begins, the
//!   address is avoided anew for all others, until the attempt succeeds.
//!
//! Nothing here excludes an address. If all are avoided, all are tried in the order of the lookup.

use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long an address is tried last after it has failed or was silent.
///
/// An address that swallows packets costs one connection in this time the delay of one attempt; one that works again is
/// out of use for no longer than this.
pub(super) const AVOIDED_FOR: Duration = Duration::from_secs(30);

/// The most addresses that are remembered: a resolver may return others each time.
const MOST: usize = 64;

/// The addresses that have lately failed or were silent, as one client saw them.
///
/// RFC 8305 4 has a client prefer the addresses that it has used before. That would pin a proxy to one of several good
/// servers for ever, and defeat a DNS server that rotates them; so the bad addresses are remembered, and all others
/// keep the order in which the resolver returned them.
#[derive(Debug, Default)]
pub(super) struct AddressHistory(Mutex<Vec<Avoided>>);

/// An address that has failed.
#[derive(Debug)]
struct Avoided {
    /// The address.
    address: SocketAddr,
    /// When it becomes due.
    until: Instant,
}

impl AddressHistory {
    /// Moves avoided addresses behind the others. The order is otherwise unchanged.
    pub(super) fn sort(&self, addresses: &mut [SocketAddr]) {
        let now = Instant::now();
        let avoided = self.lock();
        let is_avoided = |address: &SocketAddr| {
            let mut avoided = avoided.iter();
            avoided.any(|one| one.address == *address && one.until > now)
        };
        addresses.sort_by_cached_key(is_avoided);
    }

    /// Records that an attempt begins. An address that was avoided before stays so for all but this attempt, which
    /// finds out whether it works again.
    pub(super) fn begins(&self, address: SocketAddr) {
        let mut avoided = self.lock();
        if let Some(one) = avoided.iter_mut().find(|one| one.address == address) {
            one.until = Instant::now() + AVOIDED_FOR;
        }
    }

    /// Records that an attempt has failed, or got no answer before another one began.
    pub(super) fn avoid(&self, address: SocketAddr) {
        let until = Instant::now() + AVOIDED_FOR;
        let mut avoided = self.lock();
        avoided.retain(|one| one.address != address);
        if avoided.len() == MOST {
            // The one whose last failure is the longest ago.
            avoided.remove(0);
        }
        avoided.push(Avoided { address, until });
    }

    /// Records that an attempt has succeeded.
    pub(super) fn works(&self, address: SocketAddr) {
        self.lock().retain(|one| one.address != address);
    }

    /// Locks the list. It is consistent whatever panicked while it was locked.
    fn lock(&self) -> MutexGuard<'_, Vec<Avoided>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn address(n: u8) -> SocketAddr {
        ([127, 0, 0, n], 80).into()
    }

    fn sorted(history: &AddressHistory, order: &[u8]) -> Vec<SocketAddr> {
        let mut addresses: Vec<_> = order.iter().copied().map(address).collect();
        history.sort(&mut addresses);
        addresses
    }

    #[tokio::test(start_paused = true)]
    async fn bad_addresses_go_last_and_good_ones_keep_their_order() {
        let history = AddressHistory::default();
        history.avoid(address(2));
        assert_eq!(sorted(&history, &[1, 2, 3]), [1, 3, 2].map(address));
        assert_eq!(sorted(&history, &[2, 3, 1]), [3, 1, 2].map(address));
        history.avoid(address(1));
        history.avoid(address(3));
        assert_eq!(sorted(&history, &[3, 1, 2]), [3, 1, 2].map(address));
        history.works(address(3));
        assert_eq!(sorted(&history, &[1, 2, 3]), [3, 1, 2].map(address));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_while_one_attempt_finds_out() {
        let history = AddressHistory::default();
        history.avoid(address(1));
        advance(AVOIDED_FOR - Duration::from_millis(1)).await;
        assert_eq!(sorted(&history, &[1, 2]), [2, 1].map(address));
        advance(Duration::from_millis(1)).await;
        assert_eq!(sorted(&history, &[1, 2]), [1, 2].map(address));
        history.begins(address(1));
        assert_eq!(sorted(&history, &[1, 2]), [2, 1].map(address));
    }

    #[tokio::test(start_paused = true)]
    async fn a_good_address_is_not_avoided_because_it_is_tried() {
        let history = AddressHistory::default();
        history.begins(address(1));
        assert_eq!(sorted(&history, &[1, 2]), [1, 2].map(address));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_remembered_is_bounded() {
        let history = AddressHistory::default();
        for n in 0..=255 {
            history.avoid(address(n));
        }
        assert_eq!(history.lock().len(), MOST);
        assert_eq!(sorted(&history, &[255, 0]), [0, 255].map(address));
    }
}
