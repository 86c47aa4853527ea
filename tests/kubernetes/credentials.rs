//! Who asks, and whom.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use axum_upstream::discover::Kubernetes;
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use serde_json::json;
use tokio_rustls::TlsAcceptor;

use super::{
    follow,
    server::{ApiServer, WatchFault, ready, slice},
    support::{becomes, eventually, fails},
};

/// An authority, and certificates of its own.
struct Certificates(CertifiedIssuer<'static, KeyPair>);

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }

    /// A server of this name, which only takes clients with a certificate of the authority.
    fn server(&self, name: &str) -> TlsAcceptor {
        let (certificate, key) = self.issue(name);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap());
        let chain = vec![certificate.der().clone()];
        let key = rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = config.with_single_cert(chain, key).unwrap();
        Arc::new(config).into()
    }
}

/// A kubeconfig with one context, which is the current one.
fn kubeconfig(test: &str, cluster: &str, user: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kubernetes-{test}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters:\n- name: c\n  cluster:\n    {cluster}\n\
         users:\n- name: u\n  user:\n    {user}\n\
         contexts:\n- name: here\n  context: {{cluster: c, user: u, namespace: other}}\n"
    );
    fs::write(folder.join("config"), text).unwrap();
    folder.join("config")
}

fn source(path: &Path) -> Kubernetes {
    Kubernetes::service("default", "api")
        .unwrap()
        .kubeconfig(path)
}

/// With certificates on both sides, as `kubeadm` makes them.
#[tokio::test]
async fn certificates() {
    let ours = Certificates::new();
    let api = ApiServer::start_with(Some(ours.server("127.0.0.1"))).await;
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let data = |pem: String| STANDARD.encode(pem);
    let cluster = |authority: &Certificates, more: &str| {
        format!(
            "server: https://127.0.0.1:{}\n    certificate-authority-data: {}\n    {more}",
            api.port,
            data(authority.0.pem())
        )
    };
    let user = |authority: &Certificates| {
        let (certificate, key) = authority.issue("me");
        format!(
            "client-certificate-data: {}\n    client-key-data: {}",
            data(certificate.pem()),
            data(key.serialize_pem())
        )
    };
    let path = kubeconfig("known", &cluster(&ours, ""), &user(&ours));
    let balance = follow(source(&path));
    becomes(&balance, &["http://10.0.0.1:80"]).await;
    api.put("a", slice(80, json!([ready("10.0.0.2")])));
    becomes(&balance, &["http://10.0.0.2:80"]).await;

    let other = Certificates::new();
    let misnamed = cluster(&ours, "tls-server-name: kubernetes");
    for (test, cluster, user, why) in [
        (
            "distrusting",
            cluster(&other, ""),
            user(&ours),
            "invalid peer certificate",
        ),
        ("unknown", cluster(&ours, ""), user(&other), "fatal alert"),
        (
            "anonymous",
            cluster(&ours, ""),
            "token: a".to_owned(),
            "CertificateRequired",
        ),
        (
            "misnamed",
            misnamed,
            user(&ours),
            "not valid for name \"kubernetes\"",
        ),
    ] {
        let balance = follow(source(&kubeconfig(test, &cluster, &user)));
        fails(&balance, why).await;
    }
    let half = format!(
        "client-certificate-data: {}",
        data(ours.issue("me").0.pem())
    );
    let path = kubeconfig("half", &cluster(&ours, ""), &half);
    fails(&follow(source(&path)), "a client certificate needs its key").await;
    let none = "server: https://127.0.0.1:1\n    certificate-authority-data: QQ==";
    let path = kubeconfig("no-authority", none, "token: a");
    fails(
        &follow(source(&path)),
        "the certificate authority has no certificate",
    )
    .await;
}

/// The name in the server's certificate need not be that of its address.
#[tokio::test]
async fn a_name_for_tls() {
    let ours = Certificates::new();
    let api = ApiServer::start_with(Some(ours.server("kubernetes"))).await;
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let (certificate, key) = ours.issue("me");
    let cluster = format!(
        "server: https://127.0.0.1:{}\n    certificate-authority: ca.pem\n    tls-server-name: kubernetes",
        api.port
    );
    let user = "client-certificate: me.pem\n    client-key: me.key";
    let path = kubeconfig("named", &cluster, user);
    let folder = path.parent().unwrap();
    fs::write(folder.join("ca.pem"), ours.0.pem()).unwrap();
    fs::write(folder.join("me.pem"), certificate.pem()).unwrap();
    fs::write(folder.join("me.key"), key.serialize_pem()).unwrap();
    becomes(&follow(source(&path)), &["http://10.0.0.1:80"]).await;
}

/// A token that is replaced is read anew, and one that is not valid any more is an error.
#[tokio::test]
async fn tokens() {
    let api = ApiServer::start().await;
    api.wants("Bearer first");
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let cluster = format!("server: {}", api.url());
    let path = kubeconfig("token", &cluster, "tokenFile: token");
    let balance = follow(source(&path));
    fails(&balance, "cannot read").await;
    let token = path.parent().unwrap().join("token");
    fs::write(&token, "first\n").unwrap();
    becomes(&balance, &["http://10.0.0.1:80"]).await;
    eventually(|| api.watched().len() == 1).await;
    api.wants("Bearer second");
    api.put("a", slice(80, json!([ready("10.0.0.2")])));
    becomes(&balance, &["http://10.0.0.2:80"]).await;
    api.end_watches(WatchFault::Broken);
    fails(&balance, "401").await;
    fs::write(&token, "second").unwrap();
    api.put("a", slice(80, json!([ready("10.0.0.3")])));
    becomes(&balance, &["http://10.0.0.3:80"]).await;

    let path = kubeconfig("fixed", &cluster, "token: second");
    let fixed = source(&path).kubeconfig_context(&path, "here");
    becomes(&follow(fixed), &["http://10.0.0.3:80"]).await;
    let missing = source(&path).kubeconfig_context(&path, "there");
    fails(&follow(missing), "no context \"there\"").await;
}

/// A plugin is asked for the token anew with each list.
#[cfg(unix)]
#[tokio::test]
async fn plugins() {
    let api = ApiServer::start().await;
    api.wants("Bearer printed");
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let cluster = format!("server: {}", api.url());
    let user = "exec:\n      apiVersion: client.authentication.k8s.io/v1\n      command: sh\n      \
                args: [-c, 'printf \"{\\\"status\\\": {\\\"token\\\": \\\"%s\\\"}}\" \"$TOKEN\"']\n      \
                env: [{name: TOKEN, value: printed}]";
    let path = kubeconfig("plugin", &cluster, user);
    becomes(&follow(source(&path)), &["http://10.0.0.1:80"]).await;
    let user = "exec: {apiVersion: v1, command: ./missing}";
    let path = kubeconfig("no-plugin", &cluster, user);
    fails(&follow(source(&path)), "cannot be run").await;
}
