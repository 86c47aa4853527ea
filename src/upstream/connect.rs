//! From an address to a connected stream: TCP with happy eyeballs, then TLS where the scheme asks for it.

use std::{fmt, time::Duration};

#[cfg(feature = "tls")]
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use tokio::{net::TcpStream, time::timeout};
use tower::ServiceExt;

use super::target::{Scheme, Target};
use crate::error::{Error, Kind};

#[cfg(feature = "tls")]
pub(super) type Io = hyper_rustls::MaybeHttpsStream<TokioIo<TcpStream>>;
#[cfg(not(feature = "tls"))]
pub(super) type Io = TokioIo<TcpStream>;

/// Makes the connections of one client.
#[derive(Clone)]
pub(super) struct Connector {
    tcp: HttpConnector,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
    timeout: Duration,
}

/// Two connectors over one configuration.
#[cfg(feature = "tls")]
#[derive(Clone)]
struct Tls {
    /// Offers all this build speaks.
    any: hyper_rustls::HttpsConnector<HttpConnector>,
    http1: hyper_rustls::HttpsConnector<HttpConnector>,
}

/// A stream, and whether to speak HTTP/2 on it.
pub(super) struct Connected {
    pub(super) io: Io,
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub(super) http2: bool,
}

impl Connector {
    pub(super) fn new(timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        Self {
            tcp,
            #[cfg(feature = "tls")]
            tls: None,
            timeout,
        }
    }

    /// Adds TLS: `config` as it is but for ALPN, which offers HTTP/2 where this build speaks it.
    #[cfg(feature = "tls")]
    pub(super) fn with_tls(mut self, mut config: rustls::ClientConfig) -> Self {
        config.alpn_protocols.clear();
        let builder = || {
            let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(config.clone());
            builder.https_only().enable_http1()
        };
        let http1 = builder().wrap_connector(self.tcp.clone());
        #[cfg(feature = "http2")]
        let any = builder().enable_http2().wrap_connector(self.tcp.clone());
        #[cfg(not(feature = "http2"))]
        let any = http1.clone();
        self.tls = Some(Tls { any, http1 });
        self
    }

    /// Connects within the connect timeout, TLS handshake included.
    ///
    /// Dropping the future closes what was opened.
    pub(super) async fn connect(&self, target: &Target) -> Result<Connected, Error> {
        self.within_timeout(target, false).await
    }

    /// As [`connect`](Self::connect), with HTTP/1.1 alone in ALPN.
    pub(super) async fn connect_http1(&self, target: &Target) -> Result<Connected, Error> {
        self.within_timeout(target, true).await
    }

    async fn within_timeout(&self, target: &Target, http1: bool) -> Result<Connected, Error> {
        match timeout(self.timeout, self.stream(target, http1)).await {
            Ok(connected) => connected.map_err(|error| error.at(&target.name)),
            Err(_) => Err(Error::new(Kind::ConnectTimeout).at(&target.name)),
        }
    }

    #[cfg_attr(not(feature = "tls"), expect(unused_variables))]
    async fn stream(&self, target: &Target, http1: bool) -> Result<Connected, Error> {
        #[cfg(feature = "tls")]
        if let (Scheme::Https, Some(tls)) = (target.scheme, &self.tls) {
            let tls = if http1 { &tls.http1 } else { &tls.any };
            let io = tls
                .clone()
                .oneshot(target.origin.clone())
                .await
                .map_err(|error| Error::new(Kind::Unreachable).with(error))?;
            let http2 = io.connected().is_negotiated_h2();
            return Ok(Connected { io, http2 });
        }
        let io = self
            .tcp
            .clone()
            .oneshot(target.origin.clone())
            .await
            .map_err(|error| Error::new(Kind::Unreachable).with(error))?;
        Ok(Connected { io: io.into(), http2: target.scheme == Scheme::H2c })
    }
}

/// The TLS settings of a client that was given none: the platform's trust roots, TLS 1.2 and 1.3. Read once, because
/// parsing a system's roots takes milliseconds.
#[cfg(feature = "tls")]
pub(super) fn default_tls() -> Result<rustls::ClientConfig, Error> {
    use std::sync::OnceLock;

    use hyper_rustls::ConfigBuilderExt as _;

    static CONFIG: OnceLock<Result<rustls::ClientConfig, String>> = OnceLock::new();
    let made = CONFIG.get_or_init(|| {
        let provider = rustls::crypto::ring::default_provider();
        let builder = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = builder.with_native_roots().map_err(|error| error.to_string())?;
        Ok(config.with_no_client_auth())
    });
    made.clone().map_err(|error| Error::config("tls", error))
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
