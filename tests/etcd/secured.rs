//! etcd that wants to know who asks.

use std::{fs, path::Path, sync::Arc};

use axum_upstream::{discover::Etcd, upstream::ClientBuilder};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{ClientConfig, RootCertStore, pki_types::PrivateKeyDer};

use super::{
    follow,
    messages::{Add, Empty, GrantPermission, GrantRole, Readable},
    prefix,
    server::EtcdCluster,
    support::{becomes, failing, fails},
};

/// With authentication, a user needs its password and the permission to read.
#[tokio::test]
async fn a_user_may_read_what_it_is_permitted_to() {
    let Some(mut etcd) = EtcdCluster::start("auth", 1, &[]).await else {
        return;
    };
    etcd.put("/services/api/1", "http://a").await;
    // Where nobody is asked for a name, one does no harm.
    let named = follow(prefix(&etcd, 1).user("proxy", "secret"));
    becomes(&named, &["http://a"]).await;
    assert_eq!(failing(&named), None);
    drop(named);

    for (name, password) in [("root", "root"), ("proxy", "secret"), ("other", "secret")] {
        let (name, password) = (name.to_owned(), password.to_owned());
        let add = Add { name, password };
        let _: Empty = etcd.call("/etcdserverpb.Auth/UserAdd", add).await.unwrap();
    }
    let role = Add {
        name: "reader".to_owned(),
        password: String::new(),
    };
    let _: Empty = etcd.call("/etcdserverpb.Auth/RoleAdd", role).await.unwrap();
    let permission = GrantPermission {
        role: "reader".to_owned(),
        permission: Some(Readable {
            key: b"/services/".to_vec(),
            end: b"/services0".to_vec(),
        }),
    };
    let method = "/etcdserverpb.Auth/RoleGrantPermission";
    let _: Empty = etcd.call(method, permission).await.unwrap();
    for (user, role) in [("root", "root"), ("proxy", "reader")] {
        let (user, role) = (user.to_owned(), role.to_owned());
        let grant = GrantRole { user, role };
        let method = "/etcdserverpb.Auth/UserGrantRole";
        let _: Empty = etcd.call(method, grant).await.unwrap();
    }
    let method = "/etcdserverpb.Auth/AuthEnable";
    let _: Empty = etcd.call(method, Empty {}).await.unwrap();
    etcd.log_in("root", "root").await.unwrap();

    let unnamed = follow(prefix(&etcd, 1));
    fails(&unnamed, "user name is empty").await;
    let wrong = follow(prefix(&etcd, 1).user("proxy", "wrong"));
    fails(&wrong, "invalid user ID or password").await;
    let other = follow(prefix(&etcd, 1).user("other", "secret"));
    fails(&other, "permission denied").await;

    let source = prefix(&etcd, 1).user("proxy", "secret");
    assert!(!format!("{source:?}").contains("secret"), "{source:?}");
    let balance = follow(source);
    becomes(&balance, &["http://a"]).await;
    etcd.put("/services/api/2", "http://b").await;
    becomes(&balance, &["http://a", "http://b"]).await;
    // Tokens do not outlive the server.
    etcd.kill(0);
    fails(&balance, "connect failed").await;
    etcd.start_again_as("root", "root").await;
    etcd.put("/services/api/1", "http://c").await;
    becomes(&balance, &["http://b", "http://c"]).await;
}

/// Over TLS, with an authority and a client's certificate of one's own.
#[tokio::test]
async fn certificates_on_both_sides() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("etcd-certificates");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let authority = authority();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (certificate, key) = issue(&authority);
    fs::write(path("authority.pem"), authority.pem()).unwrap();
    fs::write(path("server.pem"), certificate.pem()).unwrap();
    fs::write(path("server.key"), key.serialize_pem()).unwrap();
    let args = [
        format!("--cert-file={}", path("server.pem")),
        format!("--key-file={}", path("server.key")),
        format!("--trusted-ca-file={}", path("authority.pem")),
        "--client-cert-auth".to_owned(),
    ];
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let Some(etcd) = EtcdCluster::start("tls", 1, &args).await else {
        return;
    };
    etcd.put("/services/api/1", "http://a").await;

    let source = || Etcd::prefix(&format!("{}/services/api/", etcd.tls_url(0))).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let config = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        config.with_root_certificates(roots.clone())
    };
    let (certificate, key) = issue(&authority);
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let known = config().with_client_auth_cert(vec![certificate.der().clone()], key);
    let known = ClientBuilder::default().tls(known.unwrap());
    let balance = follow(source().member_client(known));
    becomes(&balance, &["http://a"]).await;
    etcd.put("/services/api/1", "http://b").await;
    becomes(&balance, &["http://b"]).await;

    let unknown = ClientBuilder::default().tls(config().with_no_client_auth());
    let balance = follow(source().member_client(unknown));
    // The server may have closed the connection before its alert is read.
    fails(&balance, "Range failed").await;
    let distrusting = follow(source());
    fails(&distrusting, "ertificate").await;
    fs::remove_dir_all(&folder).unwrap();
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for both sides.
fn issue(authority: &CertifiedIssuer<'static, KeyPair>) -> (rcgen::Certificate, KeyPair) {
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap(), key)
}
