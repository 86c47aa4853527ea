//! TLS to endpoints: certificates and keys from files.

use rustls::{
    ClientConfig as RustlsConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{super::data::TlsConfig, place::SettingPlace};
use crate::upstream::tls_config;

/// Returns the settings of rustls. `None` if some cannot be.
pub(super) fn client_tls(config: &TlsConfig, at: &SettingPlace<'_>) -> Option<RustlsConfig> {
    let roots = match config.roots.is_empty() {
        true => None,
        false => Some(roots(config, &at.key("roots"))?),
    };
    let identity = match (&config.certificate, &config.key) {
        (None, None) => None,
        (Some(certificate), Some(key)) => {
            let in_certificate = at.key("certificate");
            let chain = in_certificate.read(certificate);
            let chain = chain.and_then(|pem| certificates(&pem, &in_certificate));
            let in_key = at.key("key");
            let key = in_key.read(key).and_then(|pem| {
                let key = PrivateKeyDer::from_pem_slice(&pem);
                // The text of the error has nothing of the key.
                key.map_err(|error| in_key.refuse(format!("expected a key in PEM: {error}")))
                    .ok()
            });
            Some((chain?, key?))
        }
        _ => {
            at.refuse("expected both \"certificate\" and \"key\", or neither");
            return None;
        }
    };
    at.take(tls_config(roots, identity))
}

/// Reads trust roots.
fn roots(config: &TlsConfig, at: &SettingPlace<'_>) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for file in &config.roots {
        for certificate in certificates(&at.read(file)?, at)? {
            if let Err(error) = roots.add(certificate) {
                at.refuse(format!("{}: {error}", file.display()));
                return None;
            }
        }
    }
    Some(roots)
}

/// Returns the certificates of a file, of which there has to be one.
fn certificates(pem: &[u8], at: &SettingPlace<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if !found.is_empty() => Some(found),
        Ok(_) => {
            at.refuse("expected certificates in PEM, found none");
            None
        }
        Err(error) => {
            at.refuse(format!("expected certificates in PEM: {error}"));
            None
        }
    }
}
