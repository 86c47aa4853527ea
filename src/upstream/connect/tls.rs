//! TLS over any transport. Verification cannot be turned off here; a `ClientConfig` that does so is made on purpose.

use std::sync::Arc;

use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::{
    connected::Versions,
    io::{Io, Transport},
};
use crate::error::BoxError;

/// One configuration, in the two forms that differ by what ALPN offers.
#[derive(Clone)]
pub(in crate::upstream) struct Tls {
    all: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl Tls {
    /// `config` as it is but for ALPN, which offers HTTP/2 where this build speaks it.
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

    /// The encrypted stream, and whether HTTP/2 was negotiated on it.
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
