//! TLS over any transport. Verification cannot be turned off here; a `ClientConfig` that does so is made on purpose.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use super::{
    Connected, Versions,
    io::{Io, Transport},
};
use crate::error::{BoxError, Error};

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

    pub(super) async fn handshake(
        &self,
        host: &str,
        transport: Transport,
        versions: Versions,
    ) -> Result<Connected, BoxError> {
        let config = match versions {
            Versions::All => &self.all,
            Versions::Http1 => &self.http1,
        };
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(config.clone())
            .connect(name, transport)
            .await?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Connected {
            io: Io::Tls(Box::new(stream)),
            http2,
        })
    }
}

/// The TLS settings of a client that was given none: the platform's trust roots, TLS 1.2 and 1.3. Read once, because
/// parsing a system's roots takes milliseconds.
pub(in crate::upstream) fn default_tls() -> Result<Tls, Error> {
    static TLS: OnceLock<Result<Tls, String>> = OnceLock::new();
    let made = TLS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            return Err(format!(
                "the platform has no trust roots: {:?}",
                found.errors
            ));
        }
        let config =
            ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?;
        Ok(Tls::new(
            config.with_root_certificates(roots).with_no_client_auth(),
        ))
    });
    made.clone().map_err(|error| Error::config("tls", error))
}
