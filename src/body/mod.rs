//! Bodies: the request body type that endpoints receive, and wrappers that limit, watch, time or count another body.
//!
//! A request body passes through these wrappers on its way up, from the client's connection to the endpoint's:
//!
//! 1. [`RequestBody`]: fails past the body limit, and filters trailers.
//! 2. [`GatheredBody`]: joins small frames.
//! 3. [`Body`]: the boxed type, which records the progress of the upload.
//!
//! A response body passes through these on its way down:
//!
//! 1. [`GuardedBody`]: notifies the guard of the attempt when the body ends. The balancer or the client adds it.
//! 2. [`GatheredBody`]: joins small frames.
//! 3. [`DeadlineBody`]: enforces the idle and total deadlines, and filters trailers.
//! 4. [`ReadBody`]: releases the endpoint when the client does not read.
//!
//! Every wrapper forwards `poll_frame`, `is_end_stream` and `size_hint`, because the server and the client that send a
//! body frame the message by the latter two: a wrapper that hid one would turn a `Content-Length` into chunks, or an
//! empty body into one of unknown length.
//!
//! Bodies stream: a frame is read when the other side has room for it, and at most a small one is held. No body is
//! decompressed or logged here, and none is replayed: `retry/replay.rs` keeps what may have to be sent again, and has
//! one [`Body`] follow another in the exchange.
//!
//! ```
//! use axum_upstream::Body;
//! use http_body::Body as _;
//!
//! let body = Body::from("hello");
//! assert_eq!(body.size_hint().exact(), Some(5));
//! assert!(Body::empty().is_end_stream());
//! ```

mod deadline;
mod exchange;
mod gathered;
mod guarded;
mod head;
mod kept;
mod link;
mod request;
mod response;
mod unread;
mod unread_watch;

pub use self::exchange::Body;
pub(crate) use self::{
    deadline::Deadlines,
    gathered::GatheredBody,
    guarded::{Guard, GuardedBody},
    head::copy_head,
    kept::KeptFrames,
    request::RequestBody,
    response::DeadlineBody,
    unread::ReadBody,
    unread_watch::UnreadWatch,
};
