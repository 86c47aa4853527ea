//! One of several services for each request: canaries, blue and green, experiments.
//!
//! A [`Split`] has named branches with weights, and gives each request to one of them. What decides, in this order:
//!
//! 1. An [override](Split::override_by_header): a header field or a cookie with a certain value. None is set by
//!    default, because clients can send either.
//! 2. The [key](Split::by_key) of the request, if there is one: the same client stays on the same branch.
//! 3. Chance, in proportion to the weights.
//!
//! A branch of weight 0 gets only what an override sends there. Weights are changed at run time by the
//! [`SplitHandle`], all of them in one step; requests in flight stay where they are.
//!
//! ```
//! use axum_upstream::{LoadBalance, ReverseProxy, split::Split};
//! use http::HeaderName;
//!
//! let blue = LoadBalance::new(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//! let green = LoadBalance::new(["http://127.0.0.1:6000"])?;
//! let split = Split::new([("blue", 95, blue), ("green", 5, green)])?
//!     // Testers see what they ask for.
//!     .override_by_header(HeaderName::from_static("x-branch"), "green", "green")?
//!     // A user who has seen the new version goes on to see it.
//!     .by_key(|head| head.headers.get("x-user").map(|user| user.as_bytes().to_vec()));
//! let handle = split.handle();
//! let proxy = ReverseProxy::new(split);
//!
//! // A larger share, or all of it.
//! handle.set_weights([("blue", 80), ("green", 20)])?;
//! handle.switch_to("green")?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! Branches are any tower services of one type: clusters behind one [`ReverseProxy`](crate::ReverseProxy), as above, or
//! whole proxies, each with its own settings. Services of several types become one by
//! `tower::util::BoxCloneSyncService`.
//!
//! # Which clients move when weights change
//!
//! Keys are placed by weighted rendezvous hashing: each branch draws a number from the key and its own name, which its
//! weight scales, and the highest wins. Only the ratios of the weights count. Where one branch gains against all
//! others, keys move to it and nowhere else, and no more of them than its share has grown by: at 20 of 100, green has
//! all the clients that it had at 5 of 100. The hash, SipHash-1-3 with the key 0, is the same in every process and in
//! every version of this crate, so several proxies with the same weights agree. It is no secret: a client that chooses
//! its key chooses its branch.
//!
//! # Which branch it was
//!
//! The response has a [`SplitBranch`] in its extensions. [`SplitHandle::branches`] counts the requests of each.

mod branch;
mod future;
mod handle;
mod rules;
mod service;
mod table;
#[cfg(test)]
mod tests;

pub use self::{
    branch::SplitBranch,
    future::SplitFuture,
    handle::{BranchStatus, SplitHandle},
    service::Split,
};
