//! The TLS settings of clients that are given none: TLS 1.2 and 1.3, with what the features and the platform provide.
//!
//! There is one [`Tls`] per process, made when the first connection needs it and kept for the life of the process. So a
//! change of the platform's trust roots takes effect with a restart.
//!
//! Neither verification nor the choice of cipher suites can be changed here: `ClientBuilder::tls` takes a configuration
//! of the user's for that.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{sync::OnceCell, task::spawn_blocking};

#[cfg(feature = "tls-native-roots")]
use super::shortage::is_local_shortage;
use super::tls::Tls;
use crate::error::{Error, ErrorKind};

/// Returns the default settings, made when the first connection needs them: a process that opens no TLS connection need
/// not have trust roots.
///
/// Made once, because parsing a platform's roots takes milliseconds, and on a blocking thread, because it reads files.
/// A failure is not kept: the next connection tries again.
///
/// # Errors
///
/// `Config`, if there is no crypto provider or no trust root; `LocalResources`, if the roots cannot be read for lack of
/// file descriptors or memory; `Connect`, if the runtime is shutting down.
///
/// # Cancel safety
///
/// Dropping the future leaves the blocking thread to finish; its result is discarded, and the next call starts over.
pub(super) async fn default_tls() -> Result<Tls, Error> {
    static TLS: OnceCell<Tls> = OnceCell::const_new();
    let made = TLS.get_or_try_init(|| async {
        let making = spawn_blocking(make).await;
        making.unwrap_or_else(|error| Err(Error::new(ErrorKind::Connect).with(error)))
    });
    made.await.cloned()
}

/// Makes the settings. Blocks on files.
fn make() -> Result<Tls, Error> {
    tls_config(None, None).map(Tls::new)
}

/// Makes settings that are as by default, except for the trust roots and the client's certificate that are given.
/// Blocks on files if there are no roots.
///
/// # Errors
///
/// `Config`, if there is no crypto provider, no trust root, or the key does not fit; `LocalResources`, if the roots
/// cannot be read for lack of file descriptors or memory.
pub(crate) fn tls_config(
    own_roots: Option<RootCertStore>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, Error> {
    let Some(provider) = provider() else {
        let missing = "no crypto provider: enable the feature `tls-ring` or `tls-aws-lc`, \
            or install one as the default of the process";
        return Err(Error::config("tls", missing));
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::config("tls", error))?;
    let config = config.with_root_certificates(match own_roots {
        Some(own_roots) => own_roots,
        None => roots()?,
    });
    match identity {
        Some((chain, key)) => config
            .with_client_auth_cert(chain, key)
            .map_err(|error| Error::config("client certificate", error)),
        None => Ok(config.with_no_client_auth()),
    }
}

/// Returns the crypto provider that the application has installed for its process, or else the one that a feature
/// brought.
///
/// With both features it is aws-lc-rs: ring comes with the default features, so aws-lc-rs was asked for.
fn provider() -> Option<Arc<CryptoProvider>> {
    CryptoProvider::get_default().cloned().or_else(built_in)
}

/// Returns the provider of the feature `tls-aws-lc`.
#[cfg(feature = "tls-aws-lc")]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(rustls::crypto::aws_lc_rs::default_provider().into())
}

/// Returns the provider of the feature `tls-ring`.
#[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    Some(rustls::crypto::ring::default_provider().into())
}

/// Returns `None`: no feature provides one.
#[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc")))]
fn built_in() -> Option<Arc<CryptoProvider>> {
    None
}

/// What to do if there are no trust roots: the end of the error's text.
#[cfg(feature = "tls-native-roots")]
const REMEDY: &str = "install the platform's CA certificates, often a package `ca-certificates`, or name them in \
    SSL_CERT_FILE, or enable the feature `tls-webpki-roots`, or set `ClientBuilder::tls`";
#[cfg(not(feature = "tls-native-roots"))]
const REMEDY: &str =
    "enable the feature `tls-native-roots` or `tls-webpki-roots`, or set `ClientBuilder::tls`";

/// Returns the platform's roots or, if it has none, those that are built in.
///
/// Never both: what an operator has removed from the platform's store must not be trusted.
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

/// Returns the platform's roots, and why some could not be read, as text for an error.
///
/// A certificate that cannot be parsed is left out, as are files that cannot be read.
///
/// # Errors
///
/// `LocalResources`: see the comment in the loop.
#[cfg(feature = "tls-native-roots")]
fn platform_roots() -> Result<(RootCertStore, String), Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut unread = String::new();
    for error in found.errors {
        // Roots that are left out now would be missing for as long as the process lives, so the whole load fails
        // instead.
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

/// Returns none: the feature `tls-native-roots` is off.
#[cfg(not(feature = "tls-native-roots"))]
fn platform_roots() -> Result<(RootCertStore, &'static str), Error> {
    Ok((RootCertStore::empty(), ""))
}

/// Returns Mozilla's roots, as they were when the crate `webpki-roots` was published.
#[cfg(feature = "tls-webpki-roots")]
fn built_in_roots() -> RootCertStore {
    webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect()
}

/// Returns none: the feature `tls-webpki-roots` is off.
#[cfg(not(feature = "tls-webpki-roots"))]
fn built_in_roots() -> RootCertStore {
    RootCertStore::empty()
}
