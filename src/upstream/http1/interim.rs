//! Interim responses, which come before the response to a request (RFC 9110 15.2).

use std::sync::Arc;

use http::{Request, Response};

/// Has `f` called with the head of each interim response (1xx) to a request that is sent over HTTP/1, such as a 103
/// with hints, in their order and before the response future is ready.
///
/// 101 is no interim response in this sense. All of them together may be as long as
/// [one head](crate::upstream::ClientBuilder::max_response_head); with more, the exchange fails. A second call replaces
/// the first one. Over HTTP/2 none are seen. A proxy does not relay them: see
/// [`docs::headers`](crate::docs::headers).
///
/// ```
/// use axum_upstream::{Body, upstream};
///
/// let mut request = http::Request::new(Body::empty());
/// upstream::on_interim_response(&mut request, |response| println!("{}", response.status()));
/// ```
pub fn on_interim_response<B>(
    request: &mut Request<B>,
    f: impl Fn(&Response<()>) + Send + Sync + 'static,
) {
    request.extensions_mut().insert(OnInterim(Arc::new(f)));
}

/// What is called with interim responses, in the extensions of a request.
#[derive(Clone)]
struct OnInterim(Arc<InterimHook>);

/// A function of the user's.
type InterimHook = dyn Fn(&Response<()>) + Send + Sync;

/// Hands an interim response to whatever waits for those of this request.
pub(super) fn hand_on<B>(request: &Request<B>, response: &Response<()>) {
    if let Some(OnInterim(f)) = request.extensions().get() {
        f(response);
    }
}
