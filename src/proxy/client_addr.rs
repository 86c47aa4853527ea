//! What axum and the server around it know of a request beyond its head: the client's address, the scheme, a nested
//! prefix.
//!
//! All of it is read from the request's extensions, which no client can write to. It is collected here, in the only
//! folder that knows axum, and handed on as [`Received`]. Which forwarding fields are made of it, and whether the
//! client's own are believed, is decided in `rewrite/forwarded.rs`.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, NestedPath, OriginalUri};
use http::{Extensions, Request, uri::Scheme};

use crate::{forward::Received, rewrite::ClientAddr, telemetry::request_span};

/// Collects what is known of a request from its extensions.
///
/// `known` is the client's address if the proxy was made for one connection; it takes precedence over the extensions.
/// `default_scheme` is used if the server has not put a `Scheme` there.
pub(super) fn received<B>(
    request: &Request<B>,
    default_scheme: &'static str,
    known: Option<&ClientAddr>,
) -> Received {
    let extensions = request.extensions();
    let scheme = match extensions.get::<Scheme>() {
        Some(scheme) if *scheme == Scheme::HTTPS => "https",
        Some(_) => "http",
        None => default_scheme,
    };
    let client = client(extensions, known);
    Received {
        client,
        scheme,
        span: request_span(request, scheme),
        prefix: nested_prefix(extensions, request.uri().path()),
    }
}

/// Returns the client's address from the extensions.
///
/// axum puts it there as `ConnectInfo` under `into_make_service_with_connect_info`. A server of the user's own may put
/// the bare address there.
fn address(extensions: &Extensions) -> Option<SocketAddr> {
    let info = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0);
    info.or_else(|| extensions.get::<SocketAddr>().copied())
}

/// Returns the address of the client: `known`, or that in the extensions.
pub(super) fn client(extensions: &Extensions, known: Option<&ClientAddr>) -> Option<ClientAddr> {
    let known = known.cloned();
    known.or_else(|| address(extensions).map(ClientAddr::from))
}

/// Returns the prefix that `Router::nest` has removed. `None` outside of a nested router.
fn nested_prefix(extensions: &Extensions, path: &str) -> Option<String> {
    let nested_at = extensions.get::<NestedPath>()?.as_str();
    let original = extensions.get::<OriginalUri>()?.0.path();
    prefix_of(original, nested_at, path).map(str::to_owned)
}

/// Returns the original path without its end, which is `path`: what is left after nesting at the pattern `nested_at`.
///
/// ```text
/// original = /api/users     nested_at = /api     path = /users     -> /api
/// original = /api           nested_at = /api     path = /          -> /api
/// original = /blue/users    nested_at = /{name}  path = /users     -> /blue
/// ```
///
/// `None` also if the path is not the end of the original one: a layer in between has rewritten it, and what it did is
/// its own affair.
fn prefix_of<'a>(original: &'a str, nested_at: &str, path: &str) -> Option<&'a str> {
    let segments = |path: &str| {
        path.split('/')
            .filter(|segment| !segment.is_empty())
            .count()
    };
    let prefix = match original.strip_suffix(path) {
        Some(prefix) => prefix,
        // Nested at `/a`, a request for `/a` itself arrives as `/`. So does one whose path a layer has rewritten to
        // `/`.
        None if path == "/" && segments(original) == segments(nested_at) => original,
        None => return None,
    };
    (!prefix.is_empty()).then_some(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nested_prefix_is_what_is_missing() {
        assert_eq!(prefix_of("/api/x", "/api", "/x"), Some("/api"));
        assert_eq!(prefix_of("/api/", "/api", "/"), Some("/api"));
        assert_eq!(prefix_of("/api", "/api", "/"), Some("/api"));
        assert_eq!(prefix_of("/blue/x", "/{name}", "/x"), Some("/blue"));
        assert_eq!(prefix_of("/x", "/api", "/x"), None);
        assert_eq!(prefix_of("/api/x", "/api", "/rewritten"), None);
        assert_eq!(prefix_of("/api/x", "/api", "/"), None, "rewritten, too");
    }

    #[test]
    fn the_address_is_found_in_either_place() {
        let first: SocketAddr = "192.0.2.1:9".parse().unwrap();
        let mut request = Request::new(());
        assert_eq!(address(request.extensions()), None);
        request.extensions_mut().insert(first);
        assert_eq!(address(request.extensions()), Some(first));
        let other: SocketAddr = "192.0.2.2:9".parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(other));
        assert_eq!(address(request.extensions()), Some(other));
    }
}
