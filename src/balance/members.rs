//! Who is in a cluster, who was, and how one of them is picked.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::policy::{Affinity, Ask, Picked, Picker, mixed};
use crate::endpoint::{Endpoint, EndpointSpec, Latency, Peers};

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
    peers: Arc<Peers>,
    gone: VecDeque<(Arc<str>, Arc<Latency>)>,
}

impl<S> Members<S> {
    pub(super) fn new(picker: Box<dyn Picker<S>>, subset_size: Option<usize>, subset_seed: u64) -> Self {
        Self {
            all: Vec::new(),
            subset: None,
            subset_size,
            subset_seed,
            picker,
            peers: Arc::default(),
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
    pub(super) fn make(&self, spec: EndpointSpec<S>, before: Option<&Endpoint<S>>) -> Arc<Endpoint<S>> {
        let before = before.map(|before| before.load().remembered());
        let gone = || self.gone.iter().rfind(|(name, _)| **name == *spec.name()).map(|(_, latency)| latency);
        let latency = before.or_else(gone).cloned().unwrap_or_default();
        Arc::new(Endpoint::new(spec, &self.peers, latency))
    }

    /// Makes the members be `now`, and gives back those that left.
    pub(super) fn set(&mut self, now: Vec<Arc<Endpoint<S>>>) -> Vec<Arc<Endpoint<S>>> {
        let before = std::mem::replace(&mut self.all, now);
        self.subset = self.subset_size.filter(|size| *size < self.all.len()).map(|size| self.drawn(size));
        self.picker.update(self.subset.as_deref().unwrap_or(&self.all));

        let stayed: HashSet<_> = self.all.iter().map(|member| Arc::as_ptr(member.load())).collect();
        let left = before.into_iter().filter(|member| !stayed.contains(&Arc::as_ptr(member.load())));
        let left: Vec<_> = left.collect();
        for member in &left {
            self.gone.push_back((member.name().clone(), member.load().remembered().clone()));
        }
        self.gone.drain(..self.gone.len().saturating_sub(REMEMBERED));
        left
    }

    /// The `size` members of the highest scores.
    fn drawn(&self, size: usize) -> Vec<Arc<Endpoint<S>>> {
        let mut scored: Vec<_> = self.all.iter().map(|member| (self.score(member), member)).collect();
        scored.select_nth_unstable_by_key(size, |(score, _)| std::cmp::Reverse(*score));
        let chosen: HashSet<_> = scored[..size].iter().map(|(_, member)| Arc::as_ptr(member)).collect();
        self.all.iter().filter(|member| chosen.contains(&Arc::as_ptr(member))).cloned().collect()
    }

    fn score(&self, member: &Endpoint<S>) -> u64 {
        member.name().bytes().fold(self.subset_seed, |hash, byte| mixed(hash ^ u64::from(byte)))
    }

    pub(super) fn pick(&self, tried: &[Arc<Endpoint<S>>], affinity: Affinity) -> Option<Picked<S>> {
        let members = self.subset.as_deref().unwrap_or(&self.all);
        self.peers.tick(members);
        self.picker.pick(members, &Ask { tried, affinity })
    }

    /// By name, for a change of many.
    pub(super) fn by_name(&self) -> HashMap<Arc<str>, Arc<Endpoint<S>>> {
        self.all.iter().map(|member| (member.name().clone(), member.clone())).collect()
    }
}
