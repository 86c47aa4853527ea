//! One after the other.

use std::sync::{Arc, Mutex, PoisonError};

use super::picker::{Endpoints, PickInfo, Picked, Picker};
use crate::endpoint::Endpoint;

/// One endpoint after the other, in proportion to the weights.
///
/// Smooth weighted round robin, as in nginx: of weights 5, 1, 1 it makes `a a b a c a a`, not five `a` in a row. What
/// is in flight and how long it takes does not count, so slow endpoints and long requests pile up.
///
/// A pick looks at all endpoints, under a lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

/// The credit of each member, in the order of the members.
pub(super) struct RoundRobinPicker<S>(Mutex<Vec<Credit<S>>>);

struct Credit<S> {
    endpoint: Arc<Endpoint<S>>,
    credit: i64,
}

impl<S> Default for RoundRobinPicker<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S: Send + Sync> Picker<S> for RoundRobinPicker<S> {
    fn update(&mut self, members: &Endpoints<S>) {
        let credits = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(credits);
        let credit = |member: &Arc<Endpoint<S>>| {
            let same = before
                .iter()
                .find(|credit| Arc::ptr_eq(credit.endpoint.load(), member.load()));
            Credit {
                endpoint: member.clone(),
                credit: same.map_or(0, |same| same.credit),
            }
        };
        *credits = members.iter().map(credit).collect();
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let mut credits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Each gets its weight; the richest is picked and pays for all.
        let (mut total, mut richest) = (0, None);
        for (nth, endpoint) in info.candidates(members) {
            let weight = i64::from(endpoint.weight());
            credits[nth].credit += weight;
            total += weight;
            if richest.is_none_or(|richest: usize| credits[nth].credit > credits[richest].credit) {
                richest = Some(nth);
            }
        }
        let richest = richest?;
        credits[richest].credit -= total;
        Some(Picked::start(&members[richest]))
    }
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
