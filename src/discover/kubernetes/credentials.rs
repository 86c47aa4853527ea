//! [`ApiCredentials`]: where the API server is and what proves who asks, as it was read.

#[cfg(feature = "http2")]
use std::time::Duration;
use std::{net::IpAddr, path::PathBuf};

use http::Uri;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{
    error::BoxError,
    upstream::{Client, ClientBuilder, tls_config},
};

/// After what time without a frame the API server is sent a ping over HTTP/2, as Kubernetes's own clients do.
#[cfg(feature = "http2")]
const PING: Duration = Duration::from_secs(30);

/// What is sent as `Authorization`.
pub(super) enum ApiToken {
    Fixed(String),
    /// In a file that is replaced from time to time.
    File(PathBuf),
}

/// Where the API server is, and what proves who asks.
#[derive(Default)]
pub(super) struct ApiCredentials {
    pub(super) server: String,
    /// The name in its certificate, if it is not the host of the URL.
    pub(super) server_name: Option<String>,
    /// The trust roots, in PEM. `None` stands for those of the platform.
    pub(super) authority: Option<Vec<u8>>,
    /// The client's certificate, in PEM.
    pub(super) certificate: Option<Vec<u8>>,
    /// Its key, in PEM.
    pub(super) key: Option<Vec<u8>>,
    pub(super) token: Option<ApiToken>,
}

impl ApiCredentials {
    /// Builds a client of the API server. Blocks on the platform's trust roots, if these are needed.
    ///
    /// # Errors
    ///
    /// The URL, a certificate or the key is not valid.
    pub(super) fn client(self) -> Result<Client, BoxError> {
        let roots = self.authority.as_deref().map(roots).transpose()?;
        let identity = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(certificate).collect();
                let chain = chain.map_err(|error| bad("client's certificate", error))?;
                let key = PrivateKeyDer::from_pem_slice(key);
                Some((chain, key.map_err(|error| bad("client's key", error))?))
            }
            (None, None) => None,
            _ => {
                return Err(
                    "a client certificate needs its key, and the key its certificate".into(),
                );
            }
        };
        let mut client = ClientBuilder::default();
        // A connection that was lost without a word would be found by the end of the watch alone.
        #[cfg(feature = "http2")]
        {
            client = client.http2_ping_interval(PING);
        }
        let mut server = self.server;
        if server.starts_with("https:") {
            client = client.tls(tls_config(roots, identity)?);
        }
        if let Some(name) = self.server_name {
            let address;
            (server, address) = named(&server, &name)?;
            client = client.resolve(&name, [(address, 0).into()]);
        }
        Ok(client.build(&server)?)
    }
}

/// Puts a name in the place of the address in a URL, and returns both.
fn named(url: &str, name: &str) -> Result<(String, IpAddr), BoxError> {
    let uri: Uri = url.parse()?;
    let authority = uri.authority().ok_or("the URL of the server has no host")?;
    let host = authority.host().trim_matches(['[', ']']);
    let Ok(address) = host.parse() else {
        return Err("tls-server-name needs a server whose URL has an address".into());
    };
    let scheme = uri.scheme_str().unwrap_or("https");
    let port = authority.port_u16().map(|port| format!(":{port}"));
    let path = uri.path().trim_end_matches('/');
    let url = format!("{scheme}://{name}{}{path}", port.unwrap_or_default());
    Ok((url, address))
}

/// Reads trust roots, all of which must be valid.
fn roots(pem: &[u8]) -> Result<RootCertStore, BoxError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| bad("certificate authority", error))?;
        roots
            .add(certificate)
            .map_err(|error| bad("certificate authority", error))?;
    }
    match roots.is_empty() {
        false => Ok(roots),
        true => Err("the certificate authority has no certificate".into()),
    }
}

/// Describes what cannot be read. Neither error has the content.
fn bad(what: &str, error: impl std::fmt::Display) -> BoxError {
    format!("the {what} is not valid: {error}").into()
}
