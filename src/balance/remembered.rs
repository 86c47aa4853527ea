//! What is remembered of endpoints that left.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::endpoint::Latency;

/// How many endpoints that left are remembered: enough for a rolling restart of a large cluster, and an end to what
/// names that never come back may take.
const CAPACITY: usize = 1024;

/// The latencies of endpoints that left, by name. Those that left longest ago are forgotten first.
#[derive(Default)]
pub(super) struct Remembered {
    by_name: HashMap<Arc<str>, (u64, Arc<Latency>)>,
    /// In the order in which they left.
    order: BTreeMap<u64, Arc<str>>,
    next: u64,
}

impl Remembered {
    pub(super) fn get(&self, name: &str) -> Option<&Arc<Latency>> {
        self.by_name.get(name).map(|(_, latency)| latency)
    }

    pub(super) fn insert(&mut self, name: &Arc<str>, latency: &Arc<Latency>) {
        self.next += 1;
        let entry = (self.next, latency.clone());
        if let Some((before, _)) = self.by_name.insert(name.clone(), entry) {
            self.order.remove(&before);
        }
        self.order.insert(self.next, name.clone());
        if self.order.len() > CAPACITY {
            if let Some((_, oldest)) = self.order.pop_first() {
                self.by_name.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_left_longest_ago_are_forgotten_first() {
        let mut remembered = Remembered::default();
        let latency = Arc::default();
        for name in (0..CAPACITY).chain([0, CAPACITY, 0]) {
            remembered.insert(&name.to_string().into(), &latency);
        }
        assert_eq!(remembered.by_name.len(), CAPACITY);
        assert_eq!(remembered.order.len(), CAPACITY);
        assert!(remembered.get("0").is_some(), "it left again");
        assert!(remembered.get("1").is_none());
        assert!(remembered.get(&CAPACITY.to_string()).is_some());
    }
}
