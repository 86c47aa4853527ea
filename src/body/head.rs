//! Copies of a request head.

use http::Request;

/// Returns a request with a copy of the head of `request`, extensions included, and with `body`.
///
/// Field values are shared, not copied.
pub(crate) fn copy_head<A, B>(request: &Request<A>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}
