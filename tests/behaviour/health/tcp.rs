//! Checks by connecting.

use std::time::Duration;

use axum::Router;
use axum_upstream::{EndpointSpec, HealthCheck, LoadBalance, upstream::Client};
use tokio::sync::mpsc;

use super::{checked, often, opened, shut};
use crate::support::{
    server,
    tls::{self, Authority},
    within,
};

fn connects() -> HealthCheck {
    often(HealthCheck::tcp())
}

#[tokio::test]
async fn a_refused_connection_shuts_and_one_that_is_taken_opens() {
    within(async {
        let refusing = server::refusing();
        let balance = checked(connects(), [refusing.url()]);
        shut(&balance).await;
        let _listening = refusing.listen();
        opened(&balance).await;
    })
    .await;
}

/// Each check makes a connection of its own, sends nothing on it, and closes it.
#[tokio::test]
async fn the_connection_is_closed_without_a_byte() {
    within(async {
        let (closed, mut closings) = mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let closed = closed.clone();
            async move {
                let _ = closed.send(conn.rest().await);
            }
        })
        .await;
        let _balance = checked(connects(), [server.url()]);
        for _ in 0..3 {
            assert!(closings.recv().await.unwrap().is_empty());
        }
    })
    .await;
}

/// With `https`, the handshake has to succeed; the certificate is verified as it is for requests.
#[tokio::test]
async fn tls_is_part_of_the_connection() {
    within(async {
        let authority = Authority::new();
        let identity = authority.issue(&["localhost"], |_| ());
        let server = tls::app(Router::new(), identity.server(), &["h2", "http/1.1"]).await;
        let url = format!("https://localhost:{}", server.address.port());
        let with = |config| {
            let addresses = [server.address];
            let client = Client::builder()
                .tls(config)
                .resolve("localhost", addresses);
            let builder = LoadBalance::builder().seed(1).client(client);
            let check = connects().required_before_use();
            builder.health_check(check).urls([&url]).unwrap()
        };
        opened(&with(authority.client())).await;

        let (seen, mut verified) = mpsc::unbounded_channel();
        let plain = server::raw(move |mut conn| {
            let seen = seen.clone();
            async move {
                // A server that speaks no TLS answers the hello with something else.
                conn.take(1).await;
                conn.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
                let _ = seen.send(());
            }
        })
        .await;
        let client = Client::builder().tls(authority.client());
        let builder = LoadBalance::builder().seed(1).client(client);
        let balance = builder
            .health_check(connects())
            .urls([format!("https://{}", plain.address)])
            .unwrap();
        shut(&balance).await;
        verified.recv().await.unwrap();
    })
    .await;
}

/// A connection for a check counts while it lasts, and is made when there is room for it.
#[tokio::test]
async fn a_check_is_one_of_the_open_connections() {
    within(async {
        let (accepted, mut connections) = mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let accepted = accepted.clone();
            async move {
                let first = conn.request().await;
                let _ = accepted.send(first.is_some());
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
                    .await;
                conn.rest().await;
            }
        })
        .await;
        let client = Client::builder().max_connections(1);
        let client = client.build(&server.url()).unwrap();
        // Holds the only connection, as its body has not ended.
        let request = http::Request::get("/").body(axum_upstream::Body::empty());
        let held = tower::ServiceExt::oneshot(client.clone(), request.unwrap())
            .await
            .unwrap();
        assert!(connections.recv().await.unwrap(), "a request");
        let balance = LoadBalance::builder()
            .health_check(connects().required_before_use())
            .endpoints([EndpointSpec::from(client)])
            .unwrap();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(connections.try_recv().is_err(), "no second connection");
        drop(held);
        assert!(!connections.recv().await.unwrap(), "a check");
        opened(&balance).await;
    })
    .await;
}

/// A handshake that does not end is given up at the check's own timeout, and the connection is closed. There is room
/// for one connection, so the next check shows that the permit has returned.
#[tokio::test]
async fn a_silent_handshake_is_given_up() {
    within(async {
        let (closed, mut closings) = mpsc::unbounded_channel();
        let silent = server::raw(move |mut conn| {
            let closed = closed.clone();
            async move {
                conn.rest().await;
                let _ = closed.send(());
            }
        })
        .await;
        let settings = Client::builder().tls(tls::trusting_nobody());
        let url = format!("https://{}", silent.address);
        let brief = connects().timeout(Duration::from_millis(20)).unwrap();
        let balance = LoadBalance::builder()
            .client(settings.max_connections(1))
            .health_check(brief)
            .urls([url])
            .unwrap();
        shut(&balance).await;
        for _ in 0..3 {
            closings.recv().await.unwrap();
        }
    })
    .await;
}

/// A service in this process has nothing to connect to.
#[tokio::test]
async fn a_router_passes() {
    within(async {
        let balance = LoadBalance::builder()
            .health_check(connects().required_before_use())
            .endpoints([EndpointSpec::new("in-process", Router::new()).boxed()])
            .unwrap();
        opened(&balance).await;
    })
    .await;
}

/// The endpoint stays what can be connected to, whatever its service is wrapped in.
#[tokio::test]
async fn a_layer_around_the_client_changes_nothing() {
    within(async {
        let refusing = server::refusing();
        let spec = EndpointSpec::url(&refusing.url()).unwrap();
        let spec = spec.map(|client| tower::timeout::Timeout::new(client, Duration::MAX));
        let balance = LoadBalance::builder()
            .health_check(connects())
            .endpoints([spec.boxed()])
            .unwrap();
        shut(&balance).await;
    })
    .await;
}
