//! Where the handles of instruments are kept, so that each is registered once.
//!
//! Which labels there will be is not known before, and all that could be are too many. So there is a list for each
//! method, which grows by a link for each status and outcome that occurs. Nearly always the first link is the one, and
//! finding it takes a few instructions and no lock.

use std::sync::OnceLock;

use http::StatusCode;
use metrics::{Counter, Histogram};

use super::labels::{OutcomeLabel, StatusLabel};

/// A list of values by keys that only grows.
#[derive(Debug)]
pub(super) struct Chain<K, V>(OnceLock<Box<ChainLink<K, V>>>);

#[derive(Debug)]
struct ChainLink<K, V> {
    key: K,
    value: V,
    next: Chain<K, V>,
}

impl<K: PartialEq, V> Chain<K, V> {
    /// Returns the value of `key`. It is made by `make` at the first call for that key.
    ///
    /// Threads that come at the same time wait for the one that makes it.
    pub(super) fn get(&self, key: &K, make: impl Fn() -> V) -> &V
    where
        K: Clone,
    {
        self.get_by(|known| known == key, || (key.clone(), make()))
    }

    /// Returns the value whose key `is_it`. Both are made by `make` at the first call for that key.
    pub(super) fn get_by(&self, is_it: impl Fn(&K) -> bool, make: impl Fn() -> (K, V)) -> &V {
        let mut chain = self;
        loop {
            let link = chain.0.get_or_init(|| {
                let (key, value) = make();
                let next = Self::default();
                Box::new(ChainLink { key, value, next })
            });
            if is_it(&link.key) {
                return &link.value;
            }
            chain = &link.next;
        }
    }
}

impl<K, V> Default for Chain<K, V> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

/// What the series of one method differ by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesKey {
    pub(super) status: StatusLabel,
    pub(super) outcome: OutcomeLabel,
}

impl SeriesKey {
    pub(super) fn new(status: Option<StatusCode>, outcome: OutcomeLabel) -> Self {
        let status = StatusLabel::of(status);
        Self { status, outcome }
    }
}

/// The handles of what has one set of labels.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) count: Counter,
    pub(super) duration: Histogram,
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_key_is_made_once() {
        let (chain, made) = (Chain::default(), Cell::new(0));
        let get = |key: &'static str| {
            *chain.get(&key, || {
                made.set(made.get() + 1);
                made.get()
            })
        };
        assert_eq!(["a", "b", "a", "c", "b"].map(get), [1, 2, 1, 3, 2]);
        assert_eq!(made.get(), 3);
    }

    #[test]
    fn threads_agree() {
        let chain = Chain::<usize, usize>::default();
        let get = |key| *chain.get(&key, || key);
        std::thread::scope(|scope| {
            for first in 0..4 {
                scope.spawn(move || (0..100).for_each(|nth| _ = get((first * 25 + nth) % 100)));
            }
        });
        assert!((0..100).all(|key| get(key) == key));
    }
}
