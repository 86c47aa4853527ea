//! The members of a cluster, by name and in the order of their insertion.
//!
//! [`Members`] is the state that changes work on; a pick never sees it. Its methods only edit it. After a change,
//! [`Cluster::change`](super::cluster::Cluster::change) makes a [`Snapshot`] of it, marks the endpoints in
//! [`Displaced`] as draining, and drops them once it has released the lock.
//!
//! A member is in one of these states:
//!
//! - *active*: in the snapshot's `active`, so it may be picked;
//! - *outside of the subset*: a member, but not picked, since the scores of others are higher;
//! - *parked*: its weight was set to 0. It drains, and is not picked.
//!
//! Any state may follow any other. An endpoint that has left is no member any more, and never comes back: a later
//! insertion of its name makes another endpoint, which inherits the latency estimate.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    num::NonZeroU32,
    sync::Arc,
};

use super::{
    policy::{Endpoints, Picker},
    remembered::Remembered,
    snapshot::Snapshot,
};
use crate::{
    endpoint::{Endpoint, EndpointSpec, Load, Siblings, name_of_url},
    hash::{hash, mixed},
    telemetry::TimelineKind,
};

/// The members of a cluster, as changes work on them.
///
/// It is kept under a lock, so no code of the user runs here: no service or load measure is called, cloned or dropped.
/// What is no longer needed goes to [`Displaced`], to be dropped after the lock is released.
///
/// Invariant: `by_order` and `order_of` have the same endpoints.
pub(super) struct Members<S> {
    /// The members by their number, in the order of insertion.
    by_order: BTreeMap<u64, Member<S>>,
    /// The number of each member, by its name.
    order_of: HashMap<Arc<str>, u64>,
    /// The number of the latest member.
    next: u64,
    subset: Option<Subset>,
    /// Whether a new endpoint gets no requests until a health check of it has passed.
    awaits_checks: bool,
    /// Shared by all endpoints that the cluster ever has.
    siblings: Arc<Siblings>,
    remembered: Remembered,
    /// What the change at hand has put out of use so far.
    displaced: Displaced<S>,
}

/// An endpoint, and what only its cluster knows about it.
struct Member<S> {
    endpoint: Arc<Endpoint<S>>,
    /// Whether its weight is 0, so that it gets no new requests. The endpoint itself keeps the weight before, since
    /// costs divide by it.
    parked: bool,
    /// The members with the highest scores are the subset. 0 if there is none.
    score: u64,
}

/// Which part of a cluster this process uses.
///
/// Random subsetting by rendezvous hashing, as in gRPC: each process gives each endpoint a score, and uses those with
/// the highest. The choice depends on names alone, so it does not depend on the order of insertion, and an endpoint
/// that comes or goes moves one place in each subset at most.
#[derive(Clone, Copy)]
pub(super) struct Subset {
    /// How many members are used; at least 1.
    pub(super) size: usize,
    /// Makes the scores of this process differ from those of others.
    pub(super) seed: u64,
}

/// What a change put out of use. It must be dropped while no lock is held: that may run code of the user.
pub(super) struct Displaced<S> {
    /// Endpoints that are no longer members.
    pub(super) left: Vec<Arc<Endpoint<S>>>,
    /// Members whose weight is 0 now.
    pub(super) parked: Vec<Arc<Endpoint<S>>>,
    /// The former endpoints of members that got other settings. Their load and service go on in the new endpoint, so
    /// they do not drain.
    before: Vec<Arc<Endpoint<S>>>,
    /// Specs whose service was not needed, since the member of that name stays.
    specs: Vec<EndpointSpec<S>>,
}

impl<S> Members<S> {
    /// Creates an empty set.
    pub(super) fn new(subset: Option<Subset>, siblings: Siblings) -> Self {
        Self {
            by_order: BTreeMap::new(),
            order_of: HashMap::new(),
            next: 0,
            subset,
            awaits_checks: false,
            siblings: Arc::new(siblings),
            remembered: Remembered::default(),
            displaced: Displaced::default(),
        }
    }

    /// Keeps requests from each endpoint that is added from now on, until a health check of it has passed.
    pub(super) fn await_checks(&mut self) {
        self.awaits_checks = true;
    }

    /// Adds an endpoint, or replaces the one of the same name, in whose position it is put.
    ///
    /// A spec that [keeps the service](EndpointSpec::keeping_service) only changes the settings of an endpoint that is
    /// there.
    pub(super) fn insert(&mut self, spec: EndpointSpec<S>) {
        let order = self.order_of.get(spec.name()).copied();
        let member = match order.and_then(|order| self.by_order.remove(&order)) {
            Some(same) if spec.keeps_service() => self.reconfigured(same, spec),
            Some(same) => {
                self.leave(same);
                self.made(spec)
            }
            None => self.made(spec),
        };
        self.put(order, member);
    }

    /// Removes the endpoint of this name, or of the URL that it was inserted with. Without one, nothing happens.
    pub(super) fn remove(&mut self, name: &str) {
        let order = self.order(name);
        if let Some(member) = order.and_then(|order| self.by_order.remove(&order)) {
            self.order_of.remove(member.endpoint.name());
            self.leave(member);
        }
    }

    /// Makes `specs` the members, in this order. Of several with the same name, the last counts.
    ///
    /// A member whose name stays keeps its service and load, and takes the other settings of its spec.
    pub(super) fn replace(&mut self, specs: Vec<EndpointSpec<S>>) {
        let mut before = mem::take(&mut self.by_order);
        let order_of = mem::take(&mut self.order_of);
        let names = specs.iter().map(EndpointSpec::shared_name).enumerate();
        let last: HashMap<_, _> = names.map(|(nth, name)| (name, nth)).collect();
        for (nth, spec) in specs.into_iter().enumerate() {
            if last.get(spec.name()) != Some(&nth) {
                self.displaced.specs.push(spec);
                continue;
            }
            let same = order_of.get(spec.name());
            let member = match same.and_then(|order| before.remove(order)) {
                Some(same) => self.reconfigured(same, spec),
                None => self.made(spec),
            };
            self.put(None, member);
        }
        before.into_values().for_each(|member| self.leave(member));
    }

    /// Gives an endpoint another weight, and returns the one it had. Returns `None` if there is no endpoint of this
    /// name.
    ///
    /// 0 parks it; any other weight ends that.
    pub(super) fn set_weight(&mut self, name: &str, weight: u32) -> Option<u32> {
        let order = self.order(name)?;
        let member = self.by_order.get_mut(&order)?;
        let before = match member.parked {
            true => 0,
            false => member.endpoint.weight(),
        };
        match NonZeroU32::new(weight) {
            Some(weight) => {
                if weight.get() != member.endpoint.weight() {
                    let change = || Some(format!("from {before} to {weight}"));
                    member.endpoint.load().note(TimelineKind::Weight, change);
                    let same_server = Arc::new(member.endpoint.with_weight(weight));
                    let before = mem::replace(&mut member.endpoint, same_server);
                    self.displaced.before.push(before);
                }
                member.resume();
            }
            None => {
                member.parked = true;
                self.displaced.parked.push(member.endpoint.clone());
            }
        }
        Some(before)
    }

    /// Gives an endpoint that was parked its weight back. Returns false if there is no endpoint of this name.
    pub(super) fn restore(&mut self, name: &str) -> bool {
        let order = self.order(name);
        let member = order.and_then(|order| self.by_order.get_mut(&order));
        member.map(Member::resume).is_some()
    }

    /// Returns the load of the endpoint of this name, or `None` if there is none.
    pub(super) fn load(&self, name: &str) -> Option<Arc<Load>> {
        let member = self.by_order.get(&self.order(name)?)?;
        Some(member.endpoint.load().clone())
    }

    /// Returns the members as they are, with a picker that goes on from the `picker` of the snapshot before.
    pub(super) fn snapshot(&self, picker: &Arc<dyn Picker<S>>) -> Snapshot<S>
    where
        S: Send + Sync + 'static,
    {
        let members = self.by_order.values();
        let all: Arc<Endpoints<S>> = members.map(|member| member.endpoint.clone()).collect();
        let active = self.active(&all);
        Snapshot {
            picker: picker.clone().updated(&active),
            all,
            active,
            siblings: self.siblings.clone(),
        }
    }

    /// Returns the members that may be picked: those that are not parked, and of these the ones with the highest
    /// scores, as many as the subset has.
    ///
    /// Where that is all, it is `all` itself and nothing is allocated.
    fn active(&self, all: &Arc<Endpoints<S>>) -> Arc<Endpoints<S>> {
        let used = || self.by_order.iter().filter(|(_, member)| !member.parked);
        let count = used().count();
        // The order breaks ties between equal scores, so no two ranks are equal, and exactly `size` are before `end`.
        let rank = |order: &u64, member: &Member<S>| std::cmp::Reverse((member.score, *order));
        let end = match self.subset {
            Some(Subset { size, .. }) if size < count => {
                let mut ranks: Vec<_> = used().map(|(order, member)| rank(order, member)).collect();
                Some(*ranks.select_nth_unstable(size).1)
            }
            _ if count == all.len() => return all.clone(),
            _ => None,
        };
        used()
            .filter(|(order, member)| end.is_none_or(|end| rank(order, member) < end))
            .map(|(_, member)| member.endpoint.clone())
            .collect()
    }

    /// Returns what was put out of use since the last call.
    pub(super) fn take_displaced(&mut self) -> Displaced<S> {
        mem::take(&mut self.displaced)
    }

    /// Returns the number of the member of this name, or of the URL that it was inserted with.
    fn order(&self, name: &str) -> Option<u64> {
        let named = self.order_of.get(name).copied();
        named.or_else(|| self.order_of.get(&name_of_url(name)?).copied())
    }

    /// Makes a member, with the latency estimate of the last endpoint of its name.
    fn made(&self, spec: EndpointSpec<S>) -> Member<S> {
        let latency = self.remembered.get(spec.name()).cloned();
        let endpoint = Endpoint::new(spec, &self.siblings, latency.unwrap_or_default());
        if self.awaits_checks {
            // Before any snapshot has it, so that no pick comes first.
            endpoint.load().await_check();
        }
        let score = self.subset.map_or(0, |Subset { seed, .. }| {
            mixed(hash(endpoint.name().as_bytes()) as u64 ^ seed)
        });
        Member {
            endpoint: Arc::new(endpoint),
            parked: false,
            score,
        }
    }

    /// Returns the member with the settings of `spec`, whose service is not needed. A parked member is no longer
    /// parked.
    fn reconfigured(&mut self, mut member: Member<S>, spec: EndpointSpec<S>) -> Member<S> {
        if !member.endpoint.is_configured_as(&spec) {
            let same_server = Arc::new(member.endpoint.reconfigured(&spec));
            let before = mem::replace(&mut member.endpoint, same_server);
            self.displaced.before.push(before);
        }
        self.displaced.specs.push(spec);
        member.resume();
        member
    }

    /// Puts a member at the position `order`, or at the end.
    fn put(&mut self, order: Option<u64>, member: Member<S>) {
        let order = order.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.order_of.insert(member.endpoint.name().clone(), order);
        self.by_order.insert(order, member);
    }

    /// Remembers the latency estimate of a member that leaves, and adds its endpoint to [`Displaced`]. The caller sees
    /// to the two maps.
    fn leave(&mut self, Member { endpoint, .. }: Member<S>) {
        let latency = endpoint.load().remembered();
        self.remembered.insert(endpoint.name(), latency);
        self.displaced.left.push(endpoint);
    }
}

impl<S> Member<S> {
    /// Unparks the member. The endpoint's load is told, since it has been marked as draining.
    fn resume(&mut self) {
        if mem::take(&mut self.parked) {
            self.endpoint.load().resume();
            self.endpoint.load().note(TimelineKind::Restored, || None);
        }
    }
}

// Not derived: that would require `S: Default`.
impl<S> Default for Displaced<S> {
    fn default() -> Self {
        Self {
            left: Vec::new(),
            parked: Vec::new(),
            before: Vec::new(),
            specs: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{super::policy::Policy, *};
    use crate::balance::policy::Affinity;

    fn fill(members: &mut Members<()>, names: std::ops::Range<u32>) {
        let specs = names.map(|name| EndpointSpec::new(name.to_string(), ()));
        members.replace(specs.collect());
    }

    fn snapshot(members: &Members<()>) -> Snapshot<()> {
        members.snapshot(&Policy::default().picker(fastrand::Rng::with_seed(1)))
    }

    fn names(endpoints: &Endpoints<()>) -> HashSet<Arc<str>> {
        let names = endpoints.iter().map(|endpoint| endpoint.name().clone());
        names.collect()
    }

    fn subset(size: usize, seed: u64) -> Members<()> {
        Members::new(Some(Subset { size, seed }), Siblings::default())
    }

    /// S26: what was known of an endpoint survives its removal.
    #[test]
    fn an_endpoint_that_comes_back_is_known() {
        let mut members = Members::new(None, Siblings::default());
        let latency_of = |members: &Members<()>, nth: usize| {
            snapshot(members).all[nth].load().remembered().clone()
        };
        fill(&mut members, 0..3);
        let known = latency_of(&members, 1);
        members.replace(Vec::new());
        fill(&mut members, 0..3);
        assert!(Arc::ptr_eq(&latency_of(&members, 1), &known));
        assert!(!Arc::ptr_eq(&latency_of(&members, 2), &known));
        members.insert(EndpointSpec::new("1", ()));
        assert!(Arc::ptr_eq(&latency_of(&members, 1), &known));
    }

    /// A change itself drops no service, neither of an endpoint that left nor of a spec that was not needed.
    #[test]
    fn what_is_the_users_is_given_back() {
        let service = Arc::new(());
        let spec = || EndpointSpec::new("a", service.clone());
        let mut members = Members::new(None, Siblings::default());
        members.insert(spec());
        members.insert(spec());
        members.replace(vec![spec(), spec().weight(2).unwrap()]);
        members.insert(spec().keeping_service());
        members.remove("a");
        assert_eq!(Arc::strong_count(&service), 6);
        drop(members.take_displaced());
        assert_eq!(Arc::strong_count(&service), 1);
    }

    #[test]
    fn a_change_moves_one_of_a_subset_at_most() {
        let mut members = subset(10, 7);
        fill(&mut members, 0..100);
        let before = names(&snapshot(&members).active);
        assert_eq!(before.len(), 10);
        fill(&mut members, 1..101);
        let after = snapshot(&members);
        let active = names(&after.active);
        assert!(
            active.difference(&before).count() <= 2,
            "one left and one came"
        );
        let picked = || after.pick(&[], Affinity::default(), true).unwrap().endpoint;
        assert!((0..100).all(|_| active.contains(picked().name())));
        fill(&mut members, 0..5);
        assert_eq!(
            snapshot(&members).active.len(),
            5,
            "fewer than asked for: all"
        );
    }

    /// A member of weight 0 makes room in a subset for another.
    #[test]
    fn a_parked_member_is_in_no_subset() {
        let mut members = subset(3, 7);
        fill(&mut members, 0..10);
        let before = snapshot(&members);
        let parked = before.active[1].name().clone();
        assert_eq!(members.set_weight(&parked, 0), Some(1));
        let after = snapshot(&members);
        assert_eq!((after.all.len(), after.active.len()), (10, 3));
        assert!(!names(&after.active).contains(&parked));
        assert_eq!(members.set_weight(&parked, 1), Some(0));
        assert_eq!(names(&snapshot(&members).active), names(&before.active));
        assert_eq!(members.set_weight("none", 1), None);
    }

    #[test]
    fn the_subsets_of_many_processes_cover_all_alike() {
        let mut counts = HashMap::<Arc<str>, u32>::new();
        for process in 0..300 {
            let mut members = subset(10, mixed(process + 1));
            fill(&mut members, 0..100);
            for name in names(&snapshot(&members).active) {
                *counts.entry(name).or_default() += 1;
            }
        }
        assert_eq!(counts.len(), 100);
        // 30 each by chance, with a deviation of 5.
        assert!(
            counts.values().all(|count| (10..=50).contains(count)),
            "{counts:?}"
        );
    }
}
