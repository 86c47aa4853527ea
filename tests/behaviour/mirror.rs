//! Copies of requests for a second cluster, behind a proxy.

use std::sync::mpsc;

use axum::{Router, routing::any};
use axum_upstream::{
    Body, LoadBalance, ReverseProxy,
    mirror::{MirrorHandle, MirrorLayer, MirrorStats},
    upstream,
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tower::Layer;

use crate::support::{
    Client, Conn, Http, client::text, eventually, proxy, server, server::Server, versions, within,
};

type Cluster = LoadBalance<upstream::Client>;

/// A server that answers with its name and the body, and tells of each request.
async fn named(
    name: &'static str,
) -> (
    Server,
    mpsc::Receiver<(HeaderMap, Bytes, Option<HeaderMap>)>,
) {
    let (told, seen) = mpsc::channel();
    let answer = move |request: axum::extract::Request| {
        let told = told.clone();
        async move {
            let (mut head, body) = request.into_parts();
            if let Some(authority) = head.uri.authority() {
                let authority = authority.as_str().parse().unwrap();
                head.headers.insert("host", authority);
            }
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned();
            let body = body.to_bytes();
            let answer = format!("{name} {}", body.len());
            told.send((head.headers, body, trailers)).unwrap();
            answer
        }
    };
    let server = server::app(Router::new().fallback(any(answer))).await;
    (server, seen)
}

fn cluster(server: &Server, http: Http) -> Cluster {
    LoadBalance::new([server.url_for(http)]).unwrap()
}

async fn settled(handle: &MirrorHandle) -> MirrorStats {
    eventually(|| handle.stats().in_flight == 0).await;
    handle.stats()
}

versions! {
    /// Bodies and trailers arrive at both, and each endpoint is called by its own name.
    async fn both_get_the_request(down, up) {
        let (first, seen_first) = named("first").await;
        let (second, seen_second) = named("second").await;
        let layer = MirrorLayer::new(cluster(&second, up)).rewrite_request(|head| {
            head.headers.insert("x-mirrored", "1".parse().unwrap());
        });
        let handle = layer.handle();
        let server = proxy::serve(ReverseProxy::new(layer.layer(cluster(&first, up)))).await;
        let mut client = Client::connect(down, server.address).await;

        let fields = HeaderMap::from_iter([("grade".parse().unwrap(), "7".parse().unwrap())]);
        let frames = [
            Frame::data(Bytes::from("hello")),
            Frame::data(Bytes::from(", both")),
            Frame::trailers(fields),
        ];
        let frames = stream::iter(frames.map(Ok::<_, axum_upstream::BoxError>));
        let request = Request::post("/")
            .header("trailer", "grade")
            .header("te", "trailers")
            .body(Body::new(StreamBody::new(frames)))
            .unwrap();
        assert_eq!(text(client.send(request).await).await, "first 11");
        settled(&handle).await;
        assert_eq!(text(client.get("/x").await).await, "first 0");
        let stats = settled(&handle).await;
        assert_eq!((stats.sent, stats.answered, stats.failed), (2, 2, 0));
        for (seen, server) in [(&seen_first, &first), (&seen_second, &second)] {
            let (head, body, trailers) = seen.recv().unwrap();
            assert_eq!(body, "hello, both");
            assert_eq!(trailers.unwrap()["grade"], "7");
            assert_eq!(head["host"], server.address.to_string());
            assert_eq!(head["x-forwarded-host"], head_of(&seen.recv().unwrap())["x-forwarded-host"]);
        }
    }
}

fn head_of(seen: &(HeaderMap, Bytes, Option<HeaderMap>)) -> &HeaderMap {
    assert!(seen.1.is_empty());
    &seen.0
}

versions! {
    /// A second cluster that accepts and never answers, or that is down, is not noticed; a large body passes.
    async fn a_second_that_hangs_or_fails_is_not_noticed(down, up) {
        let (first, _seen) = named("first").await;
        let hangs = server::raw(|mut conn| async move { drop(conn.rest().await) }).await;
        let refusing = server::refusing();
        for url in [hangs.url_for(up), refusing.url()] {
            let layer = MirrorLayer::new(LoadBalance::new([url]).unwrap());
            let proxy = ReverseProxy::new(layer.layer(cluster(&first, up)));
            let server = proxy::serve(proxy).await;
            let mut client = Client::connect(down, server.address).await;
            for size in [0, 1000, 300_000] {
                let request = Request::post("/").body(Bytes::from(vec![b'x'; size]).into()).unwrap();
                let response = client.send(request).await;
                assert_eq!(text(response).await, format!("first {size}"));
            }
            let stats = layer.handle().stats();
            assert_eq!((stats.left_out_too_large, stats.answered), (1, 0));
        }
    }
}

versions! {
    async fn answers_are_compared(down, up) {
        let (first, _one) = named("name").await;
        let (same, _two) = named("name").await;
        let (other, _three) = named("other").await;
        for (second, equal) in [(same, true), (other, false)] {
            let (sender, compared) = mpsc::channel();
            let layer = MirrorLayer::new(cluster(&second, up))
                .compare([CONTENT_TYPE], move |comparison| sender.send(comparison).unwrap());
            let proxy = ReverseProxy::new(layer.layer(cluster(&first, up)));
            let server = proxy::serve(proxy).await;
            let mut client = Client::connect(down, server.address).await;
            text(client.get("/x").await).await;
            assert_eq!(settled(&layer.handle()).await.compared, 1);
            let comparison = compared.recv().unwrap();
            assert_eq!(comparison.is_equal(), equal, "{comparison:?}");
            assert_eq!(comparison.first.fields[CONTENT_TYPE], "text/plain; charset=utf-8");
            assert_eq!(comparison.uri, "/x");
        }
    }
}

/// The tunnel is the first's alone.
#[tokio::test]
async fn an_upgrade_is_left_out() {
    within(async {
        let agreeing = server::raw(|mut conn| async move {
            conn.head().await;
            let agree = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                         Upgrade: websocket\r\n\r\nhello";
            conn.send(agree).await;
            conn.rest().await;
        })
        .await;
        let (second, seen) = named("second").await;
        let layer = MirrorLayer::new(cluster(&second, Http::One));
        let proxy = ReverseProxy::new(layer.layer(cluster(&agreeing, Http::One)));
        let server = proxy::serve(proxy).await;
        let mut client = Conn::connect(server.address).await;
        let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        client.send(ask).await;
        assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101"));
        assert_eq!(client.take(5).await, b"hello");
        assert_eq!(layer.handle().stats().left_out_upgrade, 1);
        assert!(seen.try_recv().is_err());
    })
    .await;
}

/// What is sent again by the first cluster is one request, and one copy.
#[tokio::test]
async fn a_request_that_is_repeated_is_copied_once() {
    within(async {
        let refusing = server::refusing();
        let (first, _seen) = named("first").await;
        let (second, seen) = named("second").await;
        let backends = LoadBalance::builder()
            .seed(1)
            .policy(axum_upstream::policy::RoundRobin)
            .urls([refusing.url(), first.url()])
            .unwrap();
        let layer = MirrorLayer::new(cluster(&second, Http::One));
        let server = proxy::serve(ReverseProxy::new(layer.layer(backends))).await;
        let mut client = Client::connect(Http::One, server.address).await;
        for _ in 0..4 {
            let request = Request::put("/").body("hello".into()).unwrap();
            let response = client.send(request).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(text(response).await, "first 5");
        }
        assert_eq!(settled(&layer.handle()).await.sent, 4);
        assert!(seen.try_iter().all(|(_, body, _)| body == "hello"));
    })
    .await;
}
