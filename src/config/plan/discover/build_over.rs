//! [`BuildOver`]: what builds a cluster over a source.

use crate::{
    balance::{LoadBalance, LoadBalanceBuilder},
    error::Error,
};

/// Builds a cluster over a source. A source can be read once, so it is made anew for each cluster.
pub(super) type BuildOver =
    Box<dyn Fn(LoadBalanceBuilder) -> Result<LoadBalance, Error> + Send + Sync>;
