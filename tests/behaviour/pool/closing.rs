//! Servers that close their connections, at any moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_upstream::{Body, ReverseProxy, upstream::Client};
use http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::support::{
    counted,
    direct::{get, send},
    eventually,
    proxy::OK,
    server, within,
};

/// Servers that close after one, two, three requests, without saying so: no request fails, none is sent twice.
#[tokio::test]
async fn servers_that_close_are_no_error() {
    within(async {
        for per_connection in 1..4 {
            let (server, count) = counted::http1(per_connection).await;
            let client = Client::new(&server.url()).unwrap();
            for n in 0..40 {
                assert_eq!(send(&client, get()).await, 200, "{n} of {per_connection}");
                // A close that has been seen costs nothing.
                let open = count.clone();
                if (n + 1) % per_connection == 0 {
                    eventually(move || open.open() == 0).await;
                }
            }
            assert!(count.made() >= 40 / per_connection);
        }
    })
    .await;
}

/// A server that closes at the very moment the next request goes out: whatever the order of events, each is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_at_the_worst_moment_is_no_error() {
    within(async {
        let random = Mutex::new(fastrand::Rng::with_seed(1));
        let server = server::raw(move |mut conn| {
            // Between nothing and some tens of microseconds, as the scheduler has it.
            let turns = random.lock().unwrap().u8(..64);
            async move {
                if conn.request().await.is_some() {
                    conn.send(OK).await;
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                }
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        let proxy = ReverseProxy::new(client).response_timeout(Duration::from_secs(5));
        for _ in 0..3_000 {
            let request = Request::get("http://a/").body(Body::empty()).unwrap();
            let response = proxy.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            response.into_body().collect().await.unwrap();
        }
    })
    .await;
}

/// Requests with a body, over connections that close at any moment: each is answered, or fails; none arrives twice.
#[tokio::test]
async fn no_post_arrives_twice() {
    within(async {
        let seen = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
        let record = seen.clone();
        let server = server::raw(move |mut conn| {
            let record = record.clone();
            async move {
                for _ in 0..2 {
                    let Some(request) = conn.request().await else {
                        return;
                    };
                    *record.lock().unwrap().entry(request.text()).or_default() += 1;
                    conn.send(OK).await;
                }
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        for n in 0..200 {
            let request = Request::post("/").body(Body::from(n.to_string())).unwrap();
            let sent = client.clone().oneshot(request).await;
            if let Ok(response) = sent {
                response.into_body().collect().await.unwrap();
                assert_eq!(seen.lock().unwrap()[&n.to_string()], 1);
            }
        }
        assert!(seen.lock().unwrap().values().all(|times| *times == 1));
    })
    .await;
}

/// A server that closes what it accepts is an error after one try, not an endless loop.
#[tokio::test]
async fn a_server_that_closes_at_once_is_an_error() {
    within(async {
        let (server, count) = counted::http1(0).await;
        let client = Client::new(&server.url()).unwrap();
        for _ in 0..5 {
            assert!(client.clone().oneshot(get()).await.is_err());
        }
        assert!(count.made() <= 10, "{}", count.made());
    })
    .await;
}

/// What the server closes while it idles is closed here too, with no request to notice it.
#[tokio::test]
async fn a_connection_closed_while_idle_frees_its_socket() {
    within(async {
        let (gone, mut goes) = tokio::sync::mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let gone = gone.clone();
            async move {
                conn.request().await;
                conn.send(OK).await;
                conn.finish().await;
                conn.rest().await;
                let _ = gone.send(());
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        send(&client, get()).await;
        goes.recv().await.unwrap();
        drop(client);
    })
    .await;
}
