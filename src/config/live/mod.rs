//! A configuration that serves requests, and becomes another one meanwhile.
//!
//! - `watch`: a file that is followed; `follower`: the task that does so.
//! - `handle`: what an application has in its hands; `service`: what answers requests.
//! - `shared`: what all of these share; `status`: what became of the last change.
//! - `running`: the clusters and routes at one time; `clusters`: a cluster at work.

mod clusters;
mod follower;
mod handle;
mod running;
mod service;
mod shared;
mod status;
mod watch;

pub use self::{
    handle::LiveConfig,
    service::{RouteService, RouteServiceFuture},
    status::ReloadStatus,
    watch::ConfigWatch,
};
