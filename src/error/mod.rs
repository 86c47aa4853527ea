//! The one error type of the crate: what went wrong, which side is at fault, and the status it becomes.
//!
//! An [`Error`] has an [`ErrorKind`], which is decided where the exchange failed. Everything else follows from the kind
//! by one table, [`ErrorKind::describe`]: the [`Side`] at fault, the status of the response, the words. The log line,
//! the attempt's [`Outcome`](crate::Outcome) and the predicates of `Error` all read the kind, so they cannot contradict
//! each other. `docs/ERRORS.md` shows the same table, and which errors lead to another attempt.
//!
//! This module only describes errors. Turning one into a response is the task of `proxy/respond.rs`; deciding whether a
//! request may be sent again is that of `balance/dispatch.rs` and `upstream/resend.rs`.
//!
//! ```
//! use axum_upstream::{EndpointSpec, ErrorKind};
//!
//! let error = EndpointSpec::url("ftp://example.com").unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Config);
//! assert_eq!(error.kind().as_str(), "config");
//! ```

mod kind;
mod opaque;

pub use self::{
    kind::{ErrorKind, Side},
    opaque::{BoxError, Error},
};
