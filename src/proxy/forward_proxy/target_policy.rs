//! Which servers clients may reach: rules about ports, hosts and networks, and closures.

use std::{fmt, net::IpAddr, ops::RangeInclusive, sync::Arc};

use super::{
    facts::TargetFacts, host_rules::HostRules, network_rules::NetworkRules, target::TargetProtocol,
};
use crate::error::{Error, ErrorKind};

/// Returns why a request may not pass, if so.
type TargetCheck = Arc<dyn Fn(&TargetFacts) -> Result<(), &'static str> + Send + Sync>;

/// Which servers the clients of a [`ForwardProxy`](crate::ForwardProxy) may reach. A request has to pass all rules.
///
/// They are checked in this order: the port, the host, the closures; then the name is looked up, and each of its
/// addresses is checked against the rules about networks. An address that is denied is not connected to, and if none is
/// left, the request is denied.
///
/// A denied request gets a 403, whose text names the kind of rule: `Forbidden: the port is not allowed`.
///
/// ```
/// use axum_upstream::proxy::TargetPolicy;
///
/// let policy = TargetPolicy::new()
///     .deny_hosts(["*.ads.example", "tracker.example"])?
///     // A service in the private network, whose name resolves to an address in it.
///     .allow_networks(["10.1.0.0/16"])?
///     .connect_ports([443..=443, 8443..=8443])
///     .check(|facts| match facts.user() {
///         Some("guest") if facts.target().is_tunnel() => Err("guests open no tunnels"),
///         _ => Ok(()),
///     });
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct TargetPolicy {
    /// The ports that CONNECT may name.
    connect_ports: Vec<RangeInclusive<u16>>,
    /// The ports of all other requests.
    http_ports: Vec<RangeInclusive<u16>>,
    hosts: HostRules,
    networks: NetworkRules,
    checks: Vec<TargetCheck>,
}

impl Default for TargetPolicy {
    fn default() -> Self {
        Self {
            connect_ports: vec![443..=443],
            http_ports: vec![80..=80, 443..=443, 1025..=u16::MAX],
            hosts: HostRules::default(),
            networks: NetworkRules::default(),
            checks: Vec::new(),
        }
    }
}

impl TargetPolicy {
    /// Returns the default policy: all hosts of the public internet, at the default ports.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the ports to which clients may open tunnels, in place of those before. Default: 443 alone.
    ///
    /// The proxy cannot see what is sent through a tunnel, such as mail to port 25. RFC 9110 9.3.6: "Proxies that
    /// support CONNECT SHOULD restrict its use to a limited set of known ports or a configurable list of safe request
    /// targets." The default is that of Squid's `SSL_ports`.
    #[must_use]
    pub fn connect_ports(mut self, ports: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        self.connect_ports = ports.into_iter().collect();
        self
    }

    /// Sets the ports to which requests are forwarded, in place of those before. Default: 80, 443, and 1025 to 65535.
    ///
    /// A service of another protocol may read lines of a request as commands, as mail servers do. The default is that
    /// of Squid's `Safe_ports`, without the ports below 1024 that are rarely used for HTTP today: 21, 70, 210, 280,
    /// 488, 591 and 777.
    #[must_use]
    pub fn http_ports(mut self, ports: impl IntoIterator<Item = RangeInclusive<u16>>) -> Self {
        self.http_ports = ports.into_iter().collect();
        self
    }

    /// Adds hosts that are denied. Default: none.
    ///
    /// A pattern is a host, `example.com` or an address; `*.example.com` for all below a domain, but not the domain
    /// itself; or `*`. The case of letters and a dot at the end do not matter. The most specific pattern decides about
    /// a host, and of two equal ones the one that denies. The list may be long: a lookup takes as many steps as the
    /// name has labels.
    ///
    /// An address stands for its IPv4-mapped and NAT64 forms, too. A host that is denied by its name can still be
    /// reached by its address, unless that is denied as well.
    ///
    /// # Errors
    ///
    /// Returns a config error that names what is no pattern, such as `127.1`, a form of an address that no request may
    /// have. A name that is not in ASCII has to be written as it is in a URL, `xn--bcher-kva.example`.
    pub fn deny_hosts<I>(mut self, patterns: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for pattern in patterns {
            self.hosts.add("deny_hosts", pattern.as_ref(), false)?;
        }
        Ok(self)
    }

    /// Adds hosts that are allowed, in the patterns of [`deny_hosts`](Self::deny_hosts). Default: all.
    ///
    /// Once there is such a pattern, all hosts that match none are denied.
    ///
    /// # Errors
    ///
    /// Those of [`deny_hosts`](Self::deny_hosts).
    pub fn allow_hosts<I>(mut self, patterns: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for pattern in patterns {
            self.hosts.add("allow_hosts", pattern.as_ref(), true)?;
        }
        Ok(self)
    }

    /// Adds networks that are denied, each an address or a network: `198.51.100.0/24`. Default: all that are no part of
    /// the public internet.
    ///
    /// These are loopback, private, link-local, shared, multicast and reserved networks, and all others of IANA's
    /// registries of special-purpose addresses that are not globally reachable; the addresses of the metadata services
    /// of clouds; and the addresses of this host. An IPv6 address that embeds an IPv4 address by mapping or by NAT64 is
    /// checked as that one, and other such forms are denied.
    ///
    /// The most specific network decides about an address, the built-in ones among them. Of two equal ones the one that
    /// denies decides, and one of yours before a built-in one.
    ///
    /// # Errors
    ///
    /// Returns a config error that names what is neither an address nor a network, or an IPv6 network of embedded IPv4
    /// addresses, `64:ff9b::/96`, which no address is checked against.
    pub fn deny_networks<I>(mut self, networks: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for network in networks {
            self.networks
                .add("deny_networks", network.as_ref(), false)?;
        }
        Ok(self)
    }

    /// Adds networks that are allowed although they are [denied by default](Self::deny_networks), or are part of one
    /// that is denied. Default: none.
    ///
    /// `10.0.0.0/8` allows that network. `0.0.0.0/0` has no effect, because each built-in network is more specific.
    /// `169.254.0.0/16` allows link-local addresses except for 169.254.169.254, which has to be allowed by itself. So
    /// has each address of this host, apart from loopback.
    ///
    /// The public internet stays allowed. To deny it, deny `0.0.0.0/0` and `::/0`.
    ///
    /// # Errors
    ///
    /// Those of [`deny_networks`](Self::deny_networks).
    pub fn allow_networks<I>(mut self, networks: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        for network in networks {
            self.networks
                .add("allow_networks", network.as_ref(), true)?;
        }
        Ok(self)
    }

    /// Adds a closure that may deny a request whose port and host are allowed. Default: none.
    ///
    /// Its error is the reason, and is sent to the client. Closures are called in the order in which they were added,
    /// before the name is looked up. They must not block.
    #[must_use]
    pub fn check(
        mut self,
        check: impl Fn(&TargetFacts) -> Result<(), &'static str> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Arc::new(check));
        self
    }

    /// Checks the port, the host and the closures.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Denied`], a 403, with the reason and the target.
    pub(super) fn admit(&self, facts: &TargetFacts) -> Result<(), Error> {
        let target = facts.target();
        let ports = match target.protocol() {
            TargetProtocol::Tunnel => &self.connect_ports,
            TargetProtocol::Http | TargetProtocol::Https => &self.http_ports,
        };
        let denied = |reason| {
            let error = Error::new(ErrorKind::Denied).detail(reason);
            error.at(&target.to_string().into())
        };
        if !ports.iter().any(|ports| ports.contains(&target.port())) {
            return Err(denied("the port is not allowed"));
        }
        if !self.hosts.allow(target) {
            return Err(denied("the host is not allowed"));
        }
        let mut checks = self.checks.iter();
        checks.try_for_each(|check| check(facts)).map_err(denied)
    }

    /// Returns why an address must not be connected to. The answer is the same for all requests.
    pub(super) fn check_address(&self, ip: IpAddr) -> Result<(), &'static str> {
        self.networks.check(ip)
    }
}

impl fmt::Debug for TargetPolicy {
    /// Shows how many closures there are, since functions have no text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TargetPolicy")
            .field("connect_ports", &self.connect_ports)
            .field("http_ports", &self.http_ports)
            .field("hosts", &self.hosts)
            .field("networks", &self.networks)
            .field("checks", &self.checks.len())
            .finish()
    }
}
