//! A certificate authority, and clients that trust it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::support::soon;

/// A folder that is removed with its files.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("gateway-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The path of a file, as a flag has it.
    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file beside the one that it then replaces.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    pub cert: String,
    pub key: String,
    der: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Pair {
    /// The certificate itself.
    pub fn leaf(&self) -> &[u8] {
        &self.der.0
    }

    /// Writes the two files `NAME.pem` and `NAME.key`, and returns the flags for them.
    pub fn write(&self, folder: &Folder, name: &str) -> Vec<String> {
        folder.write(&format!("{name}.pem"), &self.cert);
        folder.write(&format!("{name}.key"), &self.key);
        let file = |ending| folder.text(&format!("{name}.{ending}"));
        vec![
            "--tls-cert".into(),
            file("pem"),
            "--tls-key".into(),
            file("key"),
        ]
    }
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // Otherwise it has the name of what it signs, which OpenSSL then takes for signed by itself.
        params
            .distinguished_name
            .push(DnType::CommonName, "the authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    /// Its own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.as_ref().pem()
    }

    /// A certificate for a server with these names.
    pub fn server(&self, names: &[&str]) -> Pair {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(&CertificateParams::new(names).unwrap())
    }

    /// A certificate for a client with this name.
    pub fn client(&self, name: &str) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Pair {
            cert: cert.pem(),
            key: key.serialize_pem(),
            der: (
                cert.der().clone(),
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            ),
        }
    }

    /// Connects to `address`, asks for `name`, and offers these protocols.
    pub async fn connect(
        &self,
        address: SocketAddr,
        name: &str,
        alpn: &[&str],
        client: Option<&Pair>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = soon(TcpStream::connect(address)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        self.speak(stream, name, alpn, client).await
    }

    /// Speaks TLS on a stream that is there.
    pub async fn speak(
        &self,
        stream: TcpStream,
        name: &str,
        alpn: &[&str],
        client: Option<&Pair>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.client_config(alpn, client);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        soon(TlsConnector::from(config).connect(name, stream)).await
    }

    /// What a client that trusts this authority and offers these protocols remembers of its sessions.
    pub fn client_config(&self, alpn: &[&str], client: Option<&Pair>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.as_ref().der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match client {
            None => config.with_no_client_auth(),
            Some(Pair {
                der: (cert, key), ..
            }) => config
                .with_client_auth_cert(vec![cert.clone()], key.clone_key())
                .unwrap(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// Whether a path is there.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
