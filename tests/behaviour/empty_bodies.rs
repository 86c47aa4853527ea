//! Requests without a body, however the client says so, at an endpoint of HTTP/1.
//!
//! RFC 9110 8.6: "A user agent SHOULD send Content-Length in a request when the method defines a meaning for enclosed
//! content and it is not sending Transfer-Encoding." Some servers answer 411 without it, and some 400 or 501 to a GET
//! that is chunked.

use axum::body::Body as AxumBody;
use axum_upstream::{Body, ReverseProxy};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;
use tower::ServiceExt;

use crate::support::{
    Client, Conn, Http, Message, proxy,
    proxy::{OK, exchange},
    server, within,
};

type Never = std::convert::Infallible;

/// What an endpoint of HTTP/1 gets of a request that a client sends over HTTP/2.
async fn over_http2(method: &str, body: Body) -> Message {
    within(async {
        let (server, mut requests) = server::canned(OK).await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Client::connect(Http::Two, proxy.address).await;
        let request = Request::builder().method(method).uri("/").body(body);
        assert_eq!(client.send(request.unwrap()).await.status(), 200);
        requests.recv().await.unwrap()
    })
    .await
}

fn framing(message: &Message) -> (Option<&str>, Option<&str>) {
    (
        message.field("content-length"),
        message.field("transfer-encoding"),
    )
}

/// A body of which the head does not tell that it is empty.
fn ends_later() -> Body {
    Body::new(StreamBody::new(
        stream::empty::<Result<Frame<Bytes>, Never>>(),
    ))
}

#[tokio::test]
async fn a_method_with_content_says_that_there_is_none() {
    for method in ["POST", "PUT", "PATCH"] {
        assert_eq!(
            framing(&over_http2(method, Body::empty()).await),
            (Some("0"), None)
        );
        let proxy = exchange(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), OK).await;
        assert_eq!(framing(proxy.up()), (Some("0"), None), "{method}");
    }
}

#[tokio::test]
async fn other_methods_say_nothing() {
    for method in ["GET", "HEAD", "DELETE"] {
        let seen = over_http2(method, Body::empty()).await;
        assert_eq!(framing(&seen), (None, None), "{method}");
    }
    for method in ["GET", "DELETE", "OPTIONS", "PROPFIND"] {
        let proxy = exchange(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"), OK).await;
        assert_eq!(framing(proxy.up()), (None, None), "{method}");
    }
}

/// An empty DATA frame, or a last chunk and no other.
#[tokio::test]
async fn a_body_that_turns_out_empty_is_none() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let seen = over_http2(method, ends_later()).await;
        assert_eq!(framing(&seen), (None, None), "{method}");
    }
    for method in ["GET", "DELETE", "OPTIONS"] {
        let chunked = "Host: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        let proxy = exchange(format!("{method} / HTTP/1.1\r\n{chunked}"), OK).await;
        assert_eq!(framing(proxy.up()), (None, None), "{method}");
    }
}

/// A stream in this process that has nothing.
#[tokio::test]
async fn an_empty_stream_is_no_body() {
    for (method, length) in [("GET", None), ("POST", Some("0"))] {
        let (server, mut requests) = server::canned(OK).await;
        let empty = AxumBody::from_stream(stream::empty::<Result<Bytes, Never>>());
        let request = Request::builder().method(method).header("host", "a");
        let proxy = ReverseProxy::to(&server.url()).unwrap();
        proxy.oneshot(request.body(empty).unwrap()).await.unwrap();
        let seen = requests.recv().await.unwrap();
        assert_eq!(framing(&seen), (length, None), "{method}");
    }
}

/// What was looked at is not lost.
#[tokio::test]
async fn a_body_that_has_something_arrives_whole() {
    let large = "b".repeat(20_000);
    for method in ["GET", "DELETE", "POST"] {
        let frames = ["a".to_owned(), String::new(), large.clone()];
        let frames = stream::iter(frames).map(|data| Ok::<_, Never>(Frame::data(data.into())));
        let seen = over_http2(method, Body::new(StreamBody::new(frames))).await;
        assert_eq!(framing(&seen), (None, Some("chunked")), "{method}");
        assert_eq!(seen.text(), format!("a{large}"));
    }
}

/// A request that turned out to have no body may be sent again, when the connection it was given had been closed.
#[tokio::test]
async fn a_body_that_turned_out_empty_may_be_sent_again() {
    within(async {
        // Closes each connection instead of answering a second request.
        let server = server::raw(|mut conn| async move {
            conn.request().await;
            conn.send(OK).await;
            conn.request().await;
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        for _ in 0..3 {
            client
                .send("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
                .await;
            assert_eq!(client.response().await.unwrap().status(), 200);
        }
    })
    .await;
}
