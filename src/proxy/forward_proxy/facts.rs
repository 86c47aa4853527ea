//! What is known of a request when it is decided whether it may pass.

use std::{fmt, net::IpAddr, sync::Arc};

use super::target::RequestTarget;

/// The user that a layer in front of a [`ForwardProxy`](crate::ForwardProxy) has authenticated.
///
/// The layer puts it into the extensions of the request. [`TargetPolicy::check`](super::TargetPolicy::check) sees it,
/// and it is in the log of tunnels.
///
/// ```
/// use axum_upstream::proxy::ProxyUser;
///
/// let mut request = http::Request::get("http://example.com/").body(())?;
/// request.extensions_mut().insert(ProxyUser::new("alan"));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProxyUser(Arc<str>);

impl ProxyUser {
    /// Returns the user of this name.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProxyUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProxyUser").field(&self.name()).finish()
    }
}

/// A request for which it is to be decided whether it may pass: see
/// [`TargetPolicy::check`](super::TargetPolicy::check).
///
/// It is decided before a name is looked up, so no fact is an address of it.
#[derive(Clone, Debug)]
pub struct TargetFacts {
    target: RequestTarget,
    client: Option<IpAddr>,
    user: Option<ProxyUser>,
}

impl TargetFacts {
    pub(super) fn new(
        target: RequestTarget,
        client: Option<IpAddr>,
        user: Option<ProxyUser>,
    ) -> Self {
        Self {
            target,
            client,
            user,
        }
    }

    /// Returns where the client wants to go.
    #[must_use]
    pub fn target(&self) -> &RequestTarget {
        &self.target
    }

    /// Returns the address of the client's connection, or `None` if the server does not tell it. One that is
    /// IPv4-mapped is an IPv4 address here.
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.client
    }

    /// Returns the name of the user that a layer in front has [authenticated](ProxyUser).
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_ref().map(ProxyUser::name)
    }
}
