//! What can go wrong, which side is at fault, and the status it becomes.
//!
//! There is one [`Error`] for the whole crate. Its [`ErrorKind`] is decided where the exchange failed; the status code,
//! the log line and the attempt's [`Outcome`](crate::Outcome) all read that. `docs/ERRORS.md` has the table.
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
