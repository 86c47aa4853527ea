//! Rewriting of request heads.

use axum_upstream::{ReverseProxy, rewrite::HostPolicy};
use http::{HeaderName, HeaderValue, Method, Response, Version};

use super::{
    input, proxy, rules,
    rules::{lines, nominated},
};

/// What the proxy changes, in ways of its own.
const CHANGED: [&str; 7] = [
    "content-length",
    "cookie",
    "expect",
    "host",
    "max-forwards",
    "via",
    "x-kept",
];
const ADDED: [&str; 7] = [
    "host",
    "te",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// A line of settings, then a request: `p` preserves the host, `f` sets it, `v` leaves out `Via`, `k` protects
/// `x-kept`.
pub fn request_head(data: &[u8]) {
    let (settings, text) = input::split_settings(data);
    let Some(mut request) = input::request(text) else {
        return;
    };
    let has = |letter| settings.contains(&letter);
    request
        .extensions_mut()
        .insert(std::net::SocketAddr::from(([192, 0, 2, 1], 1)));
    let (from, _) = request.clone().into_parts();
    let with = |proxy: ReverseProxy<_>| {
        let proxy = match (has(b'p'), has(b'f')) {
            (true, _) => proxy.host(HostPolicy::Preserve),
            (_, true) => proxy.host(HostPolicy::Fixed(HeaderValue::from_static("fixed"))),
            _ => proxy,
        };
        let proxy = match has(b'k') {
            true => proxy.protected_fields([HeaderName::from_static("x-kept")]),
            false => proxy,
        };
        match has(b'v') {
            true => proxy.without_via(),
            false => proxy.via("fuzz").unwrap(),
        }
    };
    let exchange = proxy::exchange(with, request, Response::new(()));
    let Some(up) = exchange.up else {
        let status = exchange.down.status;
        let refused = status.is_client_error() || [501, 508].contains(&status.as_u16());
        let answered = lines(&from.headers, "max-forwards").len() == 1 && status == 200;
        assert!(refused || answered, "{status} without an endpoint");
        return;
    };

    let (before, after) = (&from.headers, &up.headers);
    rules::has_one_framing(after);
    rules::the_rest_crosses(before, after, &CHANGED, &ADDED);
    assert_ne!(from.method, Method::CONNECT);
    assert_eq!(from.method, up.method);
    assert_eq!(up.version, Version::HTTP_11);
    assert!(
        up.uri.authority().is_none(),
        "{:?} is not in origin form",
        up.uri
    );
    assert_eq!(from.uri.query(), up.uri.query());
    // RFC 9110 4.2.3: "an empty path component is equivalent to an absolute path of "/"". `Uri` has one behind a
    // fragment.
    let path = match from.uri.path() {
        "" => "/",
        path => path,
    };
    assert_eq!(path, up.uri.path());

    let kept = nominated(before).iter().any(|name| name == "x-kept") && !has(b'k');
    let expected = if kept {
        Vec::new()
    } else {
        lines(before, "x-kept")
    };
    assert_eq!(lines(after, "x-kept"), expected);

    let asked_for = match from.uri.authority() {
        Some(authority) => authority.as_str().as_bytes(),
        None => before.get("host").map_or(&b""[..], HeaderValue::as_bytes),
    };
    // A service in this process, which has no authority, gets what the client asked for.
    let expected = match !has(b'p') && has(b'f') {
        true => vec![&b"fixed"[..]],
        false if asked_for.is_empty() => Vec::new(),
        false => vec![asked_for],
    };
    let same = |a: &[&[u8]], b: &[&[u8]]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.eq_ignore_ascii_case(b))
    };
    assert!(
        same(&lines(after, "host"), &expected),
        "{:?}",
        lines(after, "host")
    );

    assert_eq!(lines(after, "x-forwarded-for"), [b"192.0.2.1"]);
    assert_eq!(lines(after, "x-forwarded-proto"), [b"http"]);
    assert!(lines(after, "x-forwarded-host").len() <= 1);
    for name in after
        .keys()
        .filter(|name| rules::is_forwarding(name.as_str()))
    {
        assert!(
            ADDED.contains(&name.as_str()),
            "a stranger's {name} has crossed"
        );
    }

    let via = lines(after, "via");
    match has(b'v') {
        true => assert_eq!(via, lines(before, "via")),
        false => assert!(via.len() == 1 && via[0].ends_with(b" fuzz"), "{via:?}"),
    }
    assert!(matches!(lines(after, "te")[..], [] | [b"trailers"]));
    assert!(lines(after, "cookie").len() <= 1);
    let upgrade = lines(after, "upgrade");
    let may_upgrade = from.version == Version::HTTP_11 && before.contains_key("upgrade");
    assert!(
        upgrade.is_empty()
            || may_upgrade && upgrade.len() == 1 && upgrade[0].eq_ignore_ascii_case(b"websocket")
    );
}
