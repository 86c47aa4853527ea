//! TLS to endpoints.

use std::{env, fs, path::Path, process::Command, sync::Arc};

use axum::{Router, extract::Request, routing::any};
use axum_upstream::{Body, Error, LoadBalance, ReverseProxy, upstream::Client};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use rcgen::date_time_ymd;
use tokio::{net::TcpStream, runtime, sync::mpsc};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::Message;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::support::{
    proxy,
    server::{Server, speak},
    tls::{self, Authority},
    within,
};

async fn version(request: Request) -> String {
    format!("{:?}", request.version())
}

fn app() -> Router {
    Router::new().fallback(version)
}

/// The status of a request to `https://localhost` of this server, and the body.
async fn get(server: &Server, config: rustls::ClientConfig) -> (StatusCode, String) {
    within(async {
        let client = Client::builder().tls(config);
        let balance = LoadBalance::builder()
            .client(client)
            .urls([url(server)])
            .unwrap();
        let request = http::Request::get("http://a/").body(Body::empty()).unwrap();
        let response = ReverseProxy::new(balance).oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16)
            .await
            .unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    })
    .await
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}", server.address.port())
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    let authority = Authority::new();
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], "HTTP/2.0"),
        (&["http/1.1"], "HTTP/1.1"),
        (&[], "HTTP/1.1"),
    ] {
        let server = tls::app(
            app(),
            authority.issue(&["localhost"], |_| ()).server(),
            alpn,
        )
        .await;
        assert_eq!(
            get(&server, authority.client()).await,
            (StatusCode::OK, version.into())
        );
    }
}

/// Check 77: what cannot be verified is a 502, with nothing said of why.
#[tokio::test]
async fn certificates_are_verified() {
    let authority = Authority::new();
    let expired =
        |params: &mut rcgen::CertificateParams| params.not_after = date_time_ymd(2001, 1, 1);
    let early =
        |params: &mut rcgen::CertificateParams| params.not_before = date_time_ymd(4000, 1, 1);
    for (case, identity) in [
        ("wrong name", authority.issue(&["other.test"], |_| ())),
        ("expired", authority.issue(&["localhost"], expired)),
        ("not yet valid", authority.issue(&["localhost"], early)),
        (
            "unknown issuer",
            Authority::new().issue(&["localhost"], |_| ()),
        ),
    ] {
        let server = tls::app(app(), identity.server(), &["h2", "http/1.1"]).await;
        let expected = (StatusCode::BAD_GATEWAY, "Bad Gateway\n".into());
        assert_eq!(get(&server, authority.client()).await, expected, "{case}");
    }
}

#[tokio::test]
async fn client_certificates_are_shown() {
    let authority = Authority::new();
    let server = authority.mutual(authority.issue(&["localhost"], |_| ()));
    let server = tls::app(app(), server, &["h2"]).await;
    let ours = authority.client_as(authority.issue(&["proxy"], |_| ()));
    assert_eq!(get(&server, ours).await.0, StatusCode::OK);
    assert_eq!(
        get(&server, authority.client()).await.0,
        StatusCode::BAD_GATEWAY
    );
}

/// Takes WebSockets, and sends back what it gets.
fn echo() -> Router {
    Router::new().route(
        "/",
        any(|upgrade: axum::extract::ws::WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move {
                while let Some(Ok(message)) = socket.next().await {
                    let _ = socket.send(message).await;
                }
            })
        }),
    )
}

/// An endpoint that prefers HTTP/2 still takes WebSockets, over a connection of HTTP/1.1.
#[tokio::test]
async fn websockets_find_a_connection_that_can() {
    within(async {
        let authority = Authority::new();
        let server = authority.issue(&["localhost"], |_| ()).server();
        let server = tls::app(echo(), server, &["h2", "http/1.1"]).await;
        let client = Client::builder()
            .tls(authority.client())
            .build(&url(&server))
            .unwrap();
        let proxy = proxy::serve(ReverseProxy::new(client)).await;
        for _ in 0..2 {
            let (mut socket, _) =
                tokio_tungstenite::connect_async(format!("ws://{}/", proxy.address))
                    .await
                    .unwrap();
            socket.send(Message::text("hello")).await.unwrap();
            assert_eq!(
                socket.next().await.unwrap().unwrap(),
                Message::text("hello")
            );
        }
    })
    .await;
}

type TlsStream = tokio_rustls::client::TlsStream<TcpStream>;

/// A connector that speaks TLS itself, trusts `authority`, and offers `alpn` whatever the connection is for.
fn connector(
    authority: &Authority,
    alpn: &[&str],
) -> BoxCloneSyncService<http::Uri, TokioIo<TlsStream>, std::io::Error> {
    let mut config = authority.client();
    config.alpn_protocols = alpn
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    let connector = TlsConnector::from(Arc::new(config));
    BoxCloneSyncService::new(service_fn(move |uri: http::Uri| {
        let connector = connector.clone();
        async move {
            let host = uri.host().unwrap().to_owned();
            let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap())).await?;
            let stream = connector.connect(host.try_into().unwrap(), stream).await?;
            Ok(TokioIo::new(stream))
        }
    }))
}

fn is_http2(stream: &TokioIo<TlsStream>) -> bool {
    stream.inner().get_ref().1.alpn_protocol() == Some(b"h2")
}

/// A connector of one's own cannot know that HTTP/1.1 alone is wanted. Where it chooses HTTP/2, an upgrade must not go
/// out as the plain request that it is there.
#[tokio::test]
async fn an_upgrade_does_not_go_over_http2_that_a_connector_chose() {
    within(async {
        let authority = Authority::new();
        let server = authority.issue(&["localhost"], |_| ()).server();
        let server = tls::app(app(), server, &["h2", "http/1.1"]).await;
        let client = Client::builder()
            .tls_connector(connector(&authority, &["h2", "http/1.1"]), is_http2)
            .build(&url(&server))
            .unwrap();
        let upgrade = http::Request::get("/")
            .header("upgrade", "websocket")
            .body(Body::empty())
            .unwrap();
        let error = client.clone().oneshot(upgrade).await.unwrap_err();
        let error = error.into_error();
        assert!(error.is_config(), "{error}");
        assert!(error.to_string().contains("tls_connector_http1"), "{error}");
        let get = http::Request::get("/").body(Body::empty()).unwrap();
        assert_eq!(
            client.oneshot(get).await.unwrap().version(),
            http::Version::HTTP_2
        );
    })
    .await;
}

/// A second connector, which offers HTTP/1.1 alone, makes the connections of upgrades.
#[tokio::test]
async fn upgrades_may_have_a_connector_of_their_own() {
    within(async {
        let authority = Authority::new();
        let server = authority.issue(&["localhost"], |_| ()).server();
        let server = tls::app(echo().fallback(version), server, &["h2", "http/1.1"]).await;
        let client = Client::builder()
            .tls_connector_http1(connector(&authority, &["http/1.1"]))
            .tls_connector(connector(&authority, &["h2", "http/1.1"]), is_http2)
            .build(&url(&server))
            .unwrap();
        let get = http::Request::get("/other").body(Body::empty()).unwrap();
        let response = client.clone().oneshot(get).await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);

        let proxy = proxy::serve(ReverseProxy::new(client)).await;
        let url = format!("ws://{}/", proxy.address);
        let (mut socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
        socket.send(Message::text("hello")).await.unwrap();
        let answer = socket.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::text("hello"));
    })
    .await;
}

/// An address that was given for a name leaves the name to SNI and the certificate.
#[tokio::test]
async fn a_given_address_keeps_the_name() {
    within(async {
        let authority = Authority::new();
        let server = authority.issue(&["api.test"], |_| ()).server();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let (named, mut names) = mpsc::unbounded_channel();
        let server = Server::accepting(move |stream, _| {
            let (acceptor, named) = (acceptor.clone(), named.clone());
            async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let name = stream.get_ref().1.server_name().map(ToOwned::to_owned);
                named.send(name).unwrap();
                speak(stream, app()).await;
            }
        })
        .await;
        let client = Client::builder()
            .tls(authority.client())
            .resolve("api.test", [server.address])
            .build("https://api.test")
            .unwrap();
        let get = http::Request::get("/").body(Body::empty()).unwrap();
        assert_eq!(client.oneshot(get).await.unwrap().status(), StatusCode::OK);
        assert_eq!(names.recv().await.unwrap().as_deref(), Some("api.test"));
    })
    .await;
}

/// Runs a test again, in a process of its own for which `roots` is the platform's only file of trust roots.
fn with_roots(test: &str, roots: &Path) {
    let output = Command::new(env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// A process without trust roots starts as any other; the connection that needs some says what to do.
#[test]
fn trust_roots_are_missed_when_a_connection_needs_them() {
    let roots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("missing_roots.pem");
    if env::var_os("SSL_CERT_FILE").as_deref() != Some(roots.as_os_str()) {
        let _ = fs::remove_file(&roots);
        with_roots(
            "tls::trust_roots_are_missed_when_a_connection_needs_them",
            &roots,
        );
        return;
    }
    let run = within(async {
        let authority = Authority::new();
        let server = authority.issue(&["localhost"], |_| ()).server();
        let server = tls::app(app(), server, &["h2"]).await;
        let proxy = ReverseProxy::to(&url(&server)).unwrap();
        let get = || http::Request::get("http://a/").body(Body::empty()).unwrap();
        let response = proxy.clone().oneshot(get()).await.unwrap();
        let error = response.extensions().get::<Arc<Error>>().unwrap();
        if cfg!(feature = "tls-webpki-roots") {
            // Roots that are built in, and do not know the authority.
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY, "{error}");
            return;
        }
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(error.is_config(), "{error}");
        for word in [
            "trust roots",
            roots.to_str().unwrap(),
            "SSL_CERT_FILE",
            "ClientBuilder::tls",
        ] {
            assert!(error.to_string().contains(word), "{word} is not in {error}");
        }
        // They are looked for again, so that mending it needs no restart.
        fs::write(&roots, authority.pem()).unwrap();
        let response = proxy.oneshot(get()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    });
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(run);
}
