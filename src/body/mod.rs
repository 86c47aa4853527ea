//! Bodies: the one request body type endpoints see, and wrappers that hold, watch or limit another body.
//!
//! Every wrapper forwards `poll_frame`, `is_end_stream` and `size_hint`; a wrapper that hid one would change framing.
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
mod request;
mod response;
mod unread;

pub use self::exchange::Body;
pub(crate) use self::{
    deadline::{Deadlines, Timer},
    gathered::GatheredBody,
    guarded::{Guard, GuardedBody},
    request::RequestBody,
    response::DeadlineBody,
    unread::{ReadBody, UnreadWatch},
};
