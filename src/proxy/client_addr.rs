//! What axum and the server around it know of a request beyond its head.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, OriginalUri};
use http::{Extensions, Request, uri::Scheme};

use crate::{forward::Received, rewrite::ClientAddr};

/// Collects it from the request's extensions.
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
    let client = known
        .cloned()
        .or_else(|| address(extensions).map(ClientAddr::from));
    Received {
        client,
        scheme,
        prefix: nested_at(extensions, request.uri().path()),
    }
}

/// `ConnectInfo` is there under `into_make_service_with_connect_info`; a server of one's own may put the bare address.
fn address(extensions: &Extensions) -> Option<SocketAddr> {
    let info = extensions
        .get::<ConnectInfo<SocketAddr>>()
        .map(|info| info.0);
    info.or_else(|| extensions.get::<SocketAddr>().copied())
}

/// What `Router::nest` took off: the original path without its end, which is what is left.
fn nested_at(extensions: &Extensions, path: &str) -> Option<String> {
    let original = extensions.get::<OriginalUri>()?.0.path();
    let prefix = match original.strip_suffix(path) {
        Some(prefix) => prefix,
        // Nested at /a, a request for /a itself arrives as /.
        None if path == "/" => original,
        None => return None,
    };
    (!prefix.is_empty()).then(|| prefix.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(original: &'static str, path: &'static str) -> Option<String> {
        let mut request = Request::get(path).body(()).unwrap();
        request
            .extensions_mut()
            .insert(OriginalUri(original.parse().unwrap()));
        received(&request, "http", None).prefix
    }

    #[test]
    fn the_nested_prefix_is_what_is_missing() {
        assert_eq!(prefix("/api/x?q", "/x?q").as_deref(), Some("/api"));
        assert_eq!(prefix("/api/", "/").as_deref(), Some("/api"));
        assert_eq!(prefix("/api", "/").as_deref(), Some("/api"));
        assert_eq!(prefix("/x", "/x"), None);
        assert_eq!(prefix("/x", "/rewritten"), None);
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
