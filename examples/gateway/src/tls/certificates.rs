//! The certificates of a listener, by the names that are in them.

use std::{collections::HashMap, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use webpki::EndEntityCert;

/// The certificates of a listener. Chooses the one whose name a client asks for (SNI), in this order:
///
/// 1. the name itself;
/// 2. a wildcard for its first label: `*.example.com` for `a.example.com`, not for `a.b.example.com`;
/// 3. the first certificate, as for clients that ask for no name.
///
/// Of several certificates for a name, it chooses the first whose kind of key the client knows.
#[derive(Debug)]
pub(super) struct Certificates {
    all: Vec<Arc<CertifiedKey>>,
    /// Positions in `all`, by lower-case names.
    by_name: HashMap<String, Vec<usize>>,
}

impl Certificates {
    /// Sorts certificates by the DNS names in them.
    ///
    /// # Errors
    ///
    /// Returns the position of a certificate that cannot be read.
    pub(super) fn new(all: Vec<Arc<CertifiedKey>>) -> Result<Self, usize> {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (position, key) in all.iter().enumerate() {
            let parsed = key
                .end_entity_cert()
                .map_err(|_| position)
                .and_then(|cert| EndEntityCert::try_from(cert).map_err(|_| position))?;
            for name in parsed.valid_dns_names() {
                let positions = by_name.entry(name.to_ascii_lowercase()).or_default();
                positions.push(position);
            }
        }
        Ok(Self { all, by_name })
    }

    /// Returns the names of all certificates, in alphabetical order.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.by_name.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    /// Returns the positions of the certificates for a name.
    fn find(&self, name: &str) -> Option<&Vec<usize>> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        self.by_name.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        let mut candidates = named.into_iter().flatten().map(|at| &self.all[*at]);
        let first = candidates.clone().next().or(self.all.first());
        let known = candidates.find(|key| {
            let scheme = key.key.choose_scheme(hello.signature_schemes());
            scheme.is_some()
        });
        known.or(first).cloned()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Generated, generate_simple_self_signed};
    use rustls::{crypto::ring, pki_types::PrivatePkcs8KeyDer};

    use super::*;

    fn certificate(names: &[&str]) -> Arc<CertifiedKey> {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let Generated { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let chain = vec![cert.der().clone()];
        CertifiedKey::from_der(chain, key.into(), &ring::default_provider())
            .unwrap()
            .into()
    }

    #[test]
    fn the_name_comes_before_the_wildcard() {
        let all = [
            &["default.example"][..],
            &["*.example.com", "example.com"],
            &["a.example.com"],
        ];
        let certificates = Certificates::new(all.map(certificate).to_vec()).unwrap();
        for (name, found) in [
            ("a.example.com", Some(2)),
            ("A.EXAMPLE.com.", Some(2)),
            ("b.example.com", Some(1)),
            ("example.com", Some(1)),
            ("a.b.example.com", None),
            ("com", None),
            ("", None),
            ("default.example", Some(0)),
        ] {
            let first = certificates.find(name).map(|positions| positions[0]);
            assert_eq!(first, found, "{name}");
        }
        assert_eq!(
            certificates.names(),
            [
                "*.example.com",
                "a.example.com",
                "default.example",
                "example.com"
            ]
        );
    }
}
