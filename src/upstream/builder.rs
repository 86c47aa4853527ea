//! The settings of a [`Client`]. What is built from them is in `build.rs`.
//!
//! Each method documents its unit and default. Nothing is opened or read here: what a setting lacks, such as trust
//! roots, is found by the first connection that needs it, and is its error.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use http::Uri;
use hyper::rt::{Read, Write};
use tower::Service;

#[cfg(feature = "_tls")]
use super::connect::Tls;
#[cfg(feature = "http2")]
use super::http2;
use super::{
    bounds::MessageBounds,
    client::Client,
    connect::{Custom, ProxyProtocol, Resolver},
    pool::Limits,
};
#[cfg(feature = "http2")]
use crate::clock::finite;
use crate::error::{BoxError, Error};

/// The settings of [`Client`]s. One builder can build many, each with a pool of its own.
///
/// ```
/// use axum_upstream::upstream::Client;
/// use std::time::Duration;
///
/// let settings = Client::builder().connect_timeout(Duration::from_secs(1)).max_connections(100);
/// let one = settings.build("http://10.0.0.1:8080")?;
/// let two = settings.build("http://10.0.0.2:8080")?;
/// # Ok::<(), axum_upstream::Error>(())
/// ```
///
/// In every setting that is a time, `Duration::MAX` means no limit.
#[derive(Clone)]
pub struct ClientBuilder {
    /// What the pool and its connections go by.
    pub(super) limits: Limits,
    /// Takes the place of the URL in logs and errors.
    pub(super) name: Option<Arc<str>>,
    /// Takes the place of the name in metrics.
    pub(super) counted_as: Option<Arc<str>>,
    /// Looks host names up.
    pub(super) resolver: Resolver,
    /// The user's connector, in place of TCP.
    pub(super) custom: Option<Custom>,
    /// The version of the PROXY header that connections begin with.
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    /// The user's connector for HTTP/1.1 alone.
    #[cfg(feature = "_tls")]
    pub(super) custom_http1: Option<Custom>,
    /// The user's TLS settings; `None` stands for the default ones.
    #[cfg(feature = "_tls")]
    pub(super) tls: Option<Tls>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            limits: Limits {
                connect_timeout: Duration::from_secs(5),
                idle_timeout: Duration::from_secs(60),
                max_idle: 256,
                max_open: None,
                max_lifetime: None,
                bounds: MessageBounds::default(),
                #[cfg(feature = "http2")]
                http2: http2::Settings::default(),
            },
            name: None,
            counted_as: None,
            resolver: Resolver::default(),
            custom: None,
            proxy_protocol: None,
            #[cfg(feature = "_tls")]
            custom_http1: None,
            #[cfg(feature = "_tls")]
            tls: None,
        }
    }
}

impl ClientBuilder {
    /// Longest time to obtain a connection: waiting for one, name lookup, TLS and HTTP handshake included. Default 5 s.
    ///
    /// A request that exceeds it has not been sent, so a balancer tries another endpoint. The error is a 504; it is a
    /// 503 if the time was spent waiting at [`max_connections`](Self::max_connections).
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect_timeout = timeout;
        self
    }

    /// How long an unused connection is kept. Default 60 s; one that the server closes sooner is closed at once.
    ///
    /// It should be shorter than the server's own idle timeout: then a request is seldom sent on a connection that the
    /// server is just closing. Zero keeps no HTTP/1 connection at all, and an HTTP/2 connection for a second at most.
    #[must_use]
    pub fn pool_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// How many unused HTTP/1 connections are kept, per endpoint and runtime. Default 256. With 0, each HTTP/1 request
    /// opens a connection.
    ///
    /// It does not limit how many are open: see [`max_connections`](Self::max_connections).
    #[must_use]
    pub fn pool_max_idle(mut self, max: usize) -> Self {
        self.limits.max_idle = max;
        self
    }

    /// How many connections may be open per endpoint, in use or not, on all runtimes together. Default: no limit. Zero
    /// is a config error of [`build`](Self::build).
    ///
    /// A request that finds all in use waits for one, first come, first served, and at most for the connect timeout:
    /// then it is tried at another endpoint, or answered 503. A connection that is idle where the head of the line
    /// cannot use it, on another runtime or of another version, is closed to make room. Requests over HTTP/2 share the
    /// connections that are open, and wait for a stream of theirs; an upgrade waits until one of them is not in use.
    ///
    /// A tunnel, such as a WebSocket, counts as an open connection until it ends.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.limits.max_open = Some(max);
        self
    }

    /// How long a connection takes requests. Default: no limit.
    ///
    /// With a limit, a change of the addresses behind a name takes effect in time. Each connection gets up to a tenth
    /// less, at random, so that they do not all end at once. A request in progress at its end finishes.
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.limits.max_lifetime = Some(lifetime);
        self
    }

    /// How large the head of a response may be, in bytes: the status line and fields as HTTP/1 writes them, over HTTP/2
    /// the fields alone. Its trailers may be as large again. Default 256 KiB.
    ///
    /// A larger head is a 502 for that request, larger trailers break its response off; other requests on the same
    /// connection continue. [`docs::limits`](crate::docs::limits) has every limit of a connection.
    #[must_use]
    pub fn max_response_head(mut self, bytes: usize) -> Self {
        self.limits.bounds.size = bytes;
        self
    }

    /// How many fields the head of a response may have, and its trailers by themselves. Default 256.
    ///
    /// More are treated as a head that is [too large](Self::max_response_head). Above 256, each HTTP/1 response costs
    /// an allocation.
    #[must_use]
    pub fn max_response_fields(mut self, fields: usize) -> Self {
        self.limits.bounds.fields = fields;
        self
    }

    /// How many bytes of a response over HTTP/2 the endpoint may send ahead of its reader. Default 512 KiB. Less than
    /// 16 KiB, or 2 GiB and more, is a config error of [`build`](Self::build).
    ///
    /// A download receives no more than this in each round trip to the endpoint: 4 Gbit/s at 1 ms, 42 Mbit/s at 100 ms.
    /// A client that reads more slowly than the endpoint sends holds this much memory. A connection carries no more
    /// than 2 GiB / `bytes` requests, so that it has room for all of them even when none is read.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2_stream_window(mut self, bytes: u32) -> Self {
        self.limits.http2.stream_window = bytes;
        self
    }

    /// Sends an HTTP/2 ping after this long without a frame, and closes the connection if no answer arrives for as long
    /// again. Default: no pings, as with zero or `Duration::MAX`.
    ///
    /// Pings find a server that is gone without a word before a request does. Many gRPC servers close connections that
    /// are pinged more often than every five minutes.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2_ping_interval(mut self, interval: Duration) -> Self {
        self.limits.http2.ping_interval = finite(interval).filter(|interval| !interval.is_zero());
        self
    }

    /// The endpoint's name in logs, in errors and within a cluster. Default: its URL.
    ///
    /// Endpoints of one cluster that have the same URL at different addresses need different names: see
    /// [`resolve`](Self::resolve).
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Connects to these addresses where the host of the URL is `name`, instead of looking it up. Default: every new
    /// connection looks the host up.
    ///
    /// `Host`, TLS (SNI) and the verification of the certificate still go by the name, so this is how to reach a server
    /// that was discovered by its address. An address with port 0 receives the port of the URL. The addresses are tried
    /// in their order, as those of a lookup are: see [`resolver`](Self::resolver). A second call for the same name
    /// replaces the addresses of the first. The case of letters does not matter.
    ///
    /// An empty list is an error of [`build`](Self::build).
    ///
    /// ```
    /// use axum_upstream::{EndpointSpec, LoadBalance, upstream::Client};
    /// use std::net::SocketAddr;
    ///
    /// let discovered: [SocketAddr; 2] = [([10, 0, 0, 1], 8443).into(), ([10, 0, 0, 2], 8443).into()];
    /// let endpoints = discovered.map(|address| {
    ///     let client = Client::builder().resolve("api.example.com", [address]).name(address.to_string());
    ///     client.build("http://api.example.com").map(EndpointSpec::from)
    /// });
    /// let balance = LoadBalance::builder().endpoints(endpoints.into_iter().collect::<Result<Vec<_>, _>>()?)?;
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn resolve(mut self, name: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.resolver.give(name, addresses.into_iter().collect());
        self
    }

    /// Looks host names up by a resolver of the user's: a tower service from a name to addresses, in the order in which
    /// they should be tried. Default: the system's resolver.
    ///
    /// Each new connection calls it, so a resolver for which that is expensive should cache. An address with port 0
    /// receives the port of the URL. It is not called for hosts that are addresses, nor for names given to
    /// [`resolve`](Self::resolve). An error of the resolver, or an empty answer, is a 502, unless another endpoint
    /// takes the request.
    ///
    /// An address is given 250 ms before the next one is tried beside it, IPv6 and IPv4 in turn (RFC 8305); the first
    /// to answer is taken. An address that has failed or was silent is tried after all others for 30 s.
    ///
    /// ```
    /// use axum_upstream::upstream::Client;
    /// use std::net::{Ipv4Addr, SocketAddr};
    /// use tower::service_fn;
    ///
    /// let resolver = service_fn(|name: String| async move {
    ///     match name.as_str() {
    ///         "api.internal" => Ok([SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]),
    ///         _ => Err(format!("{name} is not known")),
    ///     }
    /// });
    /// let client = Client::builder().resolver(resolver).build("http://api.internal:5000")?;
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn resolver<R>(mut self, resolver: R) -> Self
    where
        R: Service<String> + Clone + Send + Sync + 'static,
        R::Response: IntoIterator<Item = SocketAddr>,
        R::Error: Into<BoxError>,
        R::Future: Send + 'static,
    {
        self.resolver.set_custom(resolver);
        self
    }

    /// Sets the TLS configuration: trust roots, client certificates, the cryptography. ALPN is set by the client.
    ///
    /// Default: TLS 1.2 and 1.3. Servers are verified against the platform's trust roots or, if it has none, against
    /// those that the feature `tls-webpki-roots` builds in. The cryptography is that of the application's [process
    /// default](rustls::crypto::CryptoProvider::install_default), or else that of the feature `tls-aws-lc`, or else
    /// that of `tls-ring`. All this is looked for when the first connection needs it; what is missing then is the error
    /// of that connection.
    #[cfg(feature = "_tls")]
    #[must_use]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Some(Tls::new(config));
        self
    }

    /// Opens connections by a connector of the user's instead of TCP: through a SOCKS proxy or a tunnel, or on a socket
    /// with special options.
    ///
    /// It is called with `http://host:port` or `https://host:port`, and resolves names itself. For `https` endpoints,
    /// TLS is spoken over its stream. The connect timeout applies; a connection that exceeds it is dropped.
    ///
    /// An error whose cause is a lack of file descriptors, ports or memory is taken for this process's own, and not for
    /// the endpoint's.
    #[must_use]
    pub fn connector<C>(mut self, connector: C) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Send + Unpin + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        self.custom = Some(Custom::new(connector, false, |_| false));
        self
    }

    /// Like [`connector`](Self::connector), for one that performs the TLS handshake itself where the scheme is `https`,
    /// as `hyper_rustls::HttpsConnector` does. `is_http2` returns what ALPN chose on a stream that it made.
    ///
    /// Where ALPN can choose HTTP/2, upgrades need [`tls_connector_http1`](Self::tls_connector_http1) too, except for
    /// WebSockets to an endpoint that offers them over HTTP/2.
    #[cfg(feature = "_tls")]
    #[must_use]
    pub fn tls_connector<C>(
        mut self,
        connector: C,
        is_http2: impl Fn(&C::Response) -> bool + Clone + Send + Sync + 'static,
    ) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Send + Unpin + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        self.custom = Some(Custom::new(connector, true, is_http2));
        self
    }

    /// A second [`tls_connector`](Self::tls_connector) for `https` endpoints, which offers HTTP/1.1 alone in ALPN. It
    /// opens the connections of upgrades, which HTTP/2 cannot carry.
    ///
    /// Default: the first one opens those, too. If HTTP/2 is chosen on one, the upgrade fails with a config error.
    #[cfg(feature = "_tls")]
    #[must_use]
    pub fn tls_connector_http1<C>(mut self, connector: C) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Send + Unpin + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        self.custom_http1 = Some(Custom::new(connector, true, |_| false));
        self
    }

    /// Begins each connection with a PROXY header, by which the endpoint learns the address of the client. Default: no
    /// header.
    ///
    /// The endpoint has to expect it: one that does not takes it for a malformed request. The header is the first that
    /// is sent, before TLS. Its source is the client's address, as far as it can be
    /// [trusted](crate::ReverseProxy::trusted_peers), with port 0 for a client behind a trusted peer; its destination
    /// is the address of the endpoint. If one of the two is IPv6, the other is mapped to IPv6. Health checks, and
    /// requests that no proxy has received, are said to be the proxy's own (`LOCAL`, or `UNKNOWN` in version 1).
    ///
    /// A connection then carries requests of one client connection only, and is closed once it has been idle for 15 s:
    /// there are at least as many connections to an endpoint as clients that it serves at the time. HTTP/2, whose
    /// connections are shared, is not offered to `https://` endpoints; `h2c://` ones are a config error of
    /// [`build`](Self::build), and so is a [`tls_connector`](Self::tls_connector) for an `https://` one.
    ///
    /// ```
    /// use axum_upstream::upstream::{Client, ProxyProtocol};
    ///
    /// let client = Client::builder().proxy_protocol(ProxyProtocol::V2).build("http://127.0.0.1:5000")?;
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn proxy_protocol(mut self, version: ProxyProtocol) -> Self {
        self.proxy_protocol = Some(version);
        self
    }
}

impl Client {
    /// Returns a client with the default settings.
    ///
    /// # Errors
    ///
    /// Those of [`ClientBuilder::build`].
    pub fn new(url: &str) -> Result<Self, Error> {
        ClientBuilder::default().build(url)
    }

    /// Returns the default settings, to change them.
    #[must_use]
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
