//! [`Dns`]: endpoints that are found by a name in DNS.

mod addresses;
mod error;
mod resolver;
mod service;
mod source;

use std::{net::SocketAddr, time::Duration};

pub use self::error::{DnsError, DnsErrorKind};
use self::{
    resolver::NameServers,
    source::{DnsSettings, Records},
};
use super::{
    families::Families,
    place::EndpointPlace,
    source_stream::{SHORTEST_TIME, SourceStream, discovers},
};
use crate::{
    error::Error,
    upstream::{ClientBuilder, redacted},
};

/// The least that the shortest time from one lookup to the next can be.
const SHORTEST_TTL: Duration = Duration::from_millis(1);

/// Discovers endpoints by a name in DNS, and looks it up again whenever the answer has expired.
///
/// [`addresses`](Self::addresses) makes an endpoint of each address of a name, [`srv`](Self::srv) one of each server
/// that has a record of a service. It is a [`Discover`](super::Discover), to be given to
/// [`LoadBalanceBuilder::discover`](crate::balance::LoadBalanceBuilder::discover):
///
/// ```no_run
/// use axum_upstream::{LoadBalance, discover::Dns};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_upstream::Error> {
/// let backends = LoadBalance::builder().discover(Dns::addresses("http://api.internal:8080")?)?;
/// # Ok(())
/// # }
/// ```
///
/// # Answers
///
/// | answer | what becomes of it |
/// |---|---|
/// | records | the set. What is not in it any more leaves and drains; what comes back is known again |
/// | the name does not exist (NXDOMAIN) | an error, unless [`allow_empty`](Self::allow_empty) has it believed |
/// | the name has no such records | the same. If it has addresses of one family, these are the set |
/// | SRV with the target `.` | an empty set that is stated (RFC 2782), and taken as it is |
/// | SERVFAIL, REFUSED, time-out, no connection | an error. The last set stays |
/// | the same, for one family of addresses | that family stays as it was; the other one is taken |
/// | the same, for one host of a service | that host stays as it was. One that is new is skipped, with a warning |
/// | truncated | asked for again over TCP |
/// | CNAME | followed, up to eight of them |
///
/// Errors are [`DnsError`]s, which are told apart by their [kind](DnsError::kind). The cluster logs them, counts them,
/// has them in its status, and asks again after a pause that grows from 1 s to 30 s.
///
/// # When names are looked up
///
/// When the record of the shortest time to live has expired, and up to a tenth of that later at random, so that many
/// processes do not ask at the same time; but within [bounds](Self::min_ttl). Time passes on the clock of tokio.
///
/// # Which name servers
///
/// Those of `/etc/resolv.conf`, with its search list and options, and `/etc/hosts` before them. Both are read again
/// once a minute, after a failure, and if the name does not exist. [`name_server`](Self::name_server) asks others.
///
/// # Consul and Nomad
///
/// Both register services in Consul's DNS, on port 8600 by default:
///
/// ```no_run
/// use axum_upstream::{LoadBalance, discover::Dns};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_upstream::Error> {
/// let api = Dns::srv("http://_api._tcp.service.consul")?.name_server(([127, 0, 0, 1], 8600));
/// let backends = LoadBalance::builder().discover(api)?;
/// # Ok(())
/// # }
/// ```
///
/// In Kubernetes, `Dns::addresses` follows a headless service: `http://api.default.svc.cluster.local:8080`.
#[derive(Debug)]
pub struct Dns(SourceStream<DnsSettings>);

discovers!(Dns);

impl Dns {
    /// Discovers the addresses of the URL's host, by its A and AAAA records. Each is an endpoint.
    ///
    /// The endpoints are named by the URL with the address in place of the host: `http://10.0.0.1:8080`. `Host`, TLS
    /// (SNI) and the verification of certificates go by the host. All have a weight of 1.
    ///
    /// Without a port, that of the scheme is used.
    ///
    /// # Errors
    ///
    /// A config error if it is no URL of an endpoint, or if its host is an address.
    pub fn addresses(url: &str) -> Result<Self, Error> {
        // As the endpoints will be.
        ClientBuilder::default().build(url)?;
        Self::new(url, Records::Addresses)
    }

    /// Discovers the servers of a service, by the SRV records of the URL's host (RFC 2782), such as
    /// `http://_http._tcp.api.internal`. Each is an endpoint.
    ///
    /// The endpoints are named by the URL with the target and the port of the record in place of the host:
    /// `http://host-1.internal:8080`. `Host`, TLS (SNI) and the verification of certificates go by the target. Its
    /// addresses are looked up by the same name servers; they are tried as those of a host are. An endpoint whose
    /// addresses have changed is replaced, and drains.
    ///
    /// The weight of the record is that of the endpoint; 0 is 1. The servers of the lowest priority are the
    /// [tier](crate::EndpointSpec::priority) 0, those of the next one the tier 1, and so on.
    ///
    /// # Errors
    ///
    /// A config error if it is no URL of an endpoint, if its host is an address, or if it has a port: that is in the
    /// records.
    pub fn srv(url: &str) -> Result<Self, Error> {
        ClientBuilder::default().build(url)?;
        let dns = Self::new(url, Records::Services)?;
        if dns.0.settings.place.has_port() {
            let why = format!(
                "{:?} must have no port: SRV records have that",
                redacted(url)
            );
            return Err(Error::config("URL to discover", why));
        }
        Ok(dns)
    }

    fn new(url: &str, records: Records) -> Result<Self, Error> {
        Ok(Self(SourceStream::new(DnsSettings {
            place: EndpointPlace::new(url)?,
            records,
            families: Families::Both,
            servers: NameServers::new(Duration::from_secs(10)),
            client: ClientBuilder::default(),
            min_ttl: Duration::from_secs(1),
            max_ttl: Duration::from_secs(300),
        })))
    }

    /// Sets how the endpoints are connected to. Default: a [`ClientBuilder`] as it is. Its name and its addresses for
    /// the host are replaced.
    #[must_use]
    pub fn client(mut self, settings: ClientBuilder) -> Self {
        self.0.settings.client = settings;
        self
    }

    /// Asks this name server, over UDP and TCP, and neither those of the system nor `/etc/hosts`. Called again, it adds
    /// another one. Default: those of the system.
    ///
    /// Names are taken as they are then, without a search list.
    #[must_use]
    pub fn name_server(mut self, address: impl Into<SocketAddr>) -> Self {
        self.0.settings.servers.add(address.into());
        self
    }

    /// Asks for IPv4 addresses only. Default: both families.
    #[must_use]
    pub fn ipv4_only(mut self) -> Self {
        self.0.settings.families = Families::V4;
        self
    }

    /// Asks for IPv6 addresses only. Default: both families.
    #[must_use]
    pub fn ipv6_only(mut self) -> Self {
        self.0.settings.families = Families::V6;
        self
    }

    /// Sets the shortest time from one lookup to the next, whatever the time to live of the records. Default: 1 s.
    ///
    /// It counts more than a [`max_ttl`](Self::max_ttl) that is shorter. Less than 1 ms counts as 1 ms: records
    /// may have a time to live of 0.
    #[must_use]
    pub fn min_ttl(mut self, ttl: Duration) -> Self {
        self.0.settings.min_ttl = ttl.max(SHORTEST_TTL);
        self
    }

    /// Sets the longest time from one lookup to the next, whatever the time to live of the records. Default: 5 minutes.
    /// `Duration::MAX` has no limit.
    ///
    /// What is in `/etc/hosts` lives for a day.
    #[must_use]
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.0.settings.max_ttl = ttl;
        self
    }

    /// Sets how long a question may take, all its repetitions and all name servers included. Default: 10 s.
    ///
    /// Within that, a question is repeated as `/etc/resolv.conf` says. Less than 100 ms counts as 100 ms.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.0.settings.servers.timeout = timeout.max(SHORTEST_TIME);
        self
    }

    /// Believes answers without records. Default: they are errors, and the last endpoints stay.
    ///
    /// A zone that was broken by a mistake looks like a service that is gone, and the servers usually go on. Without
    /// this, the last endpoints of a service that is gone remain until they are ejected. SRV records can state that
    /// there is no server, which is believed anyway.
    ///
    /// With the search list of the system, the answer to the last name that was tried counts. If the name server fails
    /// for an earlier one, that may look like a name that does not exist.
    #[must_use]
    pub fn allow_empty(mut self) -> Self {
        self.0.allows_empty = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time to live of 0 does not lead to one lookup after the other.
    #[test]
    fn times_may_be_zero() {
        let dns = Dns::addresses("http://a").unwrap();
        let dns = dns.min_ttl(Duration::ZERO).timeout(Duration::ZERO);
        assert_eq!(dns.0.settings.min_ttl, SHORTEST_TTL);
        assert_eq!(dns.0.settings.servers.timeout, SHORTEST_TIME);
    }

    #[test]
    fn passwords_are_in_no_error() {
        for url in ["http://user:secret@a:80", "http://user:secret@10.0.0.1"] {
            let results = [Dns::addresses(url).err(), Dns::srv(url).err()];
            for error in results {
                let error = error.unwrap().to_string();
                assert!(!error.contains("secret"), "{error}");
            }
        }
    }
}
