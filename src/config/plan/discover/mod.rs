//! Where the endpoints of a cluster are found: [`DiscoverPlan`].
//!
//! There is one file per source. It checks its settings, and returns what builds a cluster over it.

mod build_over;
#[cfg(feature = "dns")]
mod dns;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(feature = "file")]
mod file;
#[cfg(any(
    feature = "dns",
    feature = "etcd",
    feature = "file",
    feature = "kubernetes"
))]
mod inherited;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod source;

pub(super) use self::source::DiscoverPlan;
