//! TLS to endpoints.

use std::sync::Arc;

use axum::{Router, extract::Request, routing::any};
use axum_upstream::{Body, LoadBalance, ReverseProxy, upstream::Client};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use hyper_util::rt::TokioIo;
use rcgen::date_time_ymd;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

use crate::support::{
    proxy,
    server::Server,
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
        assert!(error.to_string().contains("tls_connector"), "{error}");
        let get = http::Request::get("/").body(Body::empty()).unwrap();
        assert_eq!(client.oneshot(get).await.unwrap().status(), StatusCode::OK);
    })
    .await;
}
