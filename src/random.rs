//! Numbers that cannot be guessed.
//!
//! `fastrand` seeds itself by the clock, so that one of its numbers, and roughly when the process began, give away all
//! others. It is for numbers that may be known: which endpoint is drawn, when a connection is closed.

use crate::error::Error;

/// Random bytes from the operating system's source.
///
/// # Errors
///
/// A config error, named for the `setting` that needs them, if the source cannot be used: a sandbox may deny it.
pub(crate) fn secret<const N: usize>(setting: &'static str) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::config(setting, error))?;
    Ok(bytes)
}
