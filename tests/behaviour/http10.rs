//! Clients of HTTP/1.0: what they are told of the connection and of the body's end is true.
//!
//! RFC 9112 9.3: such a client reads on after a response only if it says `Connection: keep-alive`. There is no chunked
//! coding (6.1), so a body whose length is not known ends with the connection, and must not say that.

use axum::{body::Body as AxumBody, response::Response};
use axum_upstream::{Error, ReverseProxy};
use futures_util::stream;

use crate::support::{
    Conn, Message, proxy,
    proxy::OK,
    server::{self, Server},
    within,
};

/// What a client got for one request, and what became of the connection.
struct Got {
    message: Message,
    kept: bool,
}

/// Sends a request and takes the response as a client of HTTP/1.0 must: to its length if the connection is to be kept,
/// else to the end. Then asks again, where that was said to be possible.
async fn ask(proxy: &Server, method: &str, fields: &str) -> Got {
    within(async {
        let mut client = Conn::connect(proxy.address).await;
        let request = format!("{method} / HTTP/1.0\r\n{fields}\r\n");
        client.send(&request).await;
        let head = client.head().await.unwrap();
        let mut message = Message {
            head,
            body: Vec::new(),
            trailers: String::new(),
        };
        assert!(
            message.start_line().starts_with("HTTP/1.0 "),
            "{}",
            message.head
        );
        assert!(!message.has("transfer-encoding"), "{}", message.head);
        let options = message.all("connection").join(",");
        let kept = options.contains("keep-alive");
        assert!(
            !(kept && options.contains("close")),
            "both at once: {}",
            message.head
        );
        if kept {
            let bodiless = method == "HEAD" || [204, 304].contains(&message.status());
            if !bodiless {
                let length = message.field("content-length").unwrap_or_else(|| {
                    panic!("kept, with a body that has no end: {}", message.head)
                });
                message.body = client.take(length.parse().unwrap()).await;
            }
            client.send(&request).await;
            let again = client.head().await.expect("said to be kept, and closed");
            assert!(again.starts_with("HTTP/1.0 "), "{again}");
        } else {
            message.body = client.rest().await;
        }
        Got { message, kept }
    })
    .await
}

const KEEP: &str = "Connection: keep-alive\r\n";

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";

/// An endpoint that answers with these bytes and closes: nothing else ends a body without a length.
async fn closing(response: &'static str) -> Server {
    server::raw(move |mut conn| async move {
        if conn.head().await.is_some() {
            conn.send(response).await;
            conn.finish().await;
        }
    })
    .await
}

#[tokio::test]
async fn a_length_keeps_the_connection() {
    for (response, body) in [
        (OK, "ok"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"),
    ] {
        let endpoint = closing(response).await;
        let proxy = proxy::to(&endpoint.url()).await;
        let got = ask(&proxy, "GET", KEEP).await;
        assert!(got.kept, "{}", got.message.head);
        assert_eq!(got.message.text(), body);
    }
}

#[tokio::test]
async fn a_body_without_a_length_ends_with_the_connection() {
    for (response, body) in [
        (CHUNKED, "abc"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nto the end", "to the end"),
        ("HTTP/1.1 200 OK\r\n\r\n", ""),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nold",
            "old",
        ),
    ] {
        let endpoint = closing(response).await;
        let proxy = proxy::to(&endpoint.url()).await;
        for fields in [
            KEEP,
            "Connection: Keep-Alive, x\r\nKeep-Alive: timeout=5\r\n",
            "",
        ] {
            let got = ask(&proxy, "GET", fields).await;
            assert!(!got.kept, "{response}: {}", got.message.head);
            assert_eq!(got.message.text(), body, "{response}");
        }
    }
}

#[tokio::test]
async fn what_has_no_body_keeps_the_connection() {
    for (method, response) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (
            "HEAD",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
    ] {
        let (endpoint, _requests) = server::canned(response).await;
        let proxy = proxy::to(&endpoint.url()).await;
        assert!(ask(&proxy, method, KEEP).await.kept, "{method} {response}");
    }
}

#[tokio::test]
async fn nothing_is_kept_that_was_not_asked_for() {
    let (endpoint, _requests) = server::canned(OK).await;
    let proxy = proxy::to(&endpoint.url()).await;
    for fields in [
        "",
        "Connection: close\r\n",
        "Connection: close, keep-alive\r\n",
        "Connection: keep-alive\r\nConnection: close\r\n",
        "Keep-Alive: timeout=5\r\n",
        "Proxy-Connection: keep-alive\r\n",
    ] {
        let got = ask(&proxy, "GET", fields).await;
        assert!(!got.kept, "{fields}");
        assert_eq!(got.message.text(), "ok");
    }
}

/// Errors have a length. A request that was malformed ends its connection, and says nothing else.
#[tokio::test]
async fn errors_tell_the_truth() {
    let refusing = server::refusing();
    let proxy = proxy::to(&refusing.url()).await;
    let got = ask(&proxy, "GET", KEEP).await;
    assert_eq!((got.message.status(), got.kept), (502, true));
    let got = ask(&proxy, "OPTIONS", &format!("{KEEP}Max-Forwards: x\r\n")).await;
    assert_eq!((got.message.status(), got.kept), (400, false));
    let got = ask(&proxy, "OPTIONS", &format!("{KEEP}Max-Forwards: 0\r\n")).await;
    assert_eq!((got.message.status(), got.kept), (200, true));
    let got = ask(&proxy, "TRACE", &format!("{KEEP}Max-Forwards: 0\r\n")).await;
    assert_eq!((got.message.status(), got.kept), (200, true));
}

/// A hook may stream its page.
#[tokio::test]
async fn a_streamed_error_page_ends_with_the_connection() {
    let page = |_: &Error, _: Response| {
        let parts = ["so", "rry"].map(Ok::<_, std::convert::Infallible>);
        Response::new(AxumBody::from_stream(stream::iter(parts)))
    };
    let refusing = server::refusing();
    let proxy = ReverseProxy::to(&refusing.url()).unwrap().on_error(page);
    let proxy = proxy::serve(proxy).await;
    let got = ask(&proxy, "GET", KEEP).await;
    assert!(!got.kept, "{}", got.message.head);
    assert_eq!(got.message.text(), "sorry");
}

/// A response hook that closes is obeyed.
#[tokio::test]
async fn a_hook_may_close() {
    let (endpoint, _requests) = server::canned(OK).await;
    let proxy = ReverseProxy::to(&endpoint.url()).unwrap();
    let proxy = proxy.rewrite_response(|head| {
        let close = http::HeaderValue::from_static("close");
        head.headers.insert("connection", close);
    });
    let proxy = proxy::serve(proxy).await;
    let got = ask(&proxy, "GET", KEEP).await;
    assert!(!got.kept, "{}", got.message.head);
    assert_eq!(got.message.text(), "ok");
}

/// Requests sent ahead are answered as long as the connection is kept, and never reach an endpoint after it.
#[tokio::test]
async fn requests_sent_ahead() {
    let ahead = format!("GET /1 HTTP/1.0\r\n{KEEP}\r\nGET /2 HTTP/1.0\r\n\r\n");
    for (response, answers) in [(OK, 2), (CHUNKED, 1)] {
        within(async {
            let (endpoint, mut requests) = server::canned(response).await;
            let proxy = proxy::to(&endpoint.url()).await;
            let mut client = Conn::connect(proxy.address).await;
            client.send(&ahead).await;
            let got = String::from_utf8(client.rest().await).unwrap();
            assert_eq!(got.matches("HTTP/1.0 200 OK\r\n").count(), answers, "{got}");
            let seen = std::iter::from_fn(|| requests.try_recv().ok());
            assert_eq!(seen.count(), answers);
        })
        .await;
    }
}

/// An upload of HTTP/1.0 has a length, and a body that is sent without one is no request.
#[tokio::test]
async fn uploads() {
    within(async {
        let (endpoint, mut requests) = server::canned(OK).await;
        let proxy = proxy::to(&endpoint.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send(format!(
                "POST / HTTP/1.0\r\n{KEEP}Content-Length: 3\r\n\r\nabc"
            ))
            .await;
        assert_eq!(client.response().await.unwrap().text(), "ok");
        let seen = requests.recv().await.unwrap();
        assert_eq!(seen.start_line(), "POST / HTTP/1.1");
        assert_eq!(
            (seen.field("content-length"), seen.text().as_str()),
            (Some("3"), "abc")
        );
    })
    .await;
}
