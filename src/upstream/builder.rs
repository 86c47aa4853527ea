//! Settings of a [`Client`].

use std::{fmt, sync::Arc, time::Duration};

use http::Uri;
use hyper::rt::{Read, Write};
use tower::Service;

#[cfg(feature = "tls")]
use super::connect::{Tls, default_tls};
#[cfg(feature = "http2")]
use super::http2;
use super::{
    Client,
    bounds::MessageBounds,
    connect::{Connector, Custom},
    pool::{Limits, Pool},
    target::{Scheme, Target},
};
#[cfg(feature = "http2")]
use crate::clock::finite;
use crate::error::{BoxError, Error};

/// Settings of [`Client`]s; one can build many.
#[derive(Clone)]
pub struct ClientBuilder {
    limits: Limits,
    custom: Option<Custom>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
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
            custom: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl ClientBuilder {
    /// Longest time to connect, TLS handshake included. Default 5 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.limits.connect_timeout = timeout;
        self
    }

    /// How long an unused connection is kept. Default 60 s; one that the server closes sooner is let go at once.
    #[must_use]
    pub fn pool_idle_timeout(mut self, timeout: Duration) -> Self {
        // Kept for no time is not kept; a reaper that looked for it all the time would not rest.
        if timeout.is_zero() {
            return self.pool_max_idle(0);
        }
        self.limits.idle_timeout = timeout;
        self
    }

    /// How many unused HTTP/1 connections are kept, per endpoint and runtime. Default 256.
    #[must_use]
    pub fn pool_max_idle(mut self, max: usize) -> Self {
        self.limits.max_idle = max;
        self
    }

    /// How many connections may be open per endpoint, in use or not, on all runtimes together. Default: no limit.
    ///
    /// A request that finds all in use waits for one, first come, first served, and at most for the connect timeout:
    /// then it is tried at another endpoint, or answered 503. A connection that idles where the first in line cannot
    /// use it, on another runtime or of another version, is closed to make room. Requests over HTTP/2 share the
    /// connections that are open, and wait for a stream of theirs.
    #[must_use]
    pub fn max_connections(mut self, max: usize) -> Self {
        self.limits.max_open = Some(max.max(1));
        self
    }

    /// How long a connection lives, so that a change of addresses behind a name is seen in time. Default: no limit.
    /// Each gets up to a tenth less, so that they do not all end at once; what is under way on it finishes.
    #[must_use]
    pub fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.limits.max_lifetime = Some(lifetime);
        self
    }

    /// How large the head of a response may be, in bytes: status line and fields as HTTP/1 writes them, for HTTP/2 the
    /// fields alone. Its trailers may be as large again. Default 256 KiB.
    ///
    /// A larger head is a 502 for that request, larger trailers break its response off; other requests on the same
    /// connection go on.
    #[must_use]
    pub fn max_response_head(mut self, bytes: usize) -> Self {
        self.limits.bounds.size = bytes;
        self
    }

    /// How many fields the head of a response may have, and its trailers by themselves; more are as a head that is
    /// [too large](Self::max_response_head). Default 256.
    #[must_use]
    pub fn max_response_fields(mut self, fields: usize) -> Self {
        self.limits.bounds.fields = fields;
        self
    }

    /// How many bytes of a response over HTTP/2 the endpoint may send ahead of its reader. Default 512 KiB; no less than
    /// 16 KiB and no more than 2 GiB - 1.
    ///
    /// A download gets no more than this in each round trip to the endpoint: 4 Gbit/s at 1 ms, 42 Mbit/s at 100 ms. And
    /// a client that reads more slowly than the endpoint sends holds this much memory. A connection carries no more
    /// than 2 GiB / `bytes` requests, so that it has room for all of them even when none is read.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2_stream_window(mut self, bytes: u32) -> Self {
        self.limits.http2.stream_window = bytes;
        self
    }

    /// Sends an HTTP/2 ping after this long without a frame, and gives the connection up when no answer comes for as
    /// long again. Default: no pings, as with zero or `Duration::MAX`.
    #[cfg(feature = "http2")]
    #[must_use]
    pub fn http2_ping_interval(mut self, interval: Duration) -> Self {
        self.limits.http2.ping_interval = finite(interval).filter(|interval| !interval.is_zero());
        self
    }

    /// TLS settings instead of the platform's trust roots: own roots, client certificates. ALPN is set by the client.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Some(Tls::new(config));
        self
    }

    /// Makes connections by a connector of your own, instead of TCP: a SOCKS proxy, a tunnel, a socket that is prepared
    /// in some way. It is called with `http://host:port` or `https://host:port`; for `https` endpoints, TLS is spoken
    /// over what it makes.
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

    /// As [`connector`](Self::connector), for one that speaks TLS itself where the scheme is `https`, as
    /// `hyper_rustls::HttpsConnector` does. `is_http2` tells what ALPN chose on a stream it made.
    #[cfg(feature = "tls")]
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

    /// A client for `url`: `http://`, `https://` or `h2c://`, a host, an optional port and an optional base path; or
    /// `unix:` and the path of a socket.
    ///
    /// # Errors
    ///
    /// A config error when the URL cannot be one, or the platform's trust roots cannot be read.
    pub fn build(&self, url: &str) -> Result<Client, Error> {
        let target: Arc<Target> = Arc::new(url.parse()?);
        if target.scheme == Scheme::Unix && self.custom.is_some() {
            return Err(Error::config(
                "connector",
                "it cannot connect to a unix: endpoint",
            ));
        }
        let connector = Connector::new(self.custom.clone());
        #[cfg(feature = "tls")]
        let connector = match (target.scheme, &self.tls) {
            (Scheme::Https, _) if connector.speaks_tls() => connector,
            (Scheme::Https, Some(tls)) => connector.with_tls(tls.clone()),
            (Scheme::Https, None) => connector.with_tls(default_tls()?),
            (Scheme::Http | Scheme::H2c | Scheme::Unix, _) => connector,
        };
        let pool = Arc::new(Pool::new(target.clone(), connector, self.limits));
        Ok(Client::new_in(target, pool))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
