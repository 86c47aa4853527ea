//! Where the endpoints of a cluster are found: [`DiscoverPlan`].
//!
//! There is one file per source. It checks its settings, and returns what builds a cluster over it.

mod build_over;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "file")]
mod file;
mod source;

pub(super) use self::source::DiscoverPlan;
