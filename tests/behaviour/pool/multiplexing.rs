//! Connections of HTTP/2: how many, and which of them get requests.

use std::{convert::Infallible, future::pending, time::Duration};

use axum::Router;
use axum_upstream::{Body, ReverseProxy, upstream::Client};
use http::Request;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tower::{ServiceExt, service_fn};

use crate::support::{
    Conn, Http,
    counted::{self, Count},
    direct::{get, send},
    eventually, proxy, server, within,
};

/// Each connection carries as many requests as its server allows; for more there are more.
#[tokio::test]
async fn full_http2_connections_get_company() {
    within(async {
        let (go, went) = watch::channel(false);
        let app = Router::new().fallback(move || {
            let mut went = went.clone();
            async move { drop(went.wait_for(|went| *went).await) }
        });
        let (server, count) = counted::http2(10, usize::MAX, app).await;
        let client = Client::new(&server.url_for(Http::Two)).unwrap();
        let all = (0..35).map(|_| send(&client, get()));
        let release = async {
            eventually(|| count.made() == 4).await;
            go.send(true).unwrap();
        };
        let (statuses, ()) = tokio::join!(futures_util::future::join_all(all), release);
        assert!(statuses.iter().all(|status| *status == 200));
        assert_eq!(count.made(), 4);
        // With room again, all go on what is there.
        futures_util::future::join_all((0..35).map(|_| send(&client, get()))).await;
        assert_eq!(count.made(), 4);
        drop(client);
        eventually(|| count.open() == 0).await;
    })
    .await;
}

/// An upgrade to an endpoint of HTTP/2 by prior knowledge is a plain request, on the connection that is there.
#[tokio::test]
async fn upgrades_do_not_multiply_connections() {
    within(async {
        let app = Router::new().fallback(|| async { "plain" });
        let (server, count) = counted::http2(100, usize::MAX, app).await;
        let proxy = proxy::to(&server.url_for(Http::Two)).await;
        for _ in 0..5 {
            let mut client = Conn::connect(proxy.address).await;
            client
                .send(proxy::get("Connection: upgrade\r\nUpgrade: websocket\r\n"))
                .await;
            assert_eq!(client.response().await.unwrap().text(), "plain");
        }
        assert_eq!(count.made(), 1);
    })
    .await;
}

/// A connection of HTTP/2 on which a request waited in vain is left alone, until it shows life.
#[tokio::test(start_paused = true)]
async fn a_silent_http2_connection_is_left() {
    let count = Count::default();
    let entered = count.clone();
    let connector = service_fn(move |_: http::Uri| {
        let counted = entered.enter();
        async move {
            let (ours, theirs) = tokio::io::duplex(1 << 16);
            let first = counted.count().made() == 1;
            tokio::spawn(async move {
                let _counted = counted;
                let mut connection = h2::server::handshake(theirs).await.unwrap();
                let mut answers = if first { 1 } else { usize::MAX };
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    if answers == 0 {
                        pending::<()>().await;
                    }
                    answers -= 1;
                    let _ = respond.send_response(http::Response::new(()), true);
                }
            });
            Ok::<_, Infallible>(TokioIo::new(ours))
        }
    });
    let client = Client::builder()
        .connector(connector)
        .build("h2c://silent")
        .unwrap();
    let proxy = ReverseProxy::new(client).response_timeout(Duration::from_secs(10));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let request = Request::get("http://a/").body(Body::empty()).unwrap();
        statuses.push(
            proxy
                .clone()
                .oneshot(request)
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(statuses, [200, 504, 200, 200]);
    assert_eq!(count.made(), 2);
}

/// Pings notice a server that no longer answers anything.
#[tokio::test]
async fn pings_notice_a_silent_server() {
    within(async {
        let server = server::raw(|conn| async move {
            let mut connection = h2::server::handshake(conn.into_stream()).await.unwrap();
            let accepted = connection.accept().await;
            pending::<()>().await;
            drop((accepted, connection));
        })
        .await;
        let client = Client::builder().http2_ping_interval(Duration::from_millis(30));
        let client = client.build(&server.url_for(Http::Two)).unwrap();
        assert!(client.clone().oneshot(get()).await.is_err());
    })
    .await;
}
