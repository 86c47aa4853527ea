//! Resolves the host of a URL to the addresses to try.
//!
//! Three sources, the first that applies: the host is an address itself; addresses were given for the name
//! (`ClientBuilder::resolve`); the user's resolver, or else the system's. Nothing is cached: each new connection
//! resolves anew, so that a change of addresses is seen. The system's resolver runs `getaddrinfo` on a blocking thread.
//!
//! If addresses are to be checked, as for a forward proxy, all of them are, whatever their source. Only those that pass
//! are returned, and the name is not looked up again before they are connected to.

use std::{
    error::Error as StdError,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::net::lookup_host;
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

use super::shortage::shortage_now;
use crate::error::BoxError;

/// The most addresses of a name that are tried if addresses are checked: then names are chosen by clients, and one with
/// thousands of addresses would have this process check and connect to all of them.
const MOST_CHECKED: usize = 16;

/// Returns why an address must not be connected to.
pub(crate) type AddressCheck = Arc<dyn Fn(IpAddr) -> Result<(), &'static str> + Send + Sync>;

/// The address of a host must not be connected to, or none of them.
#[derive(Debug)]
pub(super) struct AddressDenied {
    /// The first one.
    address: IpAddr,
    why: &'static str,
}

impl fmt::Display for AddressDenied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is denied: {}", self.address, self.why)
    }
}

impl StdError for AddressDenied {}

/// Knows the addresses of names: given ones, those of the user's own resolver, or the system's.
#[derive(Clone, Default)]
pub(in crate::upstream) struct Resolver {
    /// Names with the addresses given for them. A list, because there are few; each name occurs once.
    given: Vec<(String, Vec<SocketAddr>)>,
    /// The user's resolver. A clone is called for each lookup.
    custom: Option<BoxCloneSyncService<String, Vec<SocketAddr>, BoxError>>,
    /// Decides which addresses may be connected to. `None` stands for all.
    check: Option<AddressCheck>,
}

impl Resolver {
    /// Sets the addresses of a name, in place of any given before.
    pub(in crate::upstream) fn give(&mut self, name: &str, addresses: Vec<SocketAddr>) {
        self.given.retain(|(given, _)| !is_same(given, name));
        self.given.push((name.to_owned(), addresses));
    }

    /// Returns the addresses given for a name, if any were.
    pub(in crate::upstream) fn given(&self, name: &str) -> Option<&[SocketAddr]> {
        let mut given = self.given.iter();
        let found = given.find(|(given, _)| is_same(given, name));
        found.map(|(_, addresses)| addresses.as_slice())
    }

    /// Sets the user's resolver, in place of the system's.
    pub(in crate::upstream) fn set_custom<R>(&mut self, resolver: R)
    where
        R: Service<String> + Clone + Send + Sync + 'static,
        R::Response: IntoIterator<Item = SocketAddr>,
        R::Error: Into<BoxError>,
        R::Future: Send + 'static,
    {
        let resolver = resolver
            .map_response(|addresses: R::Response| addresses.into_iter().collect())
            .map_err(Into::into);
        self.custom = Some(BoxCloneSyncService::new(resolver));
    }

    /// Has addresses checked before they are connected to.
    pub(in crate::upstream) fn set_check(&mut self, check: AddressCheck) {
        self.check = Some(check);
    }

    /// Returns the addresses of a host that may be connected to, in the order in which they should be tried. May be
    /// empty. An address with port 0 receives `port`.
    ///
    /// # Errors
    ///
    /// - That of the resolver. If the system's, or a check, fails because this process has no file descriptors left,
    ///   that shortage: see [`shortage_now`].
    /// - [`AddressDenied`] if there are addresses, and none of them may be connected to.
    pub(super) async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
        let addresses = self.look_up(host, port).await?;
        let Some(check) = &self.check else {
            return Ok(addresses);
        };
        let mut denied = None;
        let passes = |address: &SocketAddr| match check(address.ip()) {
            Ok(()) => true,
            Err(why) => {
                let address = address.ip();
                denied.get_or_insert(AddressDenied { address, why });
                false
            }
        };
        // Those beyond the limit are not even checked, since a check may ask the system.
        let passed = addresses.into_iter().filter(passes);
        let passed: Vec<_> = passed.take(MOST_CHECKED).collect();
        match denied {
            // A check that finds no file descriptor left denies what it cannot judge.
            Some(denied) if passed.is_empty() => match shortage_now() {
                Some(shortage) => Err(shortage.into()),
                None => Err(denied.into()),
            },
            _ => Ok(passed),
        }
    }

    /// Returns all addresses of a host.
    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, BoxError> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![(ip, port).into()]);
        }
        let mut addresses = match (self.given(host), &self.custom) {
            (Some(given), _) => given.to_vec(),
            (None, Some(custom)) => custom.clone().oneshot(host.to_owned()).await?,
            (None, None) => match lookup_host((host, port)).await {
                Ok(found) => found.collect(),
                Err(error) => return Err(shortage_now().unwrap_or(error).into()),
            },
        };
        for address in &mut addresses {
            if address.port() == 0 {
                address.set_port(port);
            }
        }
        Ok(addresses)
    }
}

/// Returns whether two names are equal. RFC 4343: the case of letters does not matter. A dot at the end makes a name
/// absolute, and is ignored.
fn is_same(one: &str, other: &str) -> bool {
    let without_dot = |name| str::strip_suffix(name, ".").unwrap_or(name);
    without_dot(one).eq_ignore_ascii_case(without_dot(other))
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tower::service_fn;

    use super::*;

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn given_addresses_come_before_the_resolver() {
        let mut resolver = Resolver::default();
        resolver.set_custom(service_fn(|name: String| async move {
            match name.as_str() {
                "found.test" => Ok(addresses(&["10.0.0.9:0"])),
                _ => Err(io::Error::from(io::ErrorKind::NotFound)),
            }
        }));
        resolver.give("Given.test", addresses(&["10.0.0.1:1"]));
        resolver.give("given.TEST.", addresses(&["10.0.0.2:0", "[::2]:443"]));
        for (host, expected) in [
            ("given.test", &["10.0.0.2:80", "[::2]:443"][..]),
            ("given.test.", &["10.0.0.2:80", "[::2]:443"]),
            ("found.test", &["10.0.0.9:80"]),
            ("10.0.0.3", &["10.0.0.3:80"]),
            ("::3", &["[::3]:80"]),
        ] {
            let found = resolver.resolve(host, 80).await.unwrap();
            assert_eq!(found, addresses(expected), "{host}");
        }
        let error = resolver.resolve("lost.test", 80).await.unwrap_err();
        assert!(error.is::<io::Error>(), "{error}");
    }

    #[tokio::test]
    async fn addresses_are_checked_whatever_their_source() {
        let mut resolver = Resolver::default();
        resolver.set_custom(service_fn(|name: String| async move {
            let found: &[&str] = match name.as_str() {
                "mixed.test" => &["10.0.0.1:0", "192.0.2.1:0"],
                "bad.test" => &["10.0.0.1:0", "[::1]:0"],
                "many.test" => &["192.0.2.1:0"; 1000],
                _ => &[],
            };
            Ok::<_, io::Error>(addresses(found))
        }));
        resolver.give("given.test", addresses(&["10.0.0.2:1"]));
        let only = IpAddr::from([192, 0, 2, 1]);
        let checks = Arc::new(AtomicUsize::new(0));
        let counted = checks.clone();
        resolver.set_check(Arc::new(move |ip| {
            counted.fetch_add(1, Relaxed);
            (ip == only).then_some(()).ok_or("private")
        }));
        let found = resolver.resolve("mixed.test", 80).await.unwrap();
        assert_eq!(found, addresses(&["192.0.2.1:80"]));
        assert!(resolver.resolve("none.test", 80).await.unwrap().is_empty());
        checks.store(0, Relaxed);
        let found = resolver.resolve("many.test", 80).await.unwrap();
        assert_eq!(found.len(), MOST_CHECKED);
        assert_eq!(checks.load(Relaxed), MOST_CHECKED, "no check without use");
        for (host, denied) in [
            ("bad.test", "10.0.0.1"),
            ("given.test", "10.0.0.2"),
            ("10.0.0.3", "10.0.0.3"),
            ("::1", "::1"),
        ] {
            let error = resolver.resolve(host, 80).await.unwrap_err();
            assert!(error.is::<AddressDenied>(), "{error}");
            assert_eq!(error.to_string(), format!("{denied} is denied: private"));
        }
    }
}
