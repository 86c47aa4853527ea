//! Certificates made for one test, and servers that show them.

use std::sync::Arc;

use axum::Router;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

use super::server::{Server, speak_offering};

/// An authority that the tests trust.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    /// A certificate for these names, changed by `change`.
    pub fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Identity {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der().into(),
        }
    }

    /// Its own certificate, as a file of trust roots holds it.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A client that trusts this authority alone.
    pub fn client(&self) -> ClientConfig {
        builder()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// As [`client`](Self::client), with a certificate to show.
    pub fn client_as(&self, identity: Identity) -> ClientConfig {
        builder()
            .with_root_certificates(self.roots())
            .with_client_auth_cert(identity.chain, identity.key.into())
            .unwrap()
    }

    /// A server that takes only clients with a certificate of this authority.
    pub fn mutual(&self, identity: Identity) -> ServerConfig {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider());
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(identity.chain, identity.key.into())
            .unwrap()
    }
}

/// A certificate and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivatePkcs8KeyDer<'static>,
}

impl Identity {
    pub fn server(self) -> ServerConfig {
        ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key.into())
            .unwrap()
    }
}

pub fn trusting_nobody() -> ClientConfig {
    builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    rustls::crypto::ring::default_provider().into()
}

fn builder() -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
}

/// An HTTPS server that offers these protocols in ALPN.
pub async fn app(app: Router, config: ServerConfig, alpn: &[&str]) -> Server {
    app_offering(true, app, config, alpn).await
}

/// As [`app`], with or without WebSockets over HTTP/2.
pub async fn app_offering(
    websockets: bool,
    app: Router,
    mut config: ServerConfig,
    alpn: &[&str],
) -> Server {
    config.alpn_protocols = alpn
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Server::accepting(move |stream, _| {
        let (acceptor, app) = (acceptor.clone(), app.clone());
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                speak_offering(websockets, stream, app).await;
            }
        }
    })
    .await
}
