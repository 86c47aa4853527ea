//! Limits on how much may be under way at once.

mod permits;

pub(crate) use self::permits::{Permit, Permits};
