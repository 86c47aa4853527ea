//! How long a connection lives: by the clock, with its endpoint, with its runtime.

use std::{convert::Infallible, time::Duration};

use axum::{Router, extract::Request as AxumRequest};
use axum_upstream::{
    Body, LoadBalance, ReverseProxy,
    upstream::{Client, ClientBuilder},
};
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt;
use tokio::sync::watch;
use tower::ServiceExt;

use crate::support::{
    Http, counted,
    direct::{get, send},
    eventually, on_a_runtime_of_its_own, server, within,
};

#[tokio::test]
async fn idle_connections_end_in_time() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let client = Client::builder()
            .pool_idle_timeout(Duration::from_millis(30))
            .build(&server.url())
            .unwrap();
        send(&client, get()).await;
        eventually(|| count.open() == 0).await;
        assert_eq!(send(&client, get()).await, 200);

        let none = Client::builder()
            .pool_max_idle(0)
            .build(&server.url())
            .unwrap();
        send(&none, get()).await;
        eventually(|| count.open() <= 1).await;
    })
    .await;
}

#[tokio::test]
async fn connections_have_a_longest_life() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let client = Client::builder()
            .max_lifetime(Duration::from_millis(30))
            .build(&server.url())
            .unwrap();
        while count.made() < 3 {
            assert_eq!(send(&client, get()).await, 200);
        }
    })
    .await;
}

/// Whether it is used or not; idle, it would be kept for a minute.
#[tokio::test]
async fn an_idle_connection_closes_at_the_end_of_its_life() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let client = Client::builder()
            .max_lifetime(Duration::from_millis(30))
            .build(&server.url())
            .unwrap();
        for made in 1..4 {
            assert_eq!(send(&client, get()).await, 200);
            eventually(|| count.open() == 0).await;
            assert_eq!(count.made(), made);
        }
    })
    .await;
}

/// `Duration::MAX` is what users write for "no limit", zero for "none at all".
#[tokio::test]
async fn extreme_times_are_times() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let client = Client::builder()
            .connect_timeout(Duration::MAX)
            .pool_idle_timeout(Duration::MAX)
            .max_lifetime(Duration::MAX)
            .build(&server.url())
            .unwrap();
        let proxy = ReverseProxy::new(client)
            .response_timeout(Duration::MAX)
            .idle_timeout(Duration::MAX)
            .total_timeout(Duration::MAX);
        for _ in 0..3 {
            let request = Request::get("http://a/").body(Body::empty()).unwrap();
            let response = proxy.clone().oneshot(request).await.unwrap();
            assert_eq!(
                response.into_body().collect().await.unwrap().to_bytes(),
                "ok"
            );
        }
        assert_eq!(count.made(), 1);
        let none = Client::builder()
            .pool_idle_timeout(Duration::ZERO)
            .build(&server.url())
            .unwrap();
        send(&none, get()).await;
        eventually(|| count.open() == 1).await;
    })
    .await;
}

/// What a removed endpoint kept idle closes with it, while the rest go on.
#[tokio::test]
async fn a_removed_endpoint_closes_its_connections() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let (other, _) = counted::http1(usize::MAX).await;
        let balance = LoadBalance::builder()
            .seed(1)
            .urls([server.url(), other.url()])
            .unwrap();
        for _ in 0..4 {
            balance
                .clone()
                .oneshot(get())
                .await
                .unwrap()
                .into_body()
                .collect()
                .await
                .unwrap();
        }
        assert!(count.open() > 0);
        balance
            .handle()
            .remove(&server.url())
            .unwrap()
            .finished()
            .await;
        eventually(|| count.open() == 0).await;
    })
    .await;
}

/// A runtime per core, all over one client: each has connections of its own, and none outlives its runtime.
#[tokio::test]
async fn runtimes_share_no_connection() {
    for http in [Http::One, Http::Two] {
        let app = Router::new().fallback(|| async { "ok" });
        let server = server::app(app).await;
        let client = Client::new(&server.url_for(http)).unwrap();
        for _ in 0..3 {
            let threads: Vec<_> = (0..3)
                .map(|_| {
                    let client = client.clone();
                    on_a_runtime_of_its_own(within(async move {
                        for _ in 0..20 {
                            assert_eq!(send(&client, get()).await, 200);
                        }
                    }))
                })
                .collect();
            let joined = tokio::task::spawn_blocking(|| {
                for thread in threads {
                    thread.join().unwrap();
                }
            });
            joined.await.unwrap();
            assert_eq!(within(send(&client, get())).await, 200);
        }
    }
}

/// Requests cancelled at random points leave no task.
#[tokio::test]
async fn nothing_is_left_behind() {
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    for http in [Http::One, Http::Two] {
        let (go, went) = watch::channel(());
        let app = Router::new().fallback(move |request: AxumRequest| {
            let mut went = went.clone();
            async move {
                if request.uri().path() == "/wait" {
                    let _ = went.changed().await;
                }
                let frames = (0..4).map(|_| Ok::<_, Infallible>(Bytes::from_static(&[0; 512])));
                axum::body::Body::from_stream(tokio_stream::iter(frames))
            }
        });
        let server = server::app(app).await;
        let before = tasks();
        let client = ClientBuilder::default()
            .build(&server.url_for(http))
            .unwrap();
        let mut random = fastrand::Rng::with_seed(3);
        for n in 0..10_000 {
            let path = if n % 7 == 0 { "/wait" } else { "/" };
            let request = Request::get(path).body(Body::empty()).unwrap();
            let exchange = async {
                let response = client.clone().oneshot(request).await.unwrap();
                response.into_body().collect().await.unwrap();
            };
            let mut exchange = Box::pin(exchange);
            for _ in 0..random.usize(..10) {
                if futures_util::poll!(&mut exchange).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        drop(client);
        drop(go);
        within(async {
            while tasks() > before {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}
