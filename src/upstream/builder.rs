//! Settings of a [`Client`].

use std::{sync::Arc, time::Duration};

#[cfg(feature = "tls")]
use super::target::Scheme;
use super::{
    Client,
    connect::Connector,
    pool::{Limits, Pool},
    target::Target,
};
use crate::error::Error;

/// Settings of [`Client`]s; one can build many.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    limits: Limits,
    #[cfg(feature = "tls")]
    tls: Option<rustls::ClientConfig>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self {
            limits: Limits {
                idle_timeout: Duration::from_secs(60),
                max_idle: 256,
                connect_timeout: Duration::from_secs(5),
            },
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

    /// How long an unused connection is kept. Default 60 s; a server that closes sooner is noticed before reuse.
    #[must_use]
    pub fn pool_idle_timeout(mut self, timeout: Duration) -> Self {
        self.limits.idle_timeout = timeout;
        self
    }

    /// How many unused connections are kept per endpoint. Default 256; connections in use are not limited.
    #[must_use]
    pub fn pool_max_idle(mut self, max: usize) -> Self {
        self.limits.max_idle = max;
        self
    }

    /// TLS settings instead of the platform's trust roots: own roots, client certificates. ALPN is set by the client.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: rustls::ClientConfig) -> Self {
        self.tls = Some(config);
        self
    }

    /// A client for `url`: `http://`, `https://` or `h2c://`, a host, an optional port and an optional base path.
    ///
    /// # Errors
    ///
    /// A config error when the URL cannot be one, or the platform's trust roots cannot be read.
    pub fn build(&self, url: &str) -> Result<Client, Error> {
        let target: Arc<Target> = Arc::new(url.parse()?);
        let connector = Connector::new(self.limits.connect_timeout);
        #[cfg(feature = "tls")]
        let connector = match (target.scheme, &self.tls) {
            (Scheme::Https, Some(config)) => connector.with_tls(config.clone()),
            (Scheme::Https, None) => connector.with_tls(super::connect::default_tls()?),
            (Scheme::Http | Scheme::H2c, _) => connector,
        };
        let pool = Arc::new(Pool::new(target.clone(), connector, self.limits));
        Ok(Client::new_in(target, pool))
    }
}
