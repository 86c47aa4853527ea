//! Forwards one request to one service, and relays its answer.
//!
//! [`Forward`] is the part of a proxy that knows HTTP and nothing of axum: what a gateway must do to a request and to
//! its response, whatever service is behind. The stages of an exchange:
//!
//! 1. [`Forward::start`] (`service.rs`) recognises an upgrade, has the head rewritten, runs the user's hooks on it, and
//!    limits the body. It ends with [`Start::Sent`], with [`Start::Answered`] if the request goes no further, or with
//!    an error: nothing has been sent then.
//! 2. [`ForwardFuture`] (`future.rs`) waits for the response head, within the deadlines of `head_timer.rs`.
//! 3. The response head is rewritten, hooks run on it, and its body is wrapped in those that enforce the deadlines
//!    (`body/response.rs`, `body/unread.rs`). A 101 becomes a tunnel instead (`tunnel/`).
//!
//! The order of the changes to a head is stated in `rewrite/head.rs`. Retries, balancing and what counts as an
//! endpoint's failure belong to the service behind; how an error becomes a response belongs to `proxy/`, in front.
//!
//! Who ends an exchange: the drop of the future or of the response body cancels it, at any point. A deadline that
//! passes is recorded ([`Record::stop`](crate::record::Record::stop)) before the drop, so that the attempt is not taken
//! for one whose client disconnected.

mod answer;
mod future;
mod head_timer;
mod hooks;
mod service;
mod settings;
mod timeouts;

pub use self::timeouts::RequestTimeouts;
pub(crate) use self::{
    future::ForwardFuture,
    service::{Forward, Received, Start},
};
