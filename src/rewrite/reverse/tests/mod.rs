mod properties;

use super::*;

/// A request to `https://example.com/api`, for an endpoint at this URL.
pub(in crate::rewrite::reverse) fn asked_for(url: &'static str) -> AskedFor {
    AskedFor {
        scheme: Some(HeaderValue::from_static("https")),
        host: Some(HeaderValue::from_static("example.com")),
        prefix: Some(HeaderValue::from_static("/api")),
        sent: None,
        url: Some(url.into()),
    }
}

/// Returns what becomes of a field in the response to `asked_for`.
pub(in crate::rewrite::reverse) fn mapped_to(
    asked_for: &AskedFor,
    added: Option<&str>,
    name: &'static str,
    value: &str,
) -> String {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    if let Some(mapping) = ReverseMapping::new(asked_for, added) {
        mapping.apply(&mut headers);
    }
    String::from_utf8(headers[name].as_bytes().to_vec()).unwrap()
}

pub(in crate::rewrite::reverse) fn mapped(name: &'static str, value: &str) -> String {
    let asked_for = asked_for("http://10.0.0.1:5000/base");
    mapped_to(&asked_for, Some("/v1"), name, value)
}

#[test]
fn urls_of_the_endpoint_become_the_clients() {
    for (from, to) in [
        (
            "http://10.0.0.1:5000/base/v1/x?y=/base/v1#z",
            "https://example.com/api/x?y=/base/v1#z",
        ),
        ("HTTP://10.0.0.1:5000/base/v1", "https://example.com/api"),
        ("http://10.0.0.1:5000/base/v1/", "https://example.com/api/"),
        (
            "http://10.0.0.1:5000/base/v1?q",
            "https://example.com/api?q",
        ),
        (
            "http://10.0.0.1:5000/base/v1//a%2Fb/../c",
            "https://example.com/api//a%2Fb/../c",
        ),
        ("//10.0.0.1:5000/base/v1/x", "//example.com/api/x"),
        ("/base/v1/x", "/api/x"),
        ("/base/v1", "/api"),
    ] {
        for name in ["location", "content-location"] {
            assert_eq!(mapped(name, from), to, "{name}");
        }
    }
}

#[test]
fn what_is_not_the_endpoints_stays() {
    for url in [
        "",
        "x",
        "../x",
        "?q",
        "#x",
        "mailto:a@10.0.0.1",
        "http://10.0.0.1:5000/",
        "http://10.0.0.1:5000",
        "http://10.0.0.1:5000/basement/v1",
        "http://10.0.0.1:5000/base/v10",
        "http://10.0.0.1:5000/base/v1/../../x",
        "http://10.0.0.1:5000/base/v1/%2e%2e/x",
        "http://10.0.0.1:5001/base/v1",
        "http://10.0.0.1/base/v1",
        "http://10.0.0.10:5000/base/v1",
        "http://user@10.0.0.1:5000/base/v1",
        "http://10.0.0.1:5000@evil/base/v1",
        "http://10.0.0.1:x/base/v1",
        // A redirect to https, of the endpoint's own.
        "https://10.0.0.1:5000/base/v1",
        "http:/base/v1/x",
        "/base/v1\\x",
        "/other",
        "//evil/base/v1",
    ] {
        assert_eq!(mapped("location", url), url);
    }
    assert_eq!(mapped("x-location", "/base/v1/x"), "/base/v1/x");
}

/// `//evil` alone is a host. Behind a host it is a path.
#[test]
fn no_path_becomes_a_host() {
    let mut asked_for = asked_for("http://a/base");
    asked_for.prefix = None;
    let to = |asked_for: &AskedFor, url| mapped_to(asked_for, None, "location", url);
    assert_eq!(to(&asked_for, "/base//evil"), "/base//evil");
    assert_eq!(to(&asked_for, "/base/\t/evil"), "/base/\t/evil");
    assert_eq!(
        to(&asked_for, "http://a/base//evil"),
        "https://example.com//evil"
    );
    asked_for.host = None;
    assert_eq!(to(&asked_for, "http://a/base//evil"), "http://a/base//evil");
    assert_eq!(to(&asked_for, "http://a/base/x"), "/x");
    assert_eq!(to(&asked_for, "http://a/base"), "/");
}

#[test]
fn default_ports_are_the_same_and_ipv6_has_colons() {
    for (endpoint, url) in [
        ("http://a", "http://A:80/x"),
        ("http://a:80", "http://a/x"),
        ("https://a", "https://a:443/x"),
        ("http://a", "http://a:/x"),
        ("http://[2001:db8::1]", "http://[2001:DB8::1]/x"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080/x"),
        ("unix:/run/app.sock", "http://localhost/x"),
        ("h2c://a:81", "http://a:81/x"),
    ] {
        let asked_for = asked_for(endpoint);
        let location = mapped_to(&asked_for, None, "location", url);
        assert_eq!(location, "https://example.com/api/x", "{endpoint}");
    }
}

/// A client chooses what a parameter of a route matches, and with it the prefix.
#[test]
fn a_prefix_is_never_more_than_a_path() {
    for prefix in [
        "//evil.test",
        "/\\evil.test",
        "evil.test",
        "@evil.test",
        ":80@evil.test",
        "/a;Domain=example.com",
        "/a>; rel=preload, <//evil.test",
        "/a'",
        "/a\"",
        "/a?b",
        "/a#b",
        "/\t/evil.test",
    ] {
        let mut asked_for = asked_for("http://a");
        asked_for.prefix = Some(prefix.parse().unwrap());
        for (name, value) in [
            ("location", "/x"),
            ("location", "http://a/x"),
            ("refresh", "5; url='/x'"),
            ("link", "</x>"),
            ("set-cookie", "a=b; Path=/"),
        ] {
            assert_eq!(mapped_to(&asked_for, None, name, value), value, "{prefix}");
        }
    }
}

/// With `HostPolicy::Preserve`, with a fixed host, and in this process, the endpoint speaks of that host.
#[test]
fn the_host_that_was_sent_is_the_endpoints() {
    let mut asked_for = asked_for("http://a:5000");
    let to = |asked_for: &AskedFor, url| mapped_to(asked_for, None, "location", url);
    asked_for.sent = Some(HeaderValue::from_static("app.internal"));
    assert_eq!(
        to(&asked_for, "http://app.internal/x"),
        "https://example.com/api/x"
    );
    assert_eq!(
        to(&asked_for, "http://a:5000/x"),
        "https://example.com/api/x"
    );

    // Lent: it was replaced by that of the URL.
    let mut lent = HeaderValue::from_static("example.com");
    lent.set_sensitive(true);
    asked_for.sent = Some(lent);
    assert_eq!(
        to(&asked_for, "http://example.com/x"),
        "http://example.com/x"
    );
    asked_for.url = None;
    assert_eq!(
        to(&asked_for, "http://example.com/x"),
        "https://example.com/api/x"
    );
}

/// What a trusted proxy in front says may be a list, or no host at all.
#[test]
fn the_outermost_proxy_is_the_nearest_to_the_client() {
    let mut asked_for = asked_for("http://a");
    asked_for.scheme = Some(HeaderValue::from_static("HTTP, https"));
    asked_for.host = Some(HeaderValue::from_static("one.example, two.example"));
    let to = |asked_for: &AskedFor| mapped_to(asked_for, None, "location", "http://a/x");
    assert_eq!(to(&asked_for), "http://one.example/api/x");
    for host in ["a/b", "a@b", "a\\b", "a:x", "", "a b"] {
        asked_for.host = Some(host.parse().unwrap());
        assert_eq!(to(&asked_for), "/api/x", "{host}");
    }
}

#[test]
fn every_line_is_mapped() {
    let mut headers = HeaderMap::new();
    for value in ["a=1; Path=/", "b=2", "c=3; Path=/c"] {
        headers.append("set-cookie", HeaderValue::from_static(value));
    }
    let asked_for = asked_for("http://a");
    ReverseMapping::new(&asked_for, None)
        .unwrap()
        .apply(&mut headers);
    let lines: Vec<_> = headers.get_all("set-cookie").iter().collect();
    assert_eq!(lines, ["a=1; Path=/api", "b=2", "c=3; Path=/api/c"]);
}
