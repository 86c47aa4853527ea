//! Copies of requests for a second service, as a test of it under real traffic.
//!
//! A [`MirrorLayer`] is put around the service that answers. A share of the requests is sent to a second service too;
//! its answer is read and dropped, or [compared](MirrorLayer::compare) with that of the first.
//!
//! ```
//! use axum_upstream::{LoadBalance, ReverseProxy, mirror::MirrorLayer};
//! use http::header::CONTENT_TYPE;
//! use tower::Layer;
//!
//! let backends = LoadBalance::new(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//! let candidate = LoadBalance::new(["http://127.0.0.1:6000"])?;
//! let mirror = MirrorLayer::new(candidate)
//!     .ratio(0.1)?
//!     // Without these, a copy of a POST does in the second service what the first has done.
//!     .matching(|head| head.method.is_safe())
//!     .compare([CONTENT_TYPE], |comparison| {
//!         if !comparison.is_equal() {
//!             println!("{} {}: {comparison:?}", comparison.method, comparison.uri);
//!         }
//!     });
//! let handle = mirror.handle();
//! let proxy = ReverseProxy::new(mirror.layer(backends));
//! println!("{} copies sent", handle.stats().sent);
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! # What the first service notices
//!
//! Nothing. It is called and polled before the copy, its body is read at its own pace, and no answer of the second one,
//! no failure and no delay reaches it or the client. Copies are sent by tasks of their own, which end with the layer
//! and its services. A client that disconnects does not cancel a copy that is under way.
//!
//! # What is copied
//!
//! Requests of all methods, as nginx and Envoy do, unless [`matching`](MirrorLayer::matching) says otherwise: **the
//! second service must not be one whose data matters**, or only safe methods may be copied. The head is that which the
//! first service gets, so behind a [`ReverseProxy`](crate::ReverseProxy) it has been rewritten, and `Host` becomes that
//! of the second service's endpoint under the same rules. No field marks the copy (Envoy appends `-shadow` to the host,
//! nginx has no mark); [`rewrite_request`](MirrorLayer::rewrite_request) can add one, and remove credentials. What
//! layers have put into the extensions of a request stays with the first, and so does `Expect`.
//!
//! The body is copied as the first service reads it, and sent to the second when it is complete, trailers included. So
//! the second service never sees a part of a request, and never holds the first up; but a call of gRPC that streams in
//! both directions is copied only when the client has said all.
//!
//! # What is left out
//!
//! Upgrades and CONNECT; bodies over the [limit](MirrorLayer::body_limit); requests that come while as many copies as
//! [there may be](MirrorLayer::max_in_flight) are under way; and bodies that the first has not read to their end.
//! The product of both limits bounds the data that is kept for copies; their heads come on top. [`MirrorStats`] counts
//! each request that is left out.

mod answer;
mod body;
mod copier;
mod copy;
mod future;
mod layer;
mod service;
mod settings;
mod state;
mod stats;
mod tee;
#[cfg(test)]
mod tests;

pub use self::{
    answer::{Comparison, MirrorAnswer},
    body::MirrorBody,
    future::MirrorFuture,
    layer::MirrorLayer,
    service::Mirror,
    stats::{MirrorHandle, MirrorStats},
};
