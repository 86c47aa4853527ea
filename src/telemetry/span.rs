//! Spans of `tracing`: one per request, and one per attempt inside of it.
//!
//! Names and values are those of OpenTelemetry's semantic conventions for HTTP, 1.42: a request is a server span, an
//! attempt a client span. Both are at `DEBUG`, with the target `axum_upstream`. What could be a secret is in neither:
//! no query, no user information of a URL, no header field but `User-Agent`.
//!
//! Numbers are `i64`, which OpenTelemetry's layer exports as such; it makes text of a `u64`.
//!
//! A span is made here, and kept in the record of its exchange until that ends (`record/open_span.rs`). Where no
//! subscriber wants it, nothing is computed or stored.

use http::{Method, Request, StatusCode, Version, header};
use tracing::{
    Span, debug_span,
    field::{Empty, display},
};

use crate::{
    error::Side,
    record::{Attempt, AttemptGuard, Record, spans_are_wanted},
};

/// Returns the span of a request that a proxy has received, inside of the current one. `scheme` is that of the client's
/// connection.
pub(crate) fn request_span<B>(request: &Request<B>, scheme: &'static str) -> Span {
    if !spans_are_wanted() {
        return Span::none();
    }
    let span = debug_span!(
        target: "axum_upstream",
        "request",
        otel.kind = "server",
        otel.name = span_name(request.method()),
        otel.status_code = Empty,
        http.request.method = known(request.method()).unwrap_or("_OTHER"),
        http.request.method_original = original(request.method()),
        url.scheme = scheme,
        url.path = request.uri().path(),
        server.address = server(request).map(|(address, _)| address),
        server.port = server(request).and_then(|(_, port)| port).map(i64::from),
        client.address = Empty,
        network.protocol.version = version(request.version()),
        user_agent.original = text(request, &header::USER_AGENT),
        http.response.status_code = Empty,
        error.type = Empty,
    );
    #[cfg(feature = "opentelemetry")]
    super::trace_context::continue_trace(&span, request.headers());
    span
}

/// Keeps the span of a request open until the exchange has ended.
pub(crate) fn open_request(record: &Record, span: &Span) {
    if span.is_disabled() {
        return;
    }
    if let Some(address) = record.client().address {
        span.record("client.address", display(address));
    }
    record.open_span(span.clone(), request_ended);
}

/// Adds to the span of a request how the exchange has ended.
fn request_ended(record: &Record, span: &Span) {
    let error = record.error().map(|kind| (kind.as_str(), kind.side()));
    add_response(span, record.status(), error);
}

/// Adds the status of a response, and what it says of the request.
///
/// What a client has caused is no error of the server: the span's status stays unset for a 4xx, as the conventions
/// demand, and for a client that leaves.
fn add_response(span: &Span, status: Option<StatusCode>, error: Option<(&str, Side)>) {
    if let Some(status) = status {
        span.record("http.response.status_code", i64::from(status.as_u16()));
    }
    let failed = status.filter(StatusCode::is_server_error);
    match (error, failed) {
        (Some((error, _)), _) => {
            span.record("error.type", error);
        }
        (None, Some(status)) => {
            span.record("error.type", status.as_str());
        }
        (None, None) => {}
    }
    if failed.is_some() || error.is_some_and(|(_, side)| side != Side::Downstream) {
        span.record("otel.status_code", "ERROR");
    }
}

/// Makes the span of an attempt, with a parent if one is given.
macro_rules! attempt_span {
    ($attempt:ident, $record:ident, $nth:ident, $method:ident, $($parent:tt)*) => {
        debug_span!(
            target: "axum_upstream",
            $($parent)*
            "attempt",
            otel.kind = "client",
            otel.name = span_name($method),
            otel.status_code = Empty,
            http.request.method = known($method).unwrap_or("_OTHER"),
            http.request.method_original = original($method),
            http.request.resend_count = resends($record, $nth, $attempt),
            server.address = Empty,
            server.port = Empty,
            url.full = Empty,
            axum_upstream.cluster = $attempt.cluster(),
            axum_upstream.endpoint = $attempt.endpoint(),
            http.response.status_code = Empty,
            error.type = Empty,
        )
    };
}

/// Makes the span of an attempt that begins, and keeps it open until the attempt has ended. It is a child of the
/// current span or, where there is none, of that of the attempt or the exchange around.
///
/// Returns whether the request has been told of it, and has another head now.
pub(crate) fn open_attempt<B>(attempt: &AttemptGuard, request: &mut Request<B>) -> bool {
    if !spans_are_wanted() {
        return false;
    }
    let (record, nth) = (attempt.record(), attempt.nth());
    let Some(attempt) = record.attempts().nth(nth) else {
        return false;
    };
    let method = request.method();
    let span = || -> Span {
        let current = Span::current();
        if !current.is_none() {
            return attempt_span!(attempt, record, nth, method,);
        }
        let around = attempt.parent().and_then(|nth| record.attempts().nth(nth));
        let around = around.and_then(Attempt::span).or_else(|| record.span());
        attempt_span!(attempt, record, nth, method, parent: around.and_then(|span| span.id()),)
    };
    let span = span();
    if span.is_disabled() {
        return false;
    }
    #[cfg(feature = "opentelemetry")]
    let has_changed = super::trace_context::inject(&span, request.headers_mut());
    #[cfg(not(feature = "opentelemetry"))]
    let has_changed = false;
    attempt.open_span(span, attempt_ended);
    has_changed
}

/// A server to which an endpoint's client sends, for the span of the attempt.
pub(crate) struct SpanServer<'a> {
    /// A name or an address, or the path of a Unix socket.
    pub(crate) address: &'a str,
    /// `None` for a Unix socket.
    pub(crate) port: Option<u16>,
    /// `http` or `https`.
    pub(crate) scheme: &'a str,
    pub(crate) authority: &'a str,
    /// Without a trailing slash.
    pub(crate) base_path: &'a str,
}

/// Adds to the span of the attempt at index `nth` where its request, with this path, goes. The endpoint's client alone
/// knows that.
pub(crate) fn sent_to<'a>(
    record: &Record,
    nth: Option<usize>,
    path: &str,
    server: impl FnOnce() -> SpanServer<'a>,
) {
    if !spans_are_wanted() {
        return;
    }
    let attempt = nth.and_then(|nth| record.attempts().nth(nth));
    let Some(span) = attempt.and_then(Attempt::span) else {
        return;
    };
    let SpanServer {
        address,
        port,
        scheme,
        authority,
        base_path,
    } = server();
    span.record("server.address", address);
    if let Some(port) = port {
        span.record("server.port", i64::from(port));
    }
    // `*`, the target of an OPTIONS request, is no part of a URL.
    let path = path.strip_prefix('*').unwrap_or(path);
    span.record(
        "url.full",
        display(format_args!("{scheme}://{authority}{base_path}{path}")),
    );
}

/// Adds to the span of an attempt how it has ended. For a client, a 4xx is an error as well.
fn attempt_ended(attempt: &Attempt, span: &Span) {
    if let Some(status) = attempt.status() {
        span.record("http.response.status_code", i64::from(status.as_u16()));
    }
    let outcome = attempt.outcome();
    let failed = attempt
        .status()
        .filter(|status| status.is_client_error() || status.is_server_error());
    let is_failure = outcome.is_some_and(|outcome| outcome.is_failure());
    match (outcome.and_then(|outcome| outcome.error()), failed) {
        (Some(error), _) => {
            span.record("error.type", error.as_str());
        }
        (None, Some(status)) => {
            span.record("error.type", status.as_str());
        }
        // A gRPC status, which is in none of these fields.
        (None, None) if is_failure => {
            span.record("error.type", "_OTHER");
        }
        (None, None) => {}
    }
    if is_failure || failed.is_some() {
        span.record("otel.status_code", "ERROR");
    }
}

/// Returns how many attempts with the same purpose there were before the one at index `nth`. `None` for the first.
fn resends(record: &Record, nth: usize, attempt: &Attempt) -> Option<i64> {
    let before = record.attempts().take(nth);
    let same = before.filter(|other| other.parent() == attempt.parent());
    Some(same.count() as i64).filter(|count| *count > 0)
}

/// Returns a method that is known to the conventions. Others could be of any number.
fn known(method: &Method) -> Option<&str> {
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
    ];
    known.contains(&method.as_str()).then(|| method.as_str())
}

/// Returns a method that is not known.
fn original(method: &Method) -> Option<&str> {
    known(method).is_none().then(|| method.as_str())
}

/// Returns the name of a span. There are few, since nothing is known here of a route.
fn span_name(method: &Method) -> &str {
    known(method).unwrap_or("HTTP")
}

fn version(version: Version) -> Option<&'static str> {
    Some(match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_11 => "1.1",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => return None,
    })
}

/// Returns a field whose value is text.
fn text<'a, B>(request: &'a Request<B>, name: &header::HeaderName) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// Returns the name, and the port if there is one, by which the client knows the server.
fn server<B>(request: &Request<B>) -> Option<(&str, Option<u16>)> {
    let of_target = request
        .uri()
        .authority()
        .map(|authority| authority.as_str());
    of_target
        .or_else(|| text(request, &header::HOST))
        .map(host_and_port)
}

/// Splits an authority into its host, an IPv6 address without its brackets, and its port. User information is dropped.
fn host_and_port(authority: &str) -> (&str, Option<u16>) {
    let (_, authority) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_its_port_are_told_apart() {
        for (authority, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:8080", "example.com", Some(8080)),
            ("[2001:db8::1]", "2001:db8::1", None),
            ("[2001:db8::1]:80", "2001:db8::1", Some(80)),
            ("user:secret@example.com:80", "example.com", Some(80)),
        ] {
            assert_eq!(host_and_port(authority), (host, port), "{authority}");
        }
    }

    #[test]
    fn methods_of_any_number_have_one_name() {
        let get = Method::GET;
        assert_eq!(
            (known(&get), original(&get), span_name(&get)),
            (Some("GET"), None, "GET")
        );
        let own = Method::from_bytes(b"PURGE").unwrap();
        assert_eq!(
            (known(&own), original(&own), span_name(&own)),
            (None, Some("PURGE"), "HTTP")
        );
    }
}
