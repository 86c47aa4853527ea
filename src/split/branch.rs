//! [`SplitBranch`], the name of a branch.

use std::{fmt, sync::Arc};

/// The branch of a [`Split`](super::Split) that a request was given to, in the extensions of its response.
///
/// Where a branch is a `Split` itself, it is the branch of the outer one.
///
/// ```
/// use axum_upstream::{ReverseProxy, split::SplitBranch};
/// use http::HeaderValue;
///
/// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?.rewrite_response(|head| {
///     let branch = head.extensions.get::<SplitBranch>().map(|branch| branch.name());
///     if let Some(Ok(branch)) = branch.map(HeaderValue::from_str) {
///         head.headers.insert("x-branch", branch);
///     }
/// });
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SplitBranch(pub(super) Arc<str>);

impl SplitBranch {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SplitBranch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
