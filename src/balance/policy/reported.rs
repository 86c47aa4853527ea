//! The power of two choices by a load measure of the user's.
//!
//! tower's `Balance` is not used here: it compares while it is locked, and a load measure is code of the user, which
//! may read the cluster and change it. So two endpoints are drawn under the lock, and compared after it is released.
//!
//! In return, two picks at the same time do not see each other, and may choose the same endpoint. The measure is the
//! user's own count and would not show the first of them in any case.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    handle_balance::handles,
    picker::{Endpoints, PickInfo, Picked, Picker, cheapest},
};
use crate::endpoint::{Endpoint, Measure, Rank};

/// How many draws are made at most to find two different endpoints that should be used.
///
/// If they find one, it is picked without a comparison; if they find none, all endpoints are looked at.
const DRAWS: usize = 8;

/// The picker of [`P2c::reported`](super::P2c::reported).
pub(super) struct ReportedPicker {
    rng: Mutex<fastrand::Rng>,
    /// Positions of the members, each as often as it has [`handles`]: its weight divided by the mean weight. The cost
    /// accounts for the rest of the weight.
    slots: Vec<u32>,
}

impl ReportedPicker {
    /// Makes a picker over no endpoints yet.
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self {
            rng: Mutex::new(rng),
            slots: Vec::new(),
        }
    }

    /// Draws two different endpoints that should be used. Fewer than two if [`DRAWS`] draws do not find as many.
    ///
    /// No code of the user runs here, where the lock is held: the rank of an endpoint does not depend on its measure.
    fn draw<'m, S>(
        &self,
        members: &'m Endpoints<S>,
        info: &PickInfo<'_, S>,
    ) -> [Option<&'m Arc<Endpoint<S>>>; 2] {
        let mut drawn: [Option<&Arc<Endpoint<S>>>; 2] = [None, None];
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..DRAWS {
            let slot = rng.usize(..self.slots.len().max(1));
            let endpoint = self.slots.get(slot).map(|nth| &members[*nth as usize]);
            let fits = |endpoint: &&Arc<Endpoint<S>>| {
                info.untried(endpoint) && endpoint.rank() == Rank::Usable
            };
            match (drawn[0], endpoint.filter(fits)) {
                (None, endpoint) => drawn[0] = endpoint,
                (Some(first), Some(second)) if !first.is(second) => {
                    drawn[1] = Some(second);
                    break;
                }
                _ => {}
            }
        }
        drawn
    }
}

impl<S: Send + Sync + 'static> Picker<S> for ReportedPicker {
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        let rng = self.rng.lock();
        // The picker before goes on drawing for picks that have begun. A fork keeps the draws repeatable by seed.
        let rng = rng.unwrap_or_else(PoisonError::into_inner).fork();
        let weights = members.iter().map(|member| member.weight());
        let total = weights.map(u64::from).sum();
        let slots = (0..).zip(members.iter()).flat_map(|(nth, member)| {
            let count = handles(member.weight(), total, members.len());
            (0..count).map(move |_| nth)
        });
        Arc::new(Self {
            rng: Mutex::new(rng),
            slots: slots.collect(),
        })
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let drawn = self.draw(members, info).into_iter().flatten();
        let all = || info.candidates(members).map(|(_, endpoint)| endpoint);
        let better = cheapest(drawn, Measure::Reported);
        better
            .or_else(|| cheapest(all(), Measure::Reported))
            .map(Picked::start)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{fixture::TestCluster, p2c::P2c};
    use crate::endpoint::EndpointSpec;

    struct Gauge(f64);

    impl tower::load::Load for Gauge {
        type Metric = f64;

        fn load(&self) -> f64 {
            self.0
        }
    }

    fn picks(loads: &[f64]) -> String {
        let mut cluster = TestCluster::new(P2c::reported(), &[]);
        for (name, load) in loads.iter().enumerate() {
            cluster.add(EndpointSpec::new(name.to_string(), ()).load(Gauge(*load)));
        }
        cluster.names(300)
    }

    #[test]
    fn reported_load_decides() {
        let picks = picks(&[3.0, 1.0, 2.0]);
        assert_eq!(picks.matches('0').count(), 0);
        assert!(picks.matches('1').count() > picks.matches('2').count());
    }

    /// 0.0 / 0.0 has its sign bit set on x86, and would be less than any number in the total order.
    #[test]
    fn what_is_no_number_is_the_dearest() {
        for nan in [f64::NAN, -f64::NAN] {
            assert_eq!(picks(&[nan, 0.1, f64::MAX]).matches('0').count(), 0);
            let turns = picks(&[nan, f64::NAN, nan]);
            assert!(turns.matches('0').count().abs_diff(100) < 20, "{turns}");
        }
    }
}
