//! How many connections there may be.

use std::time::Duration;

use axum::{
    Router,
    extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
};
use axum_upstream::{Body, ReverseProxy, upstream::Client};
use http::{Request, StatusCode};
use tower::ServiceExt;

use crate::support::{
    counted,
    direct::{get, post, send},
    on_a_runtime_of_its_own, proxy, server, within,
};

/// With a limit, requests take turns; one that waits for too long is an error, and goes elsewhere if it can.
#[tokio::test]
async fn connections_can_be_limited() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let client = Client::builder()
            .max_connections(3)
            .build(&server.url())
            .unwrap();
        let all = (0..50).map(|n| {
            let client = client.clone();
            async move { send(&client, if n % 2 == 0 { get() } else { post("x") }).await }
        });
        assert!(
            futures_util::future::join_all(all)
                .await
                .iter()
                .all(|status| *status == 200)
        );
        assert!(count.most() <= 3);

        let silent = server::raw(|mut conn| async move { drop(conn.rest().await) }).await;
        let one = Client::builder()
            .max_connections(1)
            .connect_timeout(Duration::from_millis(30));
        let one = one.build(&silent.url()).unwrap();
        let mut first = Box::pin(one.clone().oneshot(get()));
        assert!(futures_util::poll!(&mut first).is_pending());
        let response =
            ReverseProxy::new(one).oneshot(Request::get("http://a/").body(Body::empty()).unwrap());
        assert_eq!(
            response.await.unwrap().status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        drop(first);
    })
    .await;
}

/// A limit counts tunnels too, and what idles where it is of no use gives way.
#[tokio::test]
async fn a_limit_is_on_sockets() {
    within(async {
        let app = Router::new().route(
            "/",
            axum::routing::any(
                |upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>| async {
                    match upgrade {
                        Ok(upgrade) => upgrade
                            .on_upgrade(|mut socket| async move { drop(socket.recv().await) }),
                        Err(_) => axum::response::IntoResponse::into_response("ok"),
                    }
                },
            ),
        );
        let server = server::app(app).await;
        let client = Client::builder()
            .max_connections(1)
            .connect_timeout(Duration::from_millis(50));
        let client = client.build(&server.url()).unwrap();
        let proxy = proxy::serve(ReverseProxy::new(client.clone())).await;
        let socket = tokio_tungstenite::connect_async(format!("ws://{}/", proxy.address))
            .await
            .unwrap();
        assert!(
            client.clone().oneshot(get()).await.is_err(),
            "the tunnel has the only place"
        );
        drop(socket);
        while client.clone().oneshot(get()).await.is_err() {}

        // Another runtime's idle connection gives way.
        let other = client.clone();
        let thread = on_a_runtime_of_its_own(within(async move { send(&other, get()).await }));
        assert_eq!(
            tokio::task::spawn_blocking(|| thread.join().unwrap())
                .await
                .unwrap(),
            200
        );
    })
    .await;
}
