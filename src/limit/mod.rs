//! Limits on how much may be under way at once.

mod permits;

#[cfg(feature = "http2")]
pub(crate) use self::permits::PermitQueue;
pub(crate) use self::permits::{Found, Permit, Permits};
