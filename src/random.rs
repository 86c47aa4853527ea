//! Random numbers that cannot be guessed.
//!
//! The key of the sticky session cookie and the seed of consistent hashing come from here: a client that could predict
//! them could choose its endpoint, or send all its requests to one.
//!
//! `fastrand`, which the rest of the crate uses, seeds itself from the clock, so that one of its numbers and the
//! approximate start time of the process give away all the others. It serves where a number may be known: which
//! endpoints are sampled, when a connection expires, the pseudonym in `Via`.

use crate::error::Error;

/// Returns `N` random bytes from the operating system's source.
///
/// Makes a system call, and may block early in boot until the source is seeded. It runs when a cluster is built, never
/// per request.
///
/// # Errors
///
/// Returns a config error that names `setting` if the source is unavailable, for example because a sandbox denies
/// access to it.
pub(crate) fn secret<const N: usize>(setting: &'static str) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::config(setting, error))?;
    Ok(bytes)
}
