//! TLS to endpoints.

use axum::{Router, extract::Request, routing::any};
use axum_upstream::{Body, LoadBalance, ReverseProxy, upstream::Client};
use futures_util::{SinkExt, StreamExt};
use http::StatusCode;
use rcgen::date_time_ymd;
use tokio_tungstenite::tungstenite::Message;
use tower::ServiceExt;

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

/// An endpoint that prefers HTTP/2 still takes WebSockets, over a connection of HTTP/1.1.
#[tokio::test]
async fn websockets_find_a_connection_that_can() {
    within(async {
        let authority = Authority::new();
        let app = Router::new().route(
            "/",
            any(|upgrade: axum::extract::ws::WebSocketUpgrade| async {
                upgrade.on_upgrade(|mut socket| async move {
                    while let Some(Ok(message)) = socket.next().await {
                        let _ = socket.send(message).await;
                    }
                })
            }),
        );
        let server = tls::app(
            app,
            authority.issue(&["localhost"], |_| ()).server(),
            &["h2", "http/1.1"],
        )
        .await;
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
