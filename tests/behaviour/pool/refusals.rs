//! Requests that an HTTP/2 server refuses, and connections to which it says goodbye.

use axum::{Router, extract::Request as AxumRequest};
use axum_upstream::{Body, upstream::Client};
use http::Request;
use tower::ServiceExt;

use crate::support::{
    Http, counted,
    direct::{get, send},
    server, within,
};

/// Check 79: GOAWAY is no error, and what it leaves idle is not used again.
#[tokio::test]
async fn goodbyes_are_no_error() {
    within(async {
        let app = Router::new().fallback(|request: AxumRequest| async { request.into_body() });
        let (server, count) = counted::http2(100, 5, app).await;
        let client = Client::new(&server.url_for(Http::Two)).unwrap();
        for _ in 0..60 {
            assert_eq!(send(&client, get()).await, 200);
        }
        assert!(count.made() >= 60 / 6, "{}", count.made());
    })
    .await;
}

/// Check 79, RFC 9113 8.7: a refused stream is sent again, whatever its method, when there is a body to send again.
#[tokio::test]
async fn a_refused_stream_is_sent_again() {
    within(async {
        let server = server::raw(|conn| async move {
            let mut connection = h2::server::handshake(conn.into_stream()).await.unwrap();
            let mut refuse = true;
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if std::mem::replace(&mut refuse, false) {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    assert_eq!(request.uri().path(), "/x");
                    let _ = respond.send_response(http::Response::new(()), true);
                }
            }
        })
        .await;
        let client = Client::new(&server.url_for(Http::Two)).unwrap();
        let request = Request::post("/x").body(Body::empty()).unwrap();
        assert_eq!(send(&client, request).await, 200);
    })
    .await;
}

/// A server that always refuses is an error.
#[tokio::test]
async fn refusals_have_an_end() {
    within(async {
        let server = server::raw(|conn| async move {
            let mut connection = h2::server::handshake(conn.into_stream()).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_reset(h2::Reason::REFUSED_STREAM);
            }
        })
        .await;
        let client = Client::new(&server.url_for(Http::Two)).unwrap();
        assert!(client.clone().oneshot(get()).await.is_err());
    })
    .await;
}
