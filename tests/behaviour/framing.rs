//! Where messages begin and end, and who they are for.

use crate::support::{
    Conn,
    proxy::{self, OK, exchange},
    server, within,
};

/// Sends bytes, and gives back everything that comes until the proxy closes, and how many requests the endpoint saw.
async fn raw(bytes: &str) -> (String, Vec<crate::support::Message>) {
    within(async {
        let (server, mut requests) = server::canned(OK).await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        client.send(bytes).await;
        client.finish().await;
        let got = String::from_utf8_lossy(&client.rest().await).into_owned();
        let seen = std::iter::from_fn(|| requests.try_recv().ok()).collect();
        (got, seen)
    })
    .await
}

/// Checks 18, 19, 20, 21: a message whose length is in doubt is refused, and nothing after it is read as another.
#[tokio::test]
async fn doubtful_lengths_are_refused() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    for fields in [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: 5, 6",
        "Content-Length: 0x5",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: gzip, chunked",
        "Content-Length: -1",
    ] {
        let (got, seen) = raw(&format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{smuggled}"
        ))
        .await;
        assert!(
            got.starts_with("HTTP/1.1 400") || got.starts_with("HTTP/1.1 501"),
            "{fields}: {got}"
        );
        assert!(seen.is_empty(), "{fields}");
    }
    let (got, seen) = raw(&format!(
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    ))
    .await;
    assert!(got.contains(" 400 ") && seen.is_empty(), "{got}");
}

/// Check 18: two kinds of framing make one request, framed once, and nothing more is read from the connection.
#[tokio::test]
async fn two_framings_become_one() {
    let (length, chunked) = ("Content-Length: 6\r\n", "Transfer-Encoding: chunked\r\n");
    for fields in [format!("{length}{chunked}"), format!("{chunked}{length}")] {
        let (got, seen) = raw(&format!(
            "POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\
             3\r\nabc\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
        ))
        .await;
        assert!(got.contains("connection: close"), "{got}");
        assert_eq!(seen.len(), 1);
        assert!(
            seen[0].has("transfer-encoding") && !seen[0].has("content-length"),
            "{}",
            seen[0].head
        );
        assert_eq!(seen[0].text(), "abc");
    }
}

/// Checks 22 and 23: bodies of unknown length, on methods that seldom have any, arrive whole.
#[tokio::test]
async fn chunked_bodies_arrive_with_any_method() {
    for method in [
        "GET", "DELETE", "OPTIONS", "POST", "PATCH", "PROPFIND", "HEAD",
    ] {
        let (server, mut requests) = server::canned("HTTP/1.1 204 No Content\r\n\r\n").await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        for _ in 0..2 {
            client
                .send(format!(
                    "{method} / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
                ))
                .await;
            assert_eq!(within(client.response()).await.unwrap().status(), 204);
            let request = requests.recv().await.unwrap();
            assert_eq!(request.text(), "abc", "{method}");
            assert_eq!(
                request.field("transfer-encoding"),
                Some("chunked"),
                "{method}"
            );
            assert!(!request.has("content-length"), "{method}");
        }
    }
}

/// Check 22: a known length stays known.
#[tokio::test]
async fn a_known_length_is_kept() {
    for method in ["GET", "DELETE", "POST"] {
        let request = format!("{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
        let proxy = exchange(request, OK).await;
        assert_eq!(proxy.up().field("content-length"), Some("3"));
        assert_eq!(proxy.up().text(), "abc");
    }
}

/// Check 24.
#[tokio::test]
async fn connect_is_refused_and_nothing_after_it_is_a_request() {
    let (got, seen) =
        raw("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(got.starts_with("HTTP/1.1 405"), "{got}");
    // What follows a refused CONNECT is the next request, if anything; never a tunnel.
    assert!(
        seen.iter()
            .all(|request| request.start_line() == "GET / HTTP/1.1")
    );
}

/// Check 25: what a refused request leaves unread is never taken for the next request.
#[tokio::test]
async fn an_unread_body_is_no_request() {
    let (got, seen) = raw(
        "POST / HTTP/1.1\r\nHost: a@b\r\nContent-Length: 43\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n",
    )
    .await;
    assert!(got.starts_with("HTTP/1.1 400"), "{got}");
    assert!(seen.is_empty());
}

/// Check 27: chunk extensions and trailers that would frame are not passed on.
#[tokio::test]
async fn chunks_are_made_anew() {
    let proxy = exchange(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length, X-Sum\r\n\r\n\
         3;evil=\"1\"\r\nabc\r\n0\r\nContent-Length: 99\r\nX-Sum: 7\r\n\r\n",
        OK,
    )
    .await;
    assert_eq!(proxy.up().text(), "abc");
    assert!(
        !proxy
            .up()
            .trailers
            .to_lowercase()
            .contains("content-length"),
        "{}",
        proxy.up().trailers
    );
    assert!(!proxy.up().has("content-length"));
    assert!(
        proxy.up().trailers.to_lowercase().contains("x-sum: 7"),
        "{}",
        proxy.up().trailers
    );
}

/// RFC 9110 7.6.1: what Connection names goes from the trailers too, both ways.
#[tokio::test]
async fn nominated_trailers_end_here() {
    let request = "POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: X-Own\r\nTransfer-Encoding: chunked\r\n\
                   Trailer: X-Own, X-Sum\r\n\r\n1\r\na\r\n0\r\nX-Own: 1\r\nX-Sum: 7\r\n\r\n";
    let response = "HTTP/1.1 200 OK\r\nConnection: X-Own\r\nTransfer-Encoding: chunked\r\nTrailer: X-Own, X-Sum\r\n\r\n\
                    1\r\na\r\n0\r\nX-Own: 1\r\nX-Sum: 7\r\n\r\n";
    let proxy = exchange(request, response).await;
    for trailers in [&proxy.up().trailers, &proxy.down.trailers] {
        let trailers = trailers.to_lowercase();
        assert!(
            trailers.contains("x-sum: 7") && !trailers.contains("x-own"),
            "{trailers}"
        );
    }
}

/// Check 27: a bare line feed ends no line.
#[tokio::test]
async fn bare_line_feeds_smuggle_nothing() {
    let (_, seen) = raw("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\nGET /s HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        seen.iter()
            .all(|request| !request.start_line().contains("/s "))
    );
}

/// Check 28.
#[tokio::test]
async fn an_absolute_target_wins_over_host() {
    let preserve =
        |p: axum_upstream::ReverseProxy| p.host(axum_upstream::rewrite::HostPolicy::Preserve);
    let request = "GET http://target.test:81/x?y HTTP/1.1\r\nHost: other.test\r\n\r\n";
    let proxy = proxy::exchange_with(preserve, request, OK).await;
    assert_eq!(proxy.up().start_line(), "GET /x?y HTTP/1.1");
    assert_eq!(proxy.up().field("host"), Some("target.test:81"));
    assert_eq!(proxy.up().field("x-forwarded-host"), Some("target.test:81"));
}

/// Check 29.
#[tokio::test]
async fn a_bad_host_is_a_400() {
    for hosts in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host:\r\n",
        "Host: a@b\r\n",
        "Host: a/b\r\n",
        "Host: a b\r\n",
    ] {
        let (got, seen) = raw(&format!("GET / HTTP/1.1\r\n{hosts}\r\n")).await;
        assert!(got.starts_with("HTTP/1.1 400"), "{hosts:?}: {got}");
        assert!(seen.is_empty());
    }
    let old = exchange("GET / HTTP/1.0\r\n\r\n", OK).await;
    assert_eq!(old.down.status(), 200, "HTTP/1.0 needs no Host");
}

/// Check 61: responses without a body keep their length, and the connection stays in step. (hyper's server leaves the
/// length of a 304 out, which RFC 9110 8.6 allows.)
#[tokio::test]
async fn responses_without_a_body_stay_in_step() {
    for (method, response) in [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
        (
            "GET",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\nETag: \"a\"\r\n\r\n",
        ),
        (
            "GET",
            "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        ),
    ] {
        within(async {
            let (server, mut requests) = server::canned(response).await;
            let proxy = proxy::to(&server.url()).await;
            let mut client = Conn::connect(proxy.address).await;
            for _ in 0..2 {
                client
                    .send(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n"))
                    .await;
                let head = client.head().await.unwrap();
                assert_eq!(
                    head.contains("content-length: 9"),
                    method == "HEAD",
                    "{head}"
                );
                assert!(!head.contains("transfer-encoding"), "{head}");
                requests.recv().await.unwrap();
            }
        })
        .await;
    }
}

/// RFC 9112 6.3: a response with both lengths is read as chunked, and sent on with one.
#[tokio::test]
async fn a_response_with_two_lengths_has_one() {
    let response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let proxy = exchange(proxy::get(""), response).await;
    assert!(proxy.down.status() == 502 || proxy.down.text() == "abc");
    assert!(!(proxy.down.has("content-length") && proxy.down.has("transfer-encoding")));
}

/// A coding that would be lost on the way is no success.
#[tokio::test]
async fn a_response_in_an_unknown_coding_is_a_502() {
    let response =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(exchange(proxy::get(""), response).await.down.status(), 502);
}

/// What is not HTTP is a 502.
#[tokio::test]
async fn an_endpoint_that_speaks_no_http_is_a_502() {
    for response in [
        "SSH-2.0-OpenSSH\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    ] {
        assert_eq!(
            exchange(proxy::get(""), response).await.down.status(),
            502,
            "{response:?}"
        );
    }
}

/// RFC 9112 6.3: one and the same length said twice is said once.
#[tokio::test]
async fn a_repeated_length_becomes_one() {
    let proxy = exchange(
        proxy::get(""),
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok",
    )
    .await;
    assert!(
        proxy.down.status() == 502 || proxy.down.field("content-length") == Some("2"),
        "{}",
        proxy.down.head
    );
}
