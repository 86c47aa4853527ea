//! What all clones of a [`Split`](super::Split) and its handles share: the names of the branches, their weights, and
//! what is counted.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use arc_swap::ArcSwap;

use super::branch::SplitBranch;
use crate::{
    error::Error,
    hash::{hash, score},
};

/// The branches by their index, without their services: a handle keeps no connection open.
#[derive(Debug)]
pub(super) struct SplitTable {
    branches: Vec<Branch>,
    /// The weight of each branch. Replaced as a whole, so that no request sees a part of a change.
    weights: ArcSwap<Vec<u32>>,
    /// Locked to draw one number.
    rng: Mutex<fastrand::Rng>,
}

/// What never changes about a branch, and its count.
#[derive(Debug)]
struct Branch {
    name: SplitBranch,
    /// The hash of the name.
    hash: u64,
    requests: AtomicU64,
}

impl SplitTable {
    /// Makes the table of these branches.
    ///
    /// # Errors
    ///
    /// Returns a config error if two have one name, or if no weight is above 0.
    pub(super) fn new(named: Vec<(Arc<str>, u32)>) -> Result<Self, Error> {
        let (mut branches, mut weights) = (Vec::<Branch>::new(), Vec::new());
        for (name, weight) in named {
            if branches.iter().any(|branch| branch.name.0 == name) {
                return Err(Error::config(
                    "split",
                    format!("there are two branches {name:?}"),
                ));
            }
            branches.push(Branch {
                hash: hash(name.as_bytes()) as u64,
                name: SplitBranch(name),
                requests: AtomicU64::new(0),
            });
            weights.push(weight);
        }
        check(&weights)?;
        Ok(Self {
            branches,
            weights: ArcSwap::from_pointee(weights),
            rng: Mutex::default(),
        })
    }

    /// Draws from this seed from now on.
    pub(super) fn seed(&self, seed: u64) {
        self.rng().seed(seed);
    }

    /// Returns the index of a branch.
    ///
    /// # Errors
    ///
    /// Returns a config error that names `setting` if there is none of this name.
    pub(super) fn index(&self, setting: &'static str, name: &str) -> Result<usize, Error> {
        let found = self
            .branches
            .iter()
            .position(|branch| &*branch.name.0 == name);
        found.ok_or_else(|| Error::config(setting, format!("there is no branch {name:?}")))
    }

    /// Returns the name of a branch.
    pub(super) fn name(&self, nth: usize) -> &SplitBranch {
        &self.branches[nth].name
    }

    /// Counts a request of a branch.
    pub(super) fn count(&self, nth: usize) {
        self.branches[nth].requests.fetch_add(1, Relaxed);
    }

    /// Returns the name, the weight and the count of each branch.
    pub(super) fn all(&self) -> impl Iterator<Item = (&SplitBranch, u32, u64)> {
        let weights = self.weights.load_full();
        let branches = self.branches.iter().enumerate();
        branches
            .map(move |(nth, branch)| (&branch.name, weights[nth], branch.requests.load(Relaxed)))
    }

    /// Returns the branch of a key: that of the highest score, by weighted rendezvous hashing.
    pub(super) fn of_key(&self, key: &[u8]) -> usize {
        let (key, weights) = (hash(key) as u64, self.weights.load());
        let scored = self.branches.iter().zip(weights.iter()).enumerate();
        let scored = scored
            .filter(|(_, (_, weight))| **weight > 0)
            .map(|(nth, (branch, weight))| (nth, score(key, branch.hash, f64::from(*weight))));
        // Some weight is always above 0.
        scored
            .max_by(|(_, a), (_, b)| a.total_cmp(b))
            .map_or(0, |(nth, _)| nth)
    }

    /// Draws a branch, in proportion to the weights.
    pub(super) fn drawn(&self) -> usize {
        let weights = self.weights.load();
        let total = weights.iter().copied().map(u64::from).sum::<u64>();
        let mut drawn = self.rng().u64(..total);
        let hit = weights.iter().position(|weight| {
            let weight = u64::from(*weight);
            let hit = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            hit
        });
        hit.unwrap_or(0)
    }

    /// Replaces all weights in one step by what `change` makes of them. Changes at the same time follow each other.
    ///
    /// # Errors
    ///
    /// Returns a config error, and changes nothing, if no weight would be above 0.
    pub(super) fn change(&self, change: impl Fn(&mut [u32])) -> Result<(), Error> {
        let mut result = Ok(());
        self.weights.rcu(|before| {
            let mut weights = Vec::clone(before);
            change(&mut weights);
            result = check(&weights);
            match result {
                Ok(()) => Arc::new(weights),
                Err(_) => before.clone(),
            }
        });
        result
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, fastrand::Rng> {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that some branch can be drawn.
fn check(weights: &[u32]) -> Result<(), Error> {
    match weights.iter().any(|weight| *weight > 0) {
        true => Ok(()),
        false => Err(Error::config("split", "no branch has a weight above 0")),
    }
}
