//! Endpoints in tiers.
//!
//! The next tier takes what the one before is too weak for, before that one is empty. The arithmetic is Envoy's
//! (`priority levels`, with its overprovisioning factor of 1.4): a tier with a share `h` of its endpoints ready can
//! take `min(1, 1.4 h)` of all requests.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::picker::{Endpoints, PickInfo, Picked, Picker, PickerContext};
use crate::endpoint::Endpoint;

const OVERPROVISIONING: f64 = 1.4;

pub(super) struct PriorityPicker<S> {
    /// Makes the picker of a new tier.
    make: Box<dyn Fn(PickerContext) -> Box<dyn Picker<S>> + Send + Sync>,
    context: Mutex<PickerContext>,
    /// In the order in which they are asked.
    tiers: Vec<Tier<S>>,
}

struct Tier<S> {
    priority: u8,
    members: Vec<Arc<Endpoint<S>>>,
    picker: Box<dyn Picker<S>>,
}

impl<S> PriorityPicker<S> {
    pub(super) fn new(
        make: impl Fn(PickerContext) -> Box<dyn Picker<S>> + Send + Sync + 'static,
        context: PickerContext,
    ) -> Self {
        Self {
            make: Box::new(make),
            context: Mutex::new(context),
            tiers: Vec::new(),
        }
    }

    /// Which tier is asked first.
    fn drawn(&self) -> usize {
        // The common case costs nothing.
        if self.tiers.len() < 2 {
            return 0;
        }
        let healths: Vec<f64> = self.tiers.iter().map(Tier::health).collect();
        let drawn = self
            .context
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .rng
            .f64();
        spill(&healths, drawn)
    }
}

impl<S> Tier<S> {
    /// The share of all requests that it can take.
    fn health(&self) -> f64 {
        let ready = self
            .members
            .iter()
            .filter(|endpoint| endpoint.availability().is_well())
            .count();
        (OVERPROVISIONING * ready as f64 / self.members.len() as f64).min(1.0)
    }
}

/// The tier for a request, where `drawn` is any number from 0 to 1. If all together are too weak, each takes more in
/// the same proportion; if none is well, the first takes all.
fn spill(healths: &[f64], drawn: f64) -> usize {
    let all = healths.iter().sum::<f64>().min(1.0);
    let mut left = drawn * all;
    for (nth, health) in healths.iter().enumerate() {
        if left < *health {
            return nth;
        }
        left -= health;
    }
    0
}

impl<S: Send + Sync + 'static> Picker<S> for PriorityPicker<S> {
    fn update(&mut self, members: &Endpoints<S>) {
        let context = self
            .context
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        let mut by_priority = BTreeMap::<u8, Vec<_>>::new();
        for member in members {
            by_priority
                .entry(member.priority())
                .or_default()
                .push(member.clone());
        }
        let mut before = std::mem::take(&mut self.tiers);
        for (priority, members) in by_priority {
            let same = before.iter().position(|tier| tier.priority == priority);
            let mut picker = match same {
                Some(same) => before.swap_remove(same).picker,
                None => (self.make)(PickerContext {
                    rng: context.rng.fork(),
                    waker: context.waker.clone(),
                }),
            };
            picker.update(&members);
            self.tiers.push(Tier {
                priority,
                members,
                picker,
            });
        }
    }

    fn pick(&self, _: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let drawn = self.drawn();
        let others = (0..self.tiers.len()).filter(|tier| *tier != drawn);
        // The drawn one may have nobody left whom this request has not tried.
        [drawn].into_iter().chain(others).find_map(|tier| {
            let tier = self.tiers.get(tier)?;
            tier.picker.pick(&tier.members, info)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        super::{fixture::TestCluster, round_robin::RoundRobin},
        *,
    };
    use crate::{endpoint::EndpointSpec, record::Verdict};

    /// Envoy's table for two tiers, the second being well.
    #[test]
    fn a_weak_tier_spills_over() {
        for (ready, second) in [
            (100, 0.0),
            (72, 0.0),
            (71, 0.006),
            (50, 0.3),
            (25, 0.65),
            (0, 1.0),
        ] {
            let healths = [(1.4 * f64::from(ready) / 100.0).min(1.0), 1.0];
            let spilt = (0..10_000)
                .filter(|n| spill(&healths, f64::from(*n) / 10_000.0) == 1)
                .count();
            assert!(
                (spilt as f64 / 10_000.0 - second).abs() < 0.001,
                "{ready} % ready gave {spilt}"
            );
        }
    }

    #[test]
    fn weak_tiers_share_in_proportion() {
        let healths = [0.2, 0.2, 0.4];
        let shares = [0, 1, 2].map(|tier| {
            (0..1_000)
                .filter(|n| spill(&healths, f64::from(*n) / 1_000.0) == tier)
                .count()
        });
        assert_eq!(shares, [250, 250, 500]);
        assert_eq!(spill(&[0.0, 0.0], 0.5), 0);
    }

    /// S28 end to end: half of the first tier asks to be left alone.
    #[tokio::test(start_paused = true)]
    async fn the_next_tier_takes_what_the_first_cannot() {
        let mut cluster = TestCluster::new(RoundRobin, &[1; 10]);
        for name in 10..20 {
            cluster.add(EndpointSpec::new(name.to_string(), ()).priority(1));
        }
        let second = |cluster: &TestCluster| {
            let is_second = |_: &i32| cluster.pick(&[]).unwrap().endpoint.priority() == 1;
            (0..10_000).filter(is_second).count() as f64 / 10_000.0
        };
        assert_eq!(second(&cluster), 0.0);
        for member in &cluster.members[..5] {
            let retry_after = Some(Duration::from_secs(30));
            member.start().answered(Verdict::Failure, retry_after);
        }
        assert!(
            (second(&cluster) - 0.3).abs() < 0.02,
            "{}",
            second(&cluster)
        );
    }
}
