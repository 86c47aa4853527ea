//! Fuzz targets of `axum-upstream`.
//!
//! A target is a function over bytes that panics when the crate breaks a promise. `cargo +nightly fuzz run NAME` calls
//! it with inputs that libFuzzer finds by coverage. `cargo test` calls it on any toolchain (`tests/targets.rs`): with
//! the seeds in `fuzz/seeds/NAME/`, which are inputs worth keeping, and with inputs that proptest puts together from
//! pieces.
//!
//! All that a target sees of the crate is its public API, so that it holds for whatever is inside.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod exchange;
mod forwarded;
mod input;
mod paths;
mod pool;
mod proxy;
mod proxy_headers;
mod request_head;
mod requests;
mod response_head;
mod responses;
mod rules;
mod urls;

pub use self::{
    exchange::exchange,
    forwarded::forwarded,
    paths::paths,
    pool::pool,
    proxy_headers::proxy_headers,
    request_head::request_head,
    requests::requests,
    response_head::response_head,
    responses::{response_message, responses},
    urls::urls,
};

/// A target's name, its function, and pieces that its inputs are made of.
pub type Target = (&'static str, fn(&[u8]), &'static [&'static str]);

/// All targets.
pub const TARGETS: [Target; 10] = [
    ("request_head", request_head, input::FIELDS),
    ("response_head", response_head, input::FIELDS),
    ("forwarded", forwarded, forwarded::PIECES),
    ("paths", paths, paths::PIECES),
    ("urls", urls, urls::PIECES),
    ("exchange", exchange, exchange::PIECES),
    ("pool", pool, pool::PIECES),
    ("responses", responses, responses::PIECES),
    ("requests", requests, requests::PIECES),
    ("proxy_headers", proxy_headers, proxy_headers::PIECES),
];
