//! [`BuildOver`]: what builds a cluster over a source.

use crate::{
    balance::{LoadBalance, LoadBalanceBuilder},
    endpoint::EndpointSpec,
    error::Error,
};

/// Builds a cluster over a source. A source can be read once, so it is made anew for each cluster. The endpoints are
/// those that the cluster will be given until the source has reported.
pub(super) type BuildOver =
    Box<dyn Fn(LoadBalanceBuilder, Vec<EndpointSpec>) -> Result<LoadBalance, Error> + Send + Sync>;
