//! The TLS settings of a client that was given none: TLS 1.2 and 1.3, with what the features and the platform have.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use tokio::{sync::OnceCell, task::spawn_blocking};

#[cfg(feature = "tls-native-roots")]
use super::shortage::is_local_shortage;
use super::tls::Tls;
use crate::error::{Error, ErrorKind};

/// The settings, made when the first connection needs them: a process that never does need have no roots.
///
/// Made once, because parsing a platform's roots takes milliseconds, and off the runtime's threads, because it reads
/// files. What has failed is tried again with the next connection.
pub(super) async fn default_tls() -> Result<Tls, Error> {
    static TLS: OnceCell<Tls> = OnceCell::const_new();
    let made = TLS.get_or_try_init(|| async {
        let making = spawn_blocking(make).await;
        making.unwrap_or_else(|error| Err(Error::new(ErrorKind::Connect).with(error)))
    });
    made.await.cloned()
}

fn make() -> Result<Tls, Error> {
    let Some(provider) = provider() else {
        let missing = "no crypto provider: enable the feature `tls-ring` or `tls-aws-lc`, \
            or install one as the default of the process";
        return Err(Error::config("tls", missing));
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("tls", error))?;
    Ok(Tls::new(
        config
            .with_root_certificates(roots()?)
            .with_no_client_auth(),
    ))
}

/// The one that the application has installed for its process, or else the one that a feature brought. With both
/// features it is aws-lc-rs: ring comes with the default features, and aws-lc-rs was asked for.
fn provider() -> Option<Arc<CryptoProvider>> {
    CryptoProvider::get_default().cloned().or_else(built_in)
}

#[cfg(feature = "tls-aws-lc")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(rustls::crypto::aws_lc_rs::default_provider().into())
}

#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(rustls::crypto::ring::default_provider().into())
}

#[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}

/// What to do where there are no roots.
#[cfg(feature = "tls-native-roots")]
const REMEDY: &str = "install the platform's CA certificates, often a package `ca-certificates`, or name them in \
    SSL_CERT_FILE, or enable the feature `tls-webpki-roots`, or set `ClientBuilder::tls`";
#[cfg(not(feature = "tls-native-roots"))]
const REMEDY: &str =
    "enable the feature `tls-native-roots` or `tls-webpki-roots`, or set `ClientBuilder::tls`";

/// The platform's roots; where it has none, those that are built in. Never both: what an operator has taken out of the
/// platform's store is not to be trusted.
fn roots() -> Result<RootCertStore, Error> {
    let (platform, unread) = platform_roots()?;
    let roots = match platform.is_empty() {
        true => built_in_roots(),
        false => platform,
    };
    if roots.is_empty() {
        let missing = format!("no trust roots{unread}; {REMEDY}");
        return Err(Error::config("tls", missing));
    }
    Ok(roots)
}

/// The platform's roots, and why others could not be read.
#[cfg(feature = "tls-native-roots")]
fn platform_roots() -> Result<(RootCertStore, String), Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut unread = String::new();
    for error in found.errors {
        // Those that are left out now would be missing for as long as the process lives.
        if is_local_shortage(&error) {
            return Err(Error::new(ErrorKind::LocalResources).with(error));
        }
        tracing::debug!(%error, "some of the platform's trust roots cannot be read");
        unread += &format!(" ({error})");
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    Ok((roots, unread))
}

#[cfg(not(feature = "tls-native-roots"))]
fn platform_roots() -> Result<(RootCertStore, &'static str), Error> {
    Ok((RootCertStore::empty(), ""))
}

/// Mozilla's roots, as they were when this was built.
#[cfg(feature = "tls-webpki-roots")]
fn built_in_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

#[cfg(not(feature = "tls-webpki-roots"))]
fn built_in_roots() -> RootCertStore {
    RootCertStore::empty()
}
