//! What is kept and told of the work that the crate does, beside the facts of each exchange in [`Info`](crate::Info).
//!
//! What is here observes, and decides nothing. A part whose feature is off is a type without content, whose methods do
//! nothing, so that no other module has to know of features.

// `stats` counts for each endpoint, with `percentiles` for its latencies; `timeline` is what has happened in a cluster;
// `report` is the data that both become.

#[cfg(feature = "status")]
mod percentiles;
#[cfg(feature = "status")]
mod report;
#[cfg_attr(not(feature = "status"), path = "no_stats.rs")]
mod stats;
#[cfg_attr(not(feature = "status"), path = "no_timeline.rs")]
mod timeline;

#[cfg(feature = "status")]
pub use self::report::{ClusterReport, EndpointReport, LastError, StatusCounts};
#[cfg(not(feature = "status"))]
pub(crate) use self::timeline::TimelineKind;
#[cfg(feature = "status")]
pub use self::timeline::{TimelineEvent, TimelineKind};
pub(crate) use self::{
    stats::{ClusterStats, EndpointStats},
    timeline::Timeline,
};
