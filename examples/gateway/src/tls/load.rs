//! Makes the settings of TLS from files.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ProducesTickets, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};

use super::certificates::Certificates;
use crate::{
    BoxError,
    listen::{CertificateFiles, ClientCertificateConfig, TlsConfig, TlsVersion},
};

/// What is agreed on with a client, the best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What is in the files of a listener.
pub(super) struct LoadedFiles {
    /// The certificates with their keys, one after the other.
    pairs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The roots of clients' certificates.
    client: Option<Vec<u8>>,
}

impl LoadedFiles {
    /// Reads the files. Blocks.
    ///
    /// # Errors
    ///
    /// Returns an error that names a file which cannot be read.
    pub(super) fn read(config: &TlsConfig) -> Result<Self, BoxError> {
        let pairs = config.certificates.iter();
        let pairs = pairs.map(|files| Ok((read(&files.cert)?, read(&files.key)?)));
        let client = config.client.as_ref().map(|client| read(&client.ca));
        Ok(Self {
            pairs: pairs.collect::<Result<_, BoxError>>()?,
            client: client.transpose()?,
        })
    }

    /// Returns a number that is another one when the files have changed.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.pairs.hash(&mut hasher);
        self.client.hash(&mut hasher);
        hasher.finish()
    }

    /// Makes settings of what is in the files. Returns them with the names of the certificates.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that is wrong.
    pub(super) fn settings(
        &self,
        config: &TlsConfig,
        ticketer: Arc<dyn ProducesTickets>,
    ) -> Result<(Arc<ServerConfig>, Vec<String>), BoxError> {
        let provider = Arc::new(ring::default_provider());
        let pairs = config.certificates.iter().zip(&self.pairs);
        let keys = pairs.map(|(files, (cert, key))| pair(files, cert, key, &provider));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let certificates = Certificates::new(keys).map_err(|position| {
            let path = config.certificates[position].cert.display();
            format!("{path}: not a valid server certificate")
        })?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions(config.min_version))?;
        let builder = match config.client.as_ref().zip(self.client.as_ref()) {
            Some((client, roots)) => {
                builder.with_client_cert_verifier(verifier(client, roots, provider)?)
            }
            None => builder.with_no_client_auth(),
        };
        let names = certificates.names().into_iter().map(str::to_owned);
        let names = names.collect();
        let mut settings = builder.with_cert_resolver(Arc::new(certificates));
        settings.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
        settings.ticketer = ticketer;
        Ok((Arc::new(settings), names))
    }
}

/// Returns the files of a listener.
pub(super) fn paths(config: &TlsConfig) -> impl Iterator<Item = &PathBuf> {
    let pairs = config.certificates.iter();
    let client = config.client.iter().map(|client| &client.ca);
    pairs
        .flat_map(|files| [&files.cert, &files.key])
        .chain(client)
}

/// Reads a file.
fn read(path: &Path) -> Result<Vec<u8>, BoxError> {
    fs::read(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// Makes a certificate with its key.
fn pair(
    files: &CertificateFiles,
    cert: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<Arc<CertifiedKey>, BoxError> {
    let (cert_path, key_path) = (files.cert.display(), files.key.display());
    let chain = certificates(&files.cert, cert)?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|error| format!("{key_path}: no private key in PEM: {error}"))?;
    let pair = CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| format!("{cert_path} with {key_path}: {error}"))?;
    Ok(Arc::new(pair))
}

/// Returns the certificates in a file, one at least.
fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, BoxError> {
    let wrong = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| wrong(&error))?;
    match all.is_empty() {
        true => Err(wrong(&"no certificate in PEM").into()),
        false => Ok(all),
    }
}

/// Returns what accepts the certificates of clients.
fn verifier(
    config: &ClientCertificateConfig,
    roots: &[u8],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, BoxError> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", config.ca.display());
    let mut store = RootCertStore::empty();
    for root in certificates(&config.ca, roots)? {
        store.add(root).map_err(|error| wrong(&error))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
    let verifier = match config.optional {
        true => verifier.allow_unauthenticated(),
        false => verifier,
    };
    Ok(verifier.build().map_err(|error| wrong(&error))?)
}

/// Returns the versions from the lowest on.
fn versions(lowest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match lowest {
        TlsVersion::V1_2 => &ALL,
        TlsVersion::V1_3 => &ALL[..1],
    }
}
