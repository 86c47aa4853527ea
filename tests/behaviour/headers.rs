//! Header fields: what crosses, what does not, what is added.

use axum_upstream::rewrite::HostPolicy;
use http::HeaderValue;

use crate::support::proxy::{OK, exchange, exchange_with, get};

/// Check 1: fields a client nominates in Connection go, but not those that a proxy vouches for.
#[tokio::test]
async fn nominated_fields_go_but_not_ours() {
    let request =
        get("Connection: X-Forwarded-For, X-Auth-User, X-Gone\r\nX-Auth-User: me\r\nX-Gone: 1\r\n");
    let proxy = exchange_with(
        |p| p.protected_fields(["x-auth-user".parse().unwrap()]),
        request,
        OK,
    )
    .await;
    assert_eq!(proxy.up().field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(proxy.up().field("x-auth-user"), Some("me"));
    assert!(!proxy.up().has("x-gone") && !proxy.up().has("connection"));
}

/// Check 1, by the hook, which runs last.
#[tokio::test]
async fn a_hook_is_not_undone() {
    let set = |parts: &mut http::request::Parts| {
        parts
            .headers
            .insert("x-auth-user", HeaderValue::from_static("me"));
        parts
            .headers
            .insert("host", HeaderValue::from_static("chosen.test"));
    };
    let request = get("Connection: X-Auth-User, Host\r\nX-Auth-User: forged\r\n");
    let proxy = exchange_with(|p| p.rewrite_request(set), request, OK).await;
    assert_eq!(proxy.up().field("x-auth-user"), Some("me"));
    assert_eq!(proxy.up().field("host"), Some("chosen.test"));
}

/// Check 2.
#[tokio::test]
async fn an_empty_connection_line_hides_no_other() {
    let proxy = exchange(get("Connection:\r\nConnection: X-Foo\r\nX-Foo: 1\r\n"), OK).await;
    assert!(!proxy.up().has("x-foo"));
}

/// Check 3: what is nominated never changes the host or the framing.
#[tokio::test]
async fn host_and_framing_cannot_be_nominated() {
    for option in [
        "host",
        "content-length",
        "transfer-encoding",
        "\"a b\"",
        ",,",
        ":authority",
    ] {
        let request = format!(
            "POST / HTTP/1.1\r\nHost: example.com\r\nConnection: {option}\r\nContent-Length: 3\r\n\r\nabc"
        );
        let proxy = exchange_with(|p| p.host(HostPolicy::Preserve), request, OK).await;
        assert_eq!(proxy.up().field("host"), Some("example.com"), "{option}");
        assert_eq!(proxy.up().text(), "abc", "{option}");
    }
}

/// Check 4.
#[tokio::test]
async fn fields_an_endpoint_nominates_stop_here() {
    let response = "HTTP/1.1 200 OK\r\nConnection: X-Secret, Set-Cookie\r\nX-Secret: 1\r\nSet-Cookie: a=1\r\n\
                    X-Open: 1\r\nContent-Length: 0\r\n\r\n";
    let proxy = exchange(get(""), response).await;
    assert!(!proxy.down.has("x-secret") && !proxy.down.has("set-cookie"));
    assert!(proxy.down.has("x-open"));
}

/// Checks 5 and 13: both ways.
#[tokio::test]
async fn hop_by_hop_fields_do_not_cross() {
    let names = [
        "Keep-Alive",
        "Proxy-Connection",
        "Proxy-Authenticate",
        "Proxy-Authorization",
        "Proxy-Authentication-Info",
        "TE",
        "Upgrade",
        "HTTP2-Settings",
        "Alt-Svc",
    ];
    let fields: String = names.iter().map(|name| format!("{name}: x\r\n")).collect();
    let response = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
    let proxy = exchange(get(&fields), &response).await;
    for name in names {
        assert!(!proxy.up().has(name), "{name} went up");
        assert!(!proxy.down.has(name), "{name} came down");
    }
}

/// Check 7: an untrusted client's word on itself is replaced, whatever the spelling.
#[tokio::test]
async fn forwarding_fields_of_strangers_are_replaced() {
    let names = ["For", "Host", "Proto", "Prefix", "Port", "Server"];
    let spoofed: String = names
        .iter()
        .map(|name| format!("X-Forwarded-{name}: evil\r\n"))
        .collect();
    let request = get(&format!(
        "{spoofed}X-Forwarded-For: evil\r\nX_Forwarded_For: evil\r\nX-Real-Ip: evil\r\nForwarded: for=evil\r\n"
    ));
    let proxy = exchange(request, OK).await;
    assert!(!proxy.up().head.contains("evil"), "{}", proxy.up().head);
    assert_eq!(proxy.up().field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(proxy.up().field("x-forwarded-host"), Some("example.com"));
    assert_eq!(proxy.up().field("x-forwarded-proto"), Some("http"));
}

/// Check 8.
#[tokio::test]
async fn a_trusted_proxys_fields_are_added_to() {
    let request = get(
        "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\nX-Forwarded-Proto: https\r\n",
    );
    let trusted =
        |p: axum_upstream::ReverseProxy| p.trusted_peers(["127.0.0.0/8"]).unwrap().with_forwarded();
    let proxy = exchange_with(trusted, request, OK).await;
    assert_eq!(
        proxy.up().field("x-forwarded-for"),
        Some("192.0.2.1, 192.0.2.2, 127.0.0.1")
    );
    assert_eq!(proxy.up().field("x-forwarded-proto"), Some("https"));
    assert_eq!(
        proxy.up().field("forwarded"),
        Some("for=127.0.0.1;host=example.com;proto=http")
    );
}

/// Check 9.
#[tokio::test]
async fn te_says_trailers_or_nothing() {
    let proxy = exchange(get("TE: trailers, gzip;q=0.5\r\n"), OK).await;
    assert_eq!(proxy.up().field("te"), Some("trailers"));
    assert_eq!(
        proxy.up().field("connection"),
        Some("te"),
        "RFC 9110 10.1.4"
    );
    assert!(!exchange(get("TE: gzip\r\n"), OK).await.up().has("te"));
    assert!(!exchange(get(""), OK).await.up().has("te"));
}

/// Check 10.
#[tokio::test]
async fn no_user_agent_is_invented() {
    assert!(!exchange(get(""), OK).await.up().has("user-agent"));
}

/// Check 12.
#[tokio::test]
async fn cookies_are_set_one_by_one_and_in_order() {
    let response =
        "HTTP/1.1 200 OK\r\nSet-Cookie: b=1, x\r\nSet-Cookie: a=2\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(
        exchange(get(""), response).await.down.all("set-cookie"),
        ["b=1, x", "a=2"]
    );
}

/// Check 14.
#[tokio::test]
async fn trace_does_not_echo_secrets() {
    let request = "TRACE /x?y HTTP/1.1\r\nHost: example.com\r\nMax-Forwards: 0\r\nCookie: s3cret\r\n\
                   Authorization: s3cret\r\nX-Seen: 1\r\n\r\n";
    let proxy = exchange(request, OK).await;
    assert!(proxy.up.is_none());
    assert_eq!(proxy.down.status(), 200);
    assert_eq!(proxy.down.field("content-type"), Some("message/http"));
    assert!(proxy.down.text().starts_with("TRACE /x?y HTTP/1.1\r\n"));
    assert!(proxy.down.text().contains("x-seen: 1") && !proxy.down.text().contains("s3cret"));
}

/// RFC 9110 7.6.2.
#[tokio::test]
async fn max_forwards_is_counted_down_or_answered() {
    let options =
        |left: &str| format!("OPTIONS / HTTP/1.1\r\nHost: a\r\nMax-Forwards: {left}\r\n\r\n");
    assert_eq!(
        exchange(options("3"), OK).await.up().field("max-forwards"),
        Some("2")
    );
    let proxy = exchange(options("0"), OK).await;
    assert!(proxy.up.is_none());
    assert_eq!(
        (proxy.down.status(), proxy.down.field("content-length")),
        (200, Some("0"))
    );
    assert_eq!(exchange(options("many"), OK).await.down.status(), 400);
}

/// Check 15: a field value that HTTP forbids is a 502, and none of it gets through.
#[tokio::test]
async fn forbidden_bytes_in_a_response_are_a_502() {
    for bad in ["a\0b", "a\rb"] {
        let response = format!("HTTP/1.1 200 OK\r\nX-Bad: {bad}\r\nContent-Length: 0\r\n\r\n");
        let proxy = exchange(get(""), &response).await;
        assert_eq!(proxy.down.status(), 502, "{bad:?}");
        assert!(!proxy.down.has("x-bad"));
    }
}

/// Check 16.
#[tokio::test]
async fn a_head_without_bounds_is_a_502() {
    let long = format!(
        "HTTP/1.1 200 OK\r\nX-Long: {}\r\nContent-Length: 0\r\n\r\n",
        "x".repeat(2 << 20)
    );
    assert_eq!(exchange(get(""), &long).await.down.status(), 502);
    let fields: String = (0..10_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n");
    assert_eq!(exchange(get(""), &many).await.down.status(), 502);
}

/// RFC 9110 7.6.3; a request that carries our own entry is a loop.
#[tokio::test]
async fn via_is_added_and_loops_are_seen() {
    let named = |p: axum_upstream::ReverseProxy| p.via("edge").unwrap();
    let proxy = exchange_with(named, get("Via: 1.0 fred\r\n"), OK).await;
    assert_eq!(proxy.up().field("via"), Some("1.0 fred, 1.1 edge"));
    assert!(!proxy.down.has("via"));
    let proxy = exchange_with(named, get("Via: 1.0 fred, 2 Edge (x)\r\n"), OK).await;
    assert!(proxy.up.is_none());
    assert_eq!(proxy.down.status(), 508);
    let proxy = exchange_with(|p| p.without_via(), get("Via: 1.0 edge\r\n"), OK).await;
    assert_eq!(proxy.up().field("via"), Some("1.0 edge"));
    let both = exchange_with(
        |p| p.via("edge").unwrap().with_via_on_responses(),
        get(""),
        OK,
    )
    .await;
    assert_eq!(both.down.field("via"), Some("1.1 edge"));
}

#[tokio::test]
async fn host_is_the_endpoints_unless_told_otherwise() {
    let (server, mut requests) = crate::support::server::canned(OK).await;
    let proxy = crate::support::proxy::to(&server.url()).await;
    let mut client = crate::support::Conn::connect(proxy.address).await;
    client.send(get("")).await;
    client.response().await.unwrap();
    let seen = requests.recv().await.unwrap();
    assert_eq!(
        seen.field("host"),
        Some(server.address.to_string().as_str())
    );

    let preserved = exchange_with(|p| p.host(HostPolicy::Preserve), get(""), OK).await;
    assert_eq!(preserved.up().field("host"), Some("example.com"));
    let fixed = HostPolicy::Fixed(HeaderValue::from_static("fixed.test"));
    let fixed = exchange_with(|p| p.host(fixed), get(""), OK).await;
    assert_eq!(fixed.up().field("host"), Some("fixed.test"));
}

#[tokio::test]
async fn response_heads_pass_the_hook_last() {
    let hook = |parts: &mut http::response::Parts| {
        parts
            .headers
            .insert("x-hook", HeaderValue::from_static("1"));
        parts.headers.remove("server");
    };
    let response = "HTTP/1.1 404 Gone Fishing\r\nServer: secret/1.0\r\nContent-Length: 0\r\n\r\n";
    let proxy = exchange_with(|p| p.rewrite_response(hook), get(""), response).await;
    assert_eq!(proxy.down.status(), 404);
    assert_eq!(proxy.down.field("x-hook"), Some("1"));
    assert!(!proxy.down.has("server"));
}
