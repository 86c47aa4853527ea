//! What has happened so far: who has asked for what, and what the origin has answered.

use super::{ask::Ask, clock::Clock, head::Head};

/// One request to the origin, and its response.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The number of the response, which is in its head and in its content.
    pub id: usize,
    /// The number of the request of the client whose fields it had.
    pub client: usize,
    pub method: &'static str,
    pub url: usize,
    pub head: Head,
    /// The response that it is about: the one that a 304, or the head for a HEAD, confirms; or else itself.
    pub of: usize,
    pub length: usize,
    /// Whether the content ends too early.
    pub breaks: bool,
    /// Whether there are fields behind the content.
    pub has_trailers: bool,
    /// Whether the service fails.
    pub fails: bool,
    pub sent: u64,
    /// When its head came.
    pub came: u64,
    /// When its content was complete.
    pub completed: Option<u64>,
}

/// Something that has to be gone from the cache.
#[derive(Clone, Copy, Debug)]
pub struct Invalidation {
    /// `None` is all of them.
    pub url: Option<usize>,
    pub at: u64,
}

/// All of it.
#[derive(Debug)]
pub struct Record {
    pub clock: Clock,
    pub random: fastrand::Rng,
    pub asks: Vec<Ask>,
    pub exchanges: Vec<Exchange>,
    pub invalidations: Vec<Invalidation>,
    /// How often a response was one that was stored or shared, as opposed to one of the request's own.
    pub reused: usize,
    /// How often the model has expected a hit.
    pub expected: usize,
}

impl Record {
    pub fn new(seed: u64) -> Self {
        Self {
            clock: Clock::start(),
            random: fastrand::Rng::with_seed(seed),
            asks: Vec::new(),
            exchanges: Vec::new(),
            invalidations: Vec::new(),
            reused: 0,
            expected: 0,
        }
    }
}

/// Returns the content of a response.
pub fn content(id: usize, length: usize) -> String {
    let name = format!("{id}.");
    name.chars().cycle().take(length).collect()
}
