//! The cluster of a request is named by a closure, and clusters come and go.

use std::borrow::Cow;

use axum::{Router, body::Body as AxumBody, routing::any};
use axum_upstream::{
    ErrorKind, Info, LoadBalance, ProxyLayer, ReverseProxy, clusters::Clusters, upstream,
};
use http::{Request, StatusCode, request::Parts};
use tower::ServiceExt;

use crate::support::{
    Client, Conn, client::text, eventually, proxy, server, server::Server, versions, within,
};

type Map = Clusters<LoadBalance<upstream::Client>>;

fn tenant(head: &Parts) -> Option<Cow<'_, str>> {
    Some(head.headers.get("x-tenant")?.to_str().ok()?.into())
}

async fn named(name: &'static str) -> Server {
    server::app(Router::new().fallback(any(move || async move { name }))).await
}

fn ask(tenant: &str) -> Request<axum_upstream::Body> {
    let request = Request::get("/").header("x-tenant", tenant);
    request.body(axum_upstream::Body::empty()).unwrap()
}

versions! {
    async fn each_request_has_the_cluster_that_it_names(down, up) {
        let (blue, green) = (named("blue").await, named("green").await);
        let clusters = Map::new();
        let proxy = ReverseProxy::new(clusters.select(tenant));
        let server = proxy::serve(proxy).await;
        let mut client = Client::connect(down, server.address).await;
        assert_eq!(client.send(ask("blue")).await.status(), StatusCode::NOT_FOUND);
        for (name, server) in [("blue", &blue), ("green", &green)] {
            let cluster = LoadBalance::builder().name(name).urls([server.url_for(up)]);
            clusters.insert(name, cluster.unwrap());
        }
        for name in ["blue", "green", "blue"] {
            assert_eq!(text(client.send(ask(name)).await).await, name);
        }
        let removed = clusters.remove("blue").unwrap();
        removed.finished().await;
        let response = client.send(ask("blue")).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert_eq!(text(client.send(ask("green")).await).await, "green");
        assert_eq!(client.get("/").await.status(), StatusCode::NOT_FOUND);
    }
}

/// The error is a response with the kind, and the application decides what it looks like.
#[tokio::test]
async fn what_an_unknown_cluster_is_answered_can_be_set() {
    let proxy = || ReverseProxy::new(Map::new().select(tenant));
    let request = || {
        let request = Request::get("/").header("host", "a");
        request.body(AxumBody::empty()).unwrap()
    };
    let response = proxy().oneshot(request()).await.unwrap();
    let info = response.extensions().get::<Info>().unwrap();
    assert_eq!(info.error(), Some(ErrorKind::NoCluster));
    let unavailable = proxy().on_error(|error, mut response| {
        if error.kind() == ErrorKind::NoCluster {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    });
    let response = unavailable.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

/// Requests for what is no cluster go on to the application.
#[tokio::test]
async fn a_layer_leaves_unknown_names_to_the_inner_service() {
    let server = named("blue").await;
    let clusters = Map::new();
    clusters.insert("blue", LoadBalance::new([server.url()]).unwrap());
    let known = clusters.clone();
    let layer = ProxyLayer::new(clusters.select(tenant))
        .matching(move |head| tenant(head).is_some_and(|name| known.contains(&name)));
    let app = Router::new().fallback(|| async { "app" }).layer(layer);
    let server = server::app(app).await;
    let mut client = Client::connect(crate::support::Http::One, server.address).await;
    for (name, answer) in [("blue", "blue"), ("red", "app")] {
        assert_eq!(text(client.send(ask(name)).await).await, answer);
    }
}

/// A tunnel is in flight until it is closed, also when its cluster has been removed.
#[tokio::test]
async fn a_tunnel_of_a_removed_cluster_goes_on() {
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                 Upgrade: websocket\r\n\r\n",
            )
            .await;
            while let [byte] = conn.take(1).await[..] {
                conn.send([byte]).await;
            }
        })
        .await;
        let clusters = Map::new();
        clusters.insert("blue", LoadBalance::new([server.url()]).unwrap());
        let proxy = proxy::serve(ReverseProxy::new(clusters.select(|_| Some("blue".into())))).await;
        let mut client = Conn::connect(proxy.address).await;
        let ask = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        client.send(ask).await;
        assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101"));
        let removed = clusters.remove("blue").unwrap();
        client.send("abc").await;
        assert_eq!(client.take(3).await, b"abc");
        assert_eq!(removed.in_flight(), 1);
        client.abort();
        removed.finished().await;
        eventually(|| removed.in_flight() == 0).await;
    })
    .await;
}
