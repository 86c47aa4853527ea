//! Rewriting of response heads.

use axum_upstream::ReverseProxy;
use http::Request;

use super::{input, proxy, rules};

/// A line of settings, then a response: `a` adds `Via` to it.
pub fn response_head(data: &[u8]) {
    let (settings, text) = input::split_settings(data);
    let Some(answer) = input::response(text) else {
        return;
    };
    let (from, _) = answer.clone().into_parts();
    let via = settings.contains(&b'a');
    let with = |proxy: ReverseProxy<_>| match via {
        true => proxy.via("fuzz").unwrap().with_via_on_responses(),
        false => proxy,
    };
    let mut request = Request::new(());
    request.headers_mut().insert("host", "a".parse().unwrap());
    let exchange = proxy::exchange(with, request, answer);
    assert!(exchange.up.is_some());
    let down = exchange.down;
    if down.status != from.status {
        // What is not to be understood, or switches to a protocol that was not asked for.
        assert_eq!(down.status, 502);
        return;
    }
    rules::has_one_framing(&down.headers);
    let changed = ["content-length", "via"];
    // A 426 says which protocol it wants.
    let added: &[&str] = match down.status.as_u16() {
        426 => &["connection", "upgrade", "via"],
        _ => &["via"],
    };
    rules::the_rest_crosses(&from.headers, &down.headers, &changed, added);
    if down.status == 204 {
        assert!(!down.headers.contains_key("content-length"));
    }
    let lines = rules::lines(&down.headers, "via");
    match via {
        true => assert!(
            lines.len() == 1 && lines[0].ends_with(b" fuzz"),
            "{lines:?}"
        ),
        false => assert_eq!(lines, rules::lines(&from.headers, "via")),
    }
}
