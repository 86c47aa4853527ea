//! [`SplitHandle`]: weights at run time, and counts.

use std::sync::Arc;

use super::{branch::SplitBranch, table::SplitTable};
use crate::error::Error;

/// Changes the weights of a [`Split`](super::Split) while it serves requests. Clones are cheap.
///
/// A change is one step: each request sees the weights before it or after it. Requests in flight stay where they are.
#[derive(Clone, Debug)]
pub struct SplitHandle(Arc<SplitTable>);

/// A branch of a [`Split`](super::Split) at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BranchStatus {
    /// Its name.
    pub branch: SplitBranch,
    /// Its weight, in relation to those of the others.
    pub weight: u32,
    /// The number of requests that it was given so far.
    pub requests: u64,
}

impl SplitHandle {
    /// Returns the handle of the split with this table.
    pub(super) fn new(table: Arc<SplitTable>) -> Self {
        Self(table)
    }

    /// Sets the weights of these branches. All others keep theirs.
    ///
    /// # Errors
    ///
    /// Returns a config error, and changes nothing, if there is no branch of a name, or if no weight would be above 0.
    pub fn set_weights<N: AsRef<str>>(
        &self,
        weights: impl IntoIterator<Item = (N, u32)>,
    ) -> Result<(), Error> {
        let weights = weights.into_iter().map(|(name, weight)| {
            let nth = self.0.index("split weight", name.as_ref())?;
            Ok((nth, weight))
        });
        let weights: Vec<_> = weights.collect::<Result<_, Error>>()?;
        self.0.change(|all| {
            for (nth, weight) in &weights {
                all[*nth] = *weight;
            }
        })
    }

    /// Gives all requests to one branch: its weight becomes 1, and that of every other branch 0.
    ///
    /// # Errors
    ///
    /// Returns a config error, and changes nothing, if there is no branch of this name.
    pub fn switch_to(&self, branch: &str) -> Result<(), Error> {
        let nth = self.0.index("split branch", branch)?;
        self.0.change(|all| {
            all.fill(0);
            all[nth] = 1;
        })
    }

    /// Returns all branches, in the order in which the split was given them.
    #[must_use]
    pub fn branches(&self) -> Vec<BranchStatus> {
        let branches = self.0.all().map(|(branch, weight, requests)| BranchStatus {
            branch: branch.clone(),
            weight,
            requests,
        });
        branches.collect()
    }
}
