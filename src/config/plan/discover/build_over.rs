//! [`BuildOver`]: what builds a cluster over a source.

use std::{collections::HashSet, sync::Arc};

use crate::{
    balance::{LoadBalance, LoadBalanceBuilder},
    error::Error,
};

/// Builds a cluster over a source. A source can be read once, so it is made anew for each cluster. The names are those
/// of the endpoints that the cluster will be given until the source has reported.
pub(super) type BuildOver =
    Box<dyn Fn(LoadBalanceBuilder, HashSet<Arc<str>>) -> Result<LoadBalance, Error> + Send + Sync>;
