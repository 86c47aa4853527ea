//! TLS over any transport, with rustls.
//!
//! The name that is sent as SNI and verified in the certificate is the host of the endpoint's URL, not the `Host` of
//! the request, and not the address that was resolved. Verification cannot be turned off here; a `ClientConfig` that
//! does so has to be written on purpose.
//!
//! Session resumption is rustls's: its cache is part of the configuration, so all connections with the same
//! configuration share it, over both versions of HTTP.

use std::sync::Arc;

use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::{
    connected::Versions,
    io::{Io, Transport},
};
use crate::error::BoxError;

/// One configuration, in two forms that differ by what ALPN offers. Cheap to clone.
#[derive(Clone)]
pub(in crate::upstream) struct Tls {
    /// Offers HTTP/2, where this build supports it, and HTTP/1.1.
    all: Arc<ClientConfig>,
    /// Offers HTTP/1.1 alone.
    http1: Arc<ClientConfig>,
}

impl Tls {
    /// Returns `config` with ALPN replaced: it offers HTTP/2 where this build supports it. All else is as the user set
    /// it.
    pub(in crate::upstream) fn new(mut config: ClientConfig) -> Self {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        if cfg!(feature = "http2") {
            config.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Self {
            all: Arc::new(config),
            http1,
        }
    }

    /// Performs the handshake, and returns the encrypted stream and whether HTTP/2 was negotiated on it.
    ///
    /// A server without ALPN is spoken to over HTTP/1.1.
    ///
    /// # Errors
    ///
    /// `host` is no valid name or address for TLS, the certificate cannot be verified, or the transport fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the transport.
    pub(super) async fn handshake(
        &self,
        host: &str,
        transport: Transport,
        versions: Versions,
    ) -> Result<(Io, bool), BoxError> {
        let config = match versions {
            Versions::All => &self.all,
            Versions::Http1 => &self.http1,
        };
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(config.clone())
            .connect(name, transport)
            .await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok((Io::Tls(Box::new(stream)), http2))
    }
}
