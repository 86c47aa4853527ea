//! Paths and queries: byte for byte, and what is routed is what is forwarded.

use axum::{Router, routing::get};
use axum_upstream::{ProxyLayer, ReverseProxy};

use crate::support::{
    Conn, Http, proxy,
    proxy::{OK, exchange, exchange_with},
    server, within,
};

async fn forwarded(path: &str) -> String {
    let proxy = exchange(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), OK).await;
    let line = proxy.up().start_line().to_owned();
    line.strip_prefix("GET ")
        .and_then(|line| line.strip_suffix(" HTTP/1.1"))
        .unwrap()
        .to_owned()
}

/// Checks 44 and 49.
#[tokio::test]
async fn bytes_arrive_as_they_were_sent() {
    let many: String = (0..2_000).map(|n| format!("p{n}=1&")).collect();
    for path in [
        "/",
        "/?",
        "//",
        "/a//b",
        "/a%2Fb",
        "/a%252Fb",
        "/%2e%2e/a",
        "/a/../b",
        "/a;b=c",
        "/%00",
        "/%ff%FE",
        "/a?b=1;c=2",
        "/a?%zz",
        "/a?b=c?d=/../e",
        "/a?",
        "/~a_b-c.d!$&'()*+,=:@",
        &format!("/?{many}"),
    ] {
        assert_eq!(forwarded(path).await, path);
    }
}

/// RFC 9112 3.2.4.
#[tokio::test]
async fn an_asterisk_stays_one() {
    let proxy = exchange("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", OK).await;
    assert_eq!(proxy.up().start_line(), "OPTIONS * HTTP/1.1");
}

/// Check 44: an empty path in absolute form is `/`.
#[tokio::test]
async fn an_empty_path_is_a_slash() {
    let proxy = exchange("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", OK).await;
    assert_eq!(proxy.up().start_line(), "GET / HTTP/1.1");
    for (target, path) in [("http://a", "/"), ("http://a?q=1", "/?q=1")] {
        assert_eq!(forwarded(target).await, path);
        within(async {
            let echo = |uri: http::Uri| async move { uri.to_string() };
            let server = server::app(Router::new().fallback(echo)).await;
            let proxy = proxy::to(&server.url_for(Http::Two)).await;
            let mut client = Conn::connect(proxy.address).await;
            client
                .send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            let response = client.response().await.unwrap();
            let seen = response.text();
            assert!(response.status() == 200 && seen.ends_with(path), "{seen}");
        })
        .await;
    }
}

/// Checks 47 and 50: one strip, one join, one slash, one question mark.
#[tokio::test]
async fn prefixes_are_taken_off_and_put_on_once() {
    let both = |p: ReverseProxy| p.strip_prefix("/api").unwrap().add_prefix("/v1/").unwrap();
    for (from, to, prefix) in [
        ("/api/api/x", "/v1/api/x", Some("/api")),
        ("/api", "/v1/", Some("/api")),
        ("/api/?q", "/v1/?q", Some("/api")),
        ("/apiary", "/v1/apiary", None),
        ("/api//x", "/v1//x", Some("/api")),
    ] {
        let proxy =
            exchange_with(both, format!("GET {from} HTTP/1.1\r\nHost: a\r\n\r\n"), OK).await;
        assert_eq!(proxy.up().start_line(), format!("GET {to} HTTP/1.1"));
        assert_eq!(proxy.up().field("x-forwarded-prefix"), prefix);
    }
}

/// Check 50, for the base path in an endpoint's URL; and check 45: nothing climbs out of it.
#[tokio::test]
async fn the_base_path_of_a_url_comes_in_front() {
    within(async {
        let (server, mut requests) = server::canned(OK).await;
        for base in ["/base", "/base/"] {
            let proxy = proxy::to(&format!("{}{base}", server.url())).await;
            for (from, to) in [
                ("/x?y", "/base/x?y"),
                ("/", "/base/"),
                ("/a/../b", "/base/a/../b"),
            ] {
                let mut client = Conn::connect(proxy.address).await;
                client
                    .send(format!("GET {from} HTTP/1.1\r\nHost: a\r\n\r\n"))
                    .await;
                assert_eq!(client.response().await.unwrap().status(), 200);
                assert_eq!(
                    requests.recv().await.unwrap().start_line(),
                    format!("GET {to} HTTP/1.1")
                );
            }
            for from in [
                "/../x",
                "/%2e%2e/x",
                "/a/..%2f..%2fx",
                "/..;/x",
                "/..%3b/x",
                "/%252e%252e/x",
                "/a%2fb/../../x",
            ] {
                let mut client = Conn::connect(proxy.address).await;
                client
                    .send(format!("GET {from} HTTP/1.1\r\nHost: a\r\n\r\n"))
                    .await;
                assert_eq!(client.response().await.unwrap().status(), 400, "{from}");
                assert!(requests.try_recv().is_err());
            }
        }
    })
    .await;
}

/// Checks 45 and 46: what a layer's prefix lets through is below it for whoever decodes it, too.
#[tokio::test]
async fn a_prefix_is_a_boundary() {
    within(async {
        let (server, mut requests) = server::canned(OK).await;
        let layer =
            ProxyLayer::from(ReverseProxy::to(&server.url()).unwrap()).path_prefix("/public");
        let app = Router::new()
            .route("/", get(|| async { "app" }))
            .fallback(|| async { "app" })
            .layer(layer);
        let proxy = server::app(app).await;
        for (path, ours) in [
            ("/public", true),
            ("/public/x", true),
            ("/publicity", false),
            ("/public/%2e%2e/admin", false),
            ("/public/..%2fadmin", false),
            ("/public/../admin", false),
            ("/public/%252e%252e/admin", false),
            ("/public/..%3b/admin", false),
            ("/public/a%2fb/../../../admin", false),
            ("/admin", false),
        ] {
            let mut client = Conn::connect(proxy.address).await;
            client
                .send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
                .await;
            let response = client.response().await.unwrap();
            assert_eq!(response.text(), if ours { "ok" } else { "app" }, "{path}");
            assert_eq!(requests.try_recv().is_ok(), ours);
        }
    })
    .await;
}

/// Check 51: a target that is no URI is refused, and the proxy lives.
#[tokio::test]
async fn a_target_that_is_no_uri_is_a_400() {
    for path in ["/\u{7f}", "nonsense", "/a b", "http://", "/<\\>\"^`{|}\x01"] {
        let proxy = exchange(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), OK).await;
        assert_eq!(proxy.down.status(), 400, "{path:?}");
        assert!(proxy.up.is_none());
    }
}

/// A path of the application's own making: the query stays, and so does what it has no opinion on.
#[tokio::test]
async fn a_hook_may_change_the_path() {
    let settings = |proxy: ReverseProxy| {
        proxy
            .strip_prefix("/api")
            .unwrap()
            .add_prefix("/v1")
            .unwrap()
            .rewrite_path(|path| path.strip_suffix(".html").map(str::to_owned))
            .rewrite_path(|path| {
                path.strip_prefix("/v1/old")
                    .map(|rest| format!("/new{rest}"))
            })
    };
    for (from, to) in [
        ("/api/a%2Fb.html?q=1?", "/v1/a%2Fb?q=1?"),
        ("/api/old/x.html?", "/new/x?"),
        ("/api/x", "/v1/x"),
    ] {
        let request = format!("GET {from} HTTP/1.1\r\nHost: a\r\n\r\n");
        let proxy = exchange_with(settings, request, OK).await;
        assert_eq!(proxy.up().start_line(), format!("GET {to} HTTP/1.1"));
    }
    let request = "GET /api/../x HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(
        exchange_with(settings, request, OK).await.down.status(),
        400
    );
    for bad in ["x", "", "/x?y", "/x#y", "/a b", "http://a/"] {
        let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let settings = |proxy: ReverseProxy| proxy.rewrite_path(|_| Some(bad.to_owned()));
        let proxy = exchange_with(settings, request, OK).await;
        assert_eq!(proxy.down.status(), 500, "{bad:?}");
        assert!(proxy.up.is_none());
    }
}

/// Nothing but the settings decides about them, and each has its opposite.
#[tokio::test]
async fn switches_have_opposites() {
    let on = |proxy: ReverseProxy| proxy.with_forwarded().behind_tls().with_via_on_responses();
    let off = |proxy: ReverseProxy| {
        on(proxy)
            .without_forwarded()
            .not_behind_tls()
            .without_via_on_responses()
            .body_limit(1)
            .body_limit(None)
    };
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab";
    let proxy = exchange_with(on, request, OK).await;
    assert!(proxy.up().has("forwarded") && proxy.down.has("via"));
    assert_eq!(proxy.up().field("x-forwarded-proto"), Some("https"));
    let proxy = exchange_with(off, request, OK).await;
    assert!(!proxy.up().has("forwarded") && !proxy.down.has("via"));
    assert_eq!(proxy.up().field("x-forwarded-proto"), Some("http"));
    assert_eq!(proxy.down.status(), 200);
}
