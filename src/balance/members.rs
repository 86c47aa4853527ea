//! Who is in a cluster, who was, and how one of them is picked.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::{
    hash::{hash, mixed},
    policy::{Affinity, PickInfo, Picked, Picker},
};
use crate::endpoint::{Endpoint, EndpointSpec, Latency, Siblings};

/// How many endpoints that left are remembered: enough for a rolling restart of a large cluster, and an end to what
/// names that never come back may take.
const REMEMBERED: usize = 1024;

/// All of it changes together, so that no policy ever picks one that has left.
pub(super) struct Members<S> {
    /// In the order of insertion.
    all: Vec<Arc<Endpoint<S>>>,
    /// Those that requests are given to, where that is not all.
    subset: Option<Vec<Arc<Endpoint<S>>>>,
    subset_size: Option<usize>,
    /// What makes this process's subset another than the next one's.
    subset_seed: u64,
    picker: Box<dyn Picker<S>>,
    siblings: Arc<Siblings>,
    gone: VecDeque<(Arc<str>, Arc<Latency>)>,
}

impl<S> Members<S> {
    pub(super) fn new(
        picker: Box<dyn Picker<S>>,
        subset_size: Option<usize>,
        subset_seed: u64,
    ) -> Self {
        Self {
            all: Vec::new(),
            subset: None,
            subset_size,
            subset_seed,
            picker,
            siblings: Arc::default(),
            gone: VecDeque::new(),
        }
    }

    pub(super) fn all(&self) -> &[Arc<Endpoint<S>>] {
        &self.all
    }

    pub(super) fn named(&self, name: &str) -> Option<&Arc<Endpoint<S>>> {
        self.all.iter().find(|member| **member.name() == *name)
    }

    /// A new member to be, which knows what `before`, in whose place it comes, or the last of its name knew.
    pub(super) fn make(
        &self,
        spec: EndpointSpec<S>,
        before: Option<&Endpoint<S>>,
    ) -> Arc<Endpoint<S>> {
        let before = before.map(|before| before.load().remembered());
        let gone = || {
            self.gone
                .iter()
                .rfind(|(name, _)| **name == *spec.name())
                .map(|(_, latency)| latency)
        };
        let latency = before.or_else(gone).cloned().unwrap_or_default();
        Arc::new(Endpoint::new(spec, &self.siblings, latency))
    }

    /// Makes the members be `now`, and gives back those that left.
    pub(super) fn set(&mut self, now: Vec<Arc<Endpoint<S>>>) -> Vec<Arc<Endpoint<S>>> {
        let before = std::mem::replace(&mut self.all, now);
        self.subset = self
            .subset_size
            .filter(|size| *size < self.all.len())
            .map(|size| self.drawn(size));
        self.picker
            .update(self.subset.as_deref().unwrap_or(&self.all));

        let stayed: HashSet<_> = self
            .all
            .iter()
            .map(|member| Arc::as_ptr(member.load()))
            .collect();
        let left = before
            .into_iter()
            .filter(|member| !stayed.contains(&Arc::as_ptr(member.load())));
        let left: Vec<_> = left.collect();
        for member in &left {
            self.gone
                .push_back((member.name().clone(), member.load().remembered().clone()));
        }
        self.gone
            .drain(..self.gone.len().saturating_sub(REMEMBERED));
        left
    }

    /// The `size` members of the highest scores.
    fn drawn(&self, size: usize) -> Vec<Arc<Endpoint<S>>> {
        let mut scored: Vec<_> = self
            .all
            .iter()
            .map(|member| (self.score(member), member))
            .collect();
        scored.select_nth_unstable_by_key(size, |(score, _)| std::cmp::Reverse(*score));
        let chosen: HashSet<_> = scored[..size]
            .iter()
            .map(|(_, member)| Arc::as_ptr(member))
            .collect();
        self.all
            .iter()
            .filter(|member| chosen.contains(&Arc::as_ptr(member)))
            .cloned()
            .collect()
    }

    fn score(&self, member: &Endpoint<S>) -> u64 {
        mixed(hash(member.name().as_bytes()) as u64 ^ self.subset_seed)
    }

    pub(super) fn pick(&self, tried: &[Arc<Endpoint<S>>], affinity: Affinity) -> Option<Picked<S>> {
        let members = self.subset.as_deref().unwrap_or(&self.all);
        self.siblings.tick(members);
        self.picker.pick(members, &PickInfo { tried, affinity })
    }

    /// By name, for a change of many.
    pub(super) fn by_name(&self) -> HashMap<Arc<str>, Arc<Endpoint<S>>> {
        self.all
            .iter()
            .map(|member| (member.name().clone(), member.clone()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::{
        super::policy::{PickerContext, Policy},
        *,
    };

    fn members(subset: Option<usize>, seed: u64) -> Members<()> {
        let context = PickerContext {
            rng: fastrand::Rng::with_seed(seed),
            waker: Waker::noop().clone(),
        };
        Members::new(Policy::default().picker(context), subset, seed)
    }

    fn fill(members: &mut Members<()>, names: std::ops::Range<u32>) {
        let all = names
            .map(|name| members.make(EndpointSpec::new(name.to_string(), ()), None))
            .collect();
        members.set(all);
    }

    fn drawn(members: &Members<()>) -> HashSet<Arc<str>> {
        members
            .subset
            .iter()
            .flatten()
            .map(|member| member.name().clone())
            .collect()
    }

    /// S26: what was known of an endpoint survives its removal.
    #[test]
    fn who_comes_back_is_known() {
        let mut members = members(None, 1);
        fill(&mut members, 0..3);
        let known = members.named("1").unwrap().load().remembered().clone();
        members.set(Vec::new());
        fill(&mut members, 0..3);
        assert!(Arc::ptr_eq(
            members.named("1").unwrap().load().remembered(),
            &known
        ));
        assert!(!Arc::ptr_eq(
            members.named("2").unwrap().load().remembered(),
            &known
        ));
    }

    #[test]
    fn what_is_remembered_has_an_end() {
        let mut members = members(None, 1);
        for round in 0..10 {
            fill(&mut members, 1_000 * round..1_000 * (round + 1));
        }
        assert_eq!(members.gone.len(), REMEMBERED);
    }

    #[test]
    fn a_change_moves_one_of_a_subset_at_most() {
        let mut members = members(Some(10), 7);
        fill(&mut members, 0..100);
        let before = drawn(&members);
        assert_eq!(before.len(), 10);
        fill(&mut members, 1..101);
        assert!(
            drawn(&members).difference(&before).count() <= 2,
            "one left and one came"
        );
        let subset = drawn(&members);
        let picked = || {
            members
                .pick(&[], Affinity::default())
                .unwrap()
                .endpoint
                .name()
                .clone()
        };
        assert!((0..100).all(|_| subset.contains(&picked())));
        fill(&mut members, 0..5);
        assert_eq!(
            members.subset.as_ref().map(Vec::len),
            None,
            "fewer than asked for: all"
        );
    }

    #[test]
    fn the_subsets_of_many_processes_cover_all_alike() {
        let mut counts = HashMap::<Arc<str>, u32>::new();
        for process in 0..300 {
            let mut members = members(Some(10), mixed(process + 1));
            fill(&mut members, 0..100);
            drawn(&members)
                .into_iter()
                .for_each(|name| *counts.entry(name).or_default() += 1);
        }
        assert_eq!(counts.len(), 100);
        // 30 each by chance, with a deviation of 5.
        assert!(
            counts.values().all(|count| (10..=50).contains(count)),
            "{counts:?}"
        );
    }
}
