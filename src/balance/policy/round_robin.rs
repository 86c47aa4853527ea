//! [`RoundRobin`]: one endpoint after the other.
//!
//! The algorithm is nginx's smooth weighted round robin (`ngx_http_upstream_round_robin.c`). Each endpoint has a
//! credit, at first 0. A pick adds to each candidate's credit its weight, picks the one with the highest credit, and
//! takes the sum of the weights off that. The credits always add up to 0 while the candidates stay the same, and after
//! as many picks as the weights add up to, each endpoint has had exactly as many as its weight says.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::picker::{Endpoints, PickInfo, Picked, Picker};
use crate::endpoint::{Endpoint, Load};

/// Picks one endpoint after the other, in proportion to the weights.
///
/// It is smooth, as in nginx: of the weights 5, 1, 1 it makes `a a b a c a a`, not five `a` in a row. Requests in
/// flight and latency do not count, so requests pile up at a slow endpoint.
///
/// Each process goes round on its own, from the first endpoint on.
///
/// A pick looks at all endpoints, under a lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

/// The picker of [`RoundRobin`] over one set of endpoints.
pub(super) struct RoundRobinPicker<S> {
    /// The endpoints that the credits belong to. An endpoint in here is kept, so its address is no other's.
    members: Arc<Endpoints<S>>,
    /// The credit of each member, in the order of the members.
    credits: Mutex<Vec<i64>>,
}

impl<S> RoundRobinPicker<S> {
    /// Makes a picker over no endpoints yet.
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
        // Endpoints that stay keep their credit, so that a change does not begin the round anew. Picks that go on with
        // the picker before no longer count in this one.
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
        // A member that is no candidate keeps its credit: it does not save up for the time when it is one again.
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

/// Returns what identifies a server under whatever weight: an endpoint that gets another weight keeps its load.
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
