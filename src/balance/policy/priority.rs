//! [`PriorityPicker`]: endpoints in tiers, each with a picker of its own.
//!
//! A tier is the endpoints of one [priority](crate::EndpointSpec::priority); 0 is asked first. A tier does not have to
//! be empty before the next one gets requests: that takes over the share that the tier is too weak for. The arithmetic
//! is Envoy's ("priority levels", with its overprovisioning factor of 1.4): a tier with a share `h` of its endpoints
//! ready can take `min(1, 1.4 h)` of all requests.
//!
//! | ready in the first tier | 100 % | 72 % | 50 % | 25 % | 0 % |
//! |---|---|---|---|---|---|
//! | requests to the second | 0 % | 0 % | 30 % | 65 % | 100 % |
//!
//! An endpoint is ready here unless it has asked to be left alone. Weights play no part in how well a tier is.
//!
//! With one tier, which is the rule, a pick costs no more than that of the tier's picker. With several, each pick looks
//! at every endpoint.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::picker::{Endpoints, PickInfo, Picked, Picker};

/// How much more than its even share the ready part of a tier can take: Envoy's default of 140 %.
///
/// A tier with up to 28 % of its endpoints missing still takes all requests.
const OVERPROVISIONING: f64 = 1.4;

/// Makes the picker of a tier, over no endpoints yet: the policy beneath.
type MakePicker<S> = dyn Fn(fastrand::Rng) -> Arc<dyn Picker<S>> + Send + Sync;

/// Draws a tier for each request, and lets the tier's picker pick.
pub(super) struct PriorityPicker<S> {
    make: Arc<MakePicker<S>>,
    rng: Mutex<fastrand::Rng>,
    /// The tiers by ascending priority number, that is in the order in which they are asked. None is empty.
    tiers: Vec<Tier<S>>,
}

/// The endpoints of one priority.
struct Tier<S> {
    priority: u8,
    /// At least one.
    members: Arc<Endpoints<S>>,
    /// Picks from `members`.
    picker: Arc<dyn Picker<S>>,
}

impl<S> PriorityPicker<S> {
    /// Makes a picker over no tiers yet.
    pub(super) fn new(make: Arc<MakePicker<S>>, rng: fastrand::Rng) -> Self {
        Self {
            make,
            rng: Mutex::new(rng),
            tiers: Vec::new(),
        }
    }

    /// Draws the tier that a request is given to, by its position.
    fn drawn(&self) -> usize {
        // The common case, without a lock and without a look at the endpoints.
        if self.tiers.len() < 2 {
            return 0;
        }
        let healths: Vec<f64> = self.tiers.iter().map(Tier::health).collect();
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = rng.f64();
        drop(rng);
        spill(&healths, drawn)
    }
}

impl<S> Tier<S> {
    /// Returns the share of all requests that the tier can take, from 0 to 1, as of the last tick.
    fn health(&self) -> f64 {
        let ready = self
            .members
            .iter()
            .filter(|endpoint| endpoint.availability().is_well())
            .count();
        (OVERPROVISIONING * ready as f64 / self.members.len() as f64).min(1.0)
    }
}

/// Returns the tier for a request, by its position in `healths`, where `drawn` is a random number of `0.0..1.0`.
///
/// Each tier takes up to its health, the first ones before the others. If all together are too weak to take every
/// request, each takes more in the same proportion; if none is well, the first takes all.
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
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        let rng = self.rng.lock();
        let mut rng = rng.unwrap_or_else(PoisonError::into_inner).fork();
        let tier = |(priority, members): (u8, Arc<Endpoints<S>>)| {
            // The picker of a tier that stays keeps its state. One that is gone for a while starts anew.
            let same = self.tiers.iter().find(|tier| tier.priority == priority);
            let picker = same.map_or_else(|| (self.make)(rng.fork()), |same| same.picker.clone());
            Tier {
                priority,
                picker: picker.updated(&members),
                members,
            }
        };
        let tiers = by_priority(members).into_iter().map(tier).collect();
        Arc::new(Self {
            make: self.make.clone(),
            tiers,
            rng: Mutex::new(rng),
        })
    }

    fn pick(&self, _: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let drawn = self.drawn();
        let others = (0..self.tiers.len()).filter(|tier| *tier != drawn);
        // The tier that was drawn may have no endpoint left that this request has not tried. Then the others are asked,
        // in order.
        [drawn].into_iter().chain(others).find_map(|tier| {
            let tier = self.tiers.get(tier)?;
            tier.picker.pick(&tier.members, info)
        })
    }
}

/// Groups the members by priority. Within a group they keep their order.
fn by_priority<S>(members: &Arc<Endpoints<S>>) -> BTreeMap<u8, Arc<Endpoints<S>>> {
    // Nearly always there is one tier, or none. Its members are those of the snapshot, without a copy.
    let mut priorities = members.iter().map(|member| member.priority());
    let Some(first) = priorities.next() else {
        return BTreeMap::new();
    };
    if priorities.all(|priority| priority == first) {
        return BTreeMap::from([(first, members.clone())]);
    }
    let mut tiers = BTreeMap::<u8, Vec<_>>::new();
    for member in members.iter() {
        let tier = tiers.entry(member.priority()).or_default();
        tier.push(member.clone());
    }
    tiers
        .into_iter()
        .map(|(priority, members)| (priority, members.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::StatusCode;

    use super::{
        super::{fixture::TestCluster, round_robin::RoundRobin},
        *,
    };
    use crate::{endpoint::EndpointSpec, record::ResponseClass};

    /// Envoy's table for two tiers, where the second is well.
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
            member.start().answered(
                StatusCode::SERVICE_UNAVAILABLE,
                ResponseClass::Unavailable,
                retry_after,
            );
        }
        assert!(
            (second(&cluster) - 0.3).abs() < 0.02,
            "{}",
            second(&cluster)
        );
    }
}
