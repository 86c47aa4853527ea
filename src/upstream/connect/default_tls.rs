//! The TLS settings of a client that was given none: TLS 1.2 and 1.3, with what the features and the platform have.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider};
use tokio::{sync::OnceCell, task::spawn_blocking};

use super::{shortage::is_local_shortage, tls::Tls};
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

/// The platform's roots; where it has none, Mozilla's as they were when this was built. Never both: what an operator
/// has taken out of the platform's store is not to be trusted.
fn roots() -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let found = add_platform_roots(&mut roots)?;
    #[cfg(feature = "tls-webpki-roots")]
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if roots.is_empty() {
        return Err(Error::config("tls", format!("no trust roots: {found}")));
    }
    Ok(roots)
}

/// Adds the platform's roots, if it has any. If it has none, what is returned says what to do about it.
#[cfg(feature = "tls-native-roots")]
fn add_platform_roots(roots: &mut RootCertStore) -> Result<String, Error> {
    let found = rustls_native_certs::load_native_certs();
    if let Some(short) = found
        .errors
        .iter()
        .position(|error| is_local_shortage(error))
    {
        // Those that were left out would be missing for as long as the process lives.
        let mut errors = found.errors;
        return Err(Error::new(ErrorKind::LocalResources).with(errors.swap_remove(short)));
    }
    let mut errors = String::new();
    for error in found.errors {
        tracing::debug!(%error, "some of the platform's trust roots cannot be read");
        errors += &format!(" ({error})");
    }
    roots.add_parsable_certificates(found.certs);
    Ok(format!(
        "the platform has none{errors}; install its CA certificates, often a package `ca-certificates`, or name them \
         in SSL_CERT_FILE, or enable the feature `tls-webpki-roots`, or set `ClientBuilder::tls`"
    ))
}

#[cfg(not(feature = "tls-native-roots"))]
fn add_platform_roots(_: &mut RootCertStore) -> Result<&'static str, Error> {
    Ok("enable the feature `tls-native-roots` or `tls-webpki-roots`, or set `ClientBuilder::tls`")
}
