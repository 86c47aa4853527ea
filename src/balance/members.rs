//! Which endpoints a cluster has, by name and in the order of their insertion.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    num::NonZeroU32,
    sync::Arc,
};

use super::{
    hash::{hash, mixed},
    policy::{Endpoints, Picker},
    remembered::Remembered,
    snapshot::Snapshot,
};
use crate::endpoint::{Endpoint, EndpointSpec, Siblings, canonical_name};

/// What changes of a cluster work on. No pick looks at it: each change makes a [`Snapshot`] of it.
///
/// It is kept under a lock, so none of the user's code runs here: nothing of a service or of a measure is called,
/// cloned or dropped. What is no longer needed is put aside, and dropped after the lock; see [`Displaced`].
pub(super) struct Members<S> {
    /// In the order of insertion.
    by_order: BTreeMap<u64, Member<S>>,
    order_of: HashMap<Arc<str>, u64>,
    next: u64,
    subset: Option<Subset>,
    siblings: Arc<Siblings>,
    remembered: Remembered,
    displaced: Displaced<S>,
}

struct Member<S> {
    endpoint: Arc<Endpoint<S>>,
    /// Its weight is 0: it gets no new requests.
    parked: bool,
    /// The members of the highest scores make the subset.
    score: u64,
}

/// The part of a cluster that one process uses.
#[derive(Clone, Copy)]
pub(super) struct Subset {
    pub(super) size: usize,
    /// What makes this process's subset another than the next one's.
    pub(super) seed: u64,
}

/// What a change put out of use. It is to be dropped when no lock is held.
pub(super) struct Displaced<S> {
    /// Endpoints that are no longer members.
    pub(super) left: Vec<Arc<Endpoint<S>>>,
    /// Members whose weight is 0 now.
    pub(super) parked: Vec<Arc<Endpoint<S>>>,
    /// Members before they got another weight.
    before: Vec<Arc<Endpoint<S>>>,
    /// What was not needed, since the member of that name stays.
    specs: Vec<EndpointSpec<S>>,
}

impl<S> Members<S> {
    pub(super) fn new(subset: Option<Subset>) -> Self {
        Self {
            by_order: BTreeMap::new(),
            order_of: HashMap::new(),
            next: 0,
            subset,
            siblings: Arc::default(),
            remembered: Remembered::default(),
            displaced: Displaced::default(),
        }
    }

    /// Adds an endpoint, in the place of one of the same name.
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

    /// Removes the endpoint of this name, or of the URL that it was inserted with, if there is one.
    pub(super) fn remove(&mut self, name: &str) {
        let order = self.order(name);
        if let Some(member) = order.and_then(|order| self.by_order.remove(&order)) {
            self.order_of.remove(member.endpoint.name());
            self.leave(member);
        }
    }

    /// Makes the members be `specs`, the last of those with one name. One whose name stays keeps its service and load.
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

    /// Gives an endpoint another weight, and returns the one it had; `None` if there is no endpoint of this name.
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

    /// The members as they are, with the picker of a snapshot before.
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

    /// Those whose weight is not 0; of these, the subset of the highest scores.
    fn active(&self, all: &Arc<Endpoints<S>>) -> Arc<Endpoints<S>> {
        let used = || self.by_order.iter().filter(|(_, member)| !member.parked);
        let count = used().count();
        // No two are alike.
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

    /// What was put out of use since the last call.
    pub(super) fn take_displaced(&mut self) -> Displaced<S> {
        mem::take(&mut self.displaced)
    }

    fn order(&self, name: &str) -> Option<u64> {
        let name = canonical_name(name, |name| self.order_of.contains_key(name));
        self.order_of.get(name).copied()
    }

    /// A new member, which knows what the last of its name knew.
    fn made(&self, spec: EndpointSpec<S>) -> Member<S> {
        let latency = self.remembered.get(spec.name()).cloned();
        let endpoint = Endpoint::new(spec, &self.siblings, latency.unwrap_or_default());
        let score = self.subset.map_or(0, |Subset { seed, .. }| {
            mixed(hash(endpoint.name().as_bytes()) as u64 ^ seed)
        });
        Member {
            endpoint: Arc::new(endpoint),
            parked: false,
            score,
        }
    }

    /// The same member, as `spec` wants it, whose service is not needed.
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

    fn put(&mut self, order: Option<u64>, member: Member<S>) {
        let order = order.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        self.order_of.insert(member.endpoint.name().clone(), order);
        self.by_order.insert(order, member);
    }

    fn leave(&mut self, Member { endpoint, .. }: Member<S>) {
        let latency = endpoint.load().remembered();
        self.remembered.insert(endpoint.name(), latency);
        self.displaced.left.push(endpoint);
    }
}

impl<S> Member<S> {
    fn resume(&mut self) {
        if mem::take(&mut self.parked) {
            self.endpoint.load().resume();
        }
    }
}

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
        Members::new(Some(Subset { size, seed }))
    }

    /// S26: what was known of an endpoint survives its removal.
    #[test]
    fn an_endpoint_that_comes_back_is_known() {
        let mut members = Members::new(None);
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

    /// Neither the service of an endpoint that stays, nor one that is not needed, is dropped by a change itself.
    #[test]
    fn what_is_the_users_is_given_back() {
        let service = Arc::new(());
        let spec = || EndpointSpec::new("a", service.clone());
        let mut members = Members::new(None);
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
        let picked = || after.pick(&[], Affinity::default()).unwrap().endpoint;
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
