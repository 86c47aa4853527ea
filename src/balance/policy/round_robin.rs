//! One after the other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::picker::{Endpoints, PickInfo, Picked, Picker};
use crate::endpoint::{Endpoint, Load};

/// One endpoint after the other, in proportion to the weights.
///
/// Smooth weighted round robin, as in nginx: of weights 5, 1, 1 it makes `a a b a c a a`, not five `a` in a row. What
/// is in flight and how long it takes does not count, so slow endpoints and long requests pile up.
///
/// A pick looks at all endpoints, under a lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

pub(super) struct RoundRobinPicker<S> {
    members: Arc<Endpoints<S>>,
    /// What each of the members has saved up, in their order.
    credits: Mutex<Vec<i64>>,
}

impl<S> RoundRobinPicker<S> {
    pub(super) fn new() -> Self {
        Self {
            members: Arc::new([]),
            credits: Mutex::default(),
        }
    }
}

impl<S: Send + Sync + 'static> Picker<S> for RoundRobinPicker<S> {
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        let credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        let before: HashMap<_, _> = self.members.iter().map(load).zip(credits.clone()).collect();
        drop(credits);
        let credit = |member| before.get(&load(member)).copied().unwrap_or_default();
        Arc::new(Self {
            members: members.clone(),
            credits: Mutex::new(members.iter().map(credit).collect()),
        })
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        // Each gets its weight; the richest is picked and pays for all.
        let (mut total, mut richest) = (0, None);
        for (nth, endpoint) in info.candidates(members) {
            let weight = i64::from(endpoint.weight());
            credits[nth] += weight;
            total += weight;
            if richest.is_none_or(|richest: usize| credits[nth] > credits[richest]) {
                richest = Some(nth);
            }
        }
        let richest = richest?;
        credits[richest] -= total;
        Some(Picked::start(&members[richest]))
    }
}

/// What makes an endpoint the same, whatever its weight.
fn load<S>(endpoint: &Arc<Endpoint<S>>) -> *const Load {
    Arc::as_ptr(endpoint.load())
}

#[cfg(test)]
mod tests {
    use super::{super::fixture::TestCluster, *};

    /// S23, as nginx has it.
    #[test]
    fn round_robin_is_smooth_and_exact() {
        assert_eq!(
            TestCluster::new(RoundRobin, &[5, 1, 1]).names(14),
            "00102000010200"
        );
        let hundred = TestCluster::new(RoundRobin, &[100, 1]).names(101 * 3);
        assert_eq!(hundred.matches('1').count(), 3);
    }
}
