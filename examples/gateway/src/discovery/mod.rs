//! The endpoints of the cluster: those that the command line names, and those that sources find.

mod all_sources;
mod source;

pub(crate) use self::{all_sources::AllSources, source::DiscoverySource};
