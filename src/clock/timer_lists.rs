//! The timers of a [`TimerQueue`](super::timer_queue::TimerQueue), without the lock and the task.
//!
//! A timer is in one of two lists:
//!
//! - *New*: it was inserted after the last look of the task. This list has no order, so that a timer is inserted and
//!   removed for next to nothing. The timer of a request that is answered in time gets no further.
//! - *Sorted*: it was found in the list of new timers by a look of the task. The list is in the order of the deadlines,
//!   so that the task sees only those that are due, however many tunnels and event streams are open.
//!
//! A timer that is in neither has fired, or has been removed.

use std::{collections::BTreeMap, mem};

use slab::Slab;
use tokio::time::Instant;

/// The timers in both lists. `W` is what a timer wakes.
#[derive(Debug)]
pub(super) struct TimerLists<W> {
    new: Slab<NewTimer<W>>,
    sorted: BTreeMap<(Instant, u64), W>,
    /// The id of the last timer that was inserted.
    last: u64,
}

/// A timer in the list of new ones.
#[derive(Debug)]
struct NewTimer<W> {
    id: u64,
    due: Instant,
    wakes: W,
}

/// Identifies a timer in the lists, whichever of them it is in.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimerKey {
    /// Where the timer is in the list of new ones, for as long as the timer there has this id.
    slot: usize,
    /// No other timer of these lists has it.
    id: u64,
    due: Instant,
}

impl<W> TimerLists<W> {
    /// Inserts a timer.
    pub(super) fn insert(&mut self, due: Instant, wakes: W) -> TimerKey {
        self.last += 1;
        let id = self.last;
        let slot = self.new.insert(NewTimer { id, due, wakes });
        TimerKey { slot, id, due }
    }

    /// Returns what a timer wakes, or `None` if it has fired.
    pub(super) fn get_mut(&mut self, key: &TimerKey) -> Option<&mut W> {
        match self.new.get_mut(key.slot) {
            Some(new) if new.id == key.id => Some(&mut new.wakes),
            _ => self.sorted.get_mut(&(key.due, key.id)),
        }
    }

    /// Removes a timer, and returns what it would have woken. Returns `None` if it has fired.
    pub(super) fn remove(&mut self, key: &TimerKey) -> Option<W> {
        match self.new.get(key.slot) {
            Some(new) if new.id == key.id => Some(self.new.remove(key.slot).wakes),
            _ => self.sorted.remove(&(key.due, key.id)),
        }
    }

    /// Removes the timers that are due, and returns what they wake. Sorts those that are new and not due.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<W> {
        let mut taken = Vec::new();
        for new in self.new.drain() {
            match new.due <= now {
                true => taken.push(new.wakes),
                false => drop(self.sorted.insert((new.due, new.id), new.wakes)),
            }
        }
        while let Some(first) = self.sorted.first_entry() {
            if first.key().0 > now {
                break;
            }
            taken.push(first.remove());
        }
        taken
    }

    /// Returns the first deadline of those that are sorted, which are all after [`take_due`](Self::take_due). `None` if
    /// there is no timer.
    pub(super) fn first_sorted(&self) -> Option<Instant> {
        self.sorted.first_key_value().map(|((due, _), _)| *due)
    }

    /// Removes all timers, and returns what they wake.
    pub(super) fn take_all(&mut self) -> Vec<W> {
        let sorted = mem::take(&mut self.sorted).into_values();
        let new = self.new.drain().map(|new| new.wakes);
        sorted.chain(new).collect()
    }

    /// Returns the number of timers.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.new.len() + self.sorted.len()
    }
}

// Written out because the derived one would ask for `W: Default`.
impl<W> Default for TimerLists<W> {
    fn default() -> Self {
        Self {
            new: Slab::new(),
            sorted: BTreeMap::new(),
            last: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    /// What is done to the lists, with times in milliseconds and timers by their number.
    #[derive(Clone, Debug)]
    enum Step {
        Insert(u64),
        Remove(usize),
        TakeDue(u64),
        TakeAll,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            8 => (0..50_u64).prop_map(Step::Insert),
            4 => any::<usize>().prop_map(Step::Remove),
            4 => (0..20_u64).prop_map(Step::TakeDue),
            1 => Just(Step::TakeAll),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        /// The model is a list of all timers that were ever inserted: when each is due, and whether it is gone.
        #[test]
        fn timers_are_found_until_they_fire_or_are_removed(steps in steps()) {
            let start = Instant::now();
            let at = |millis| start + Duration::from_millis(millis);
            let mut now = 0;
            let mut lists = TimerLists::<usize>::default();
            let mut model: Vec<(TimerKey, u64, bool)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(wait) => {
                        let key = lists.insert(at(now + wait), model.len());
                        model.push((key, now + wait, true));
                    }
                    Step::Remove(_) if model.is_empty() => {}
                    Step::Remove(nth) => {
                        let nth = nth % model.len();
                        let (key, _, there) = &mut model[nth];
                        prop_assert_eq!(lists.remove(key), there.then_some(nth));
                        *there = false;
                    }
                    Step::TakeDue(wait) => {
                        now += wait;
                        let mut taken = lists.take_due(at(now));
                        taken.sort_unstable();
                        let timers = model.iter_mut().enumerate();
                        let due = timers.filter(|(_, (_, due, there))| *there && *due <= now);
                        let due = due.map(|(nth, (_, _, there))| { *there = false; nth });
                        prop_assert_eq!(taken, due.collect::<Vec<_>>());
                        let left = model.iter().filter(|(_, _, there)| *there);
                        let first = left.map(|(_, due, _)| at(*due)).min();
                        prop_assert_eq!(lists.first_sorted(), first);
                    }
                    Step::TakeAll => {
                        let mut taken = lists.take_all();
                        taken.sort_unstable();
                        let timers = model.iter_mut().enumerate();
                        let left = timers.filter(|(_, (_, _, there))| *there);
                        let left = left.map(|(nth, (_, _, there))| { *there = false; nth });
                        prop_assert_eq!(taken, left.collect::<Vec<_>>());
                    }
                }
                let mut there = 0;
                for (nth, (key, _, is_there)) in model.iter().enumerate() {
                    prop_assert_eq!(lists.get_mut(key).copied(), is_there.then_some(nth));
                    there += usize::from(*is_there);
                }
                prop_assert_eq!(lists.len(), there);
            }
        }
    }
}
