//! Configuration by a file or by data: what is refused, which route gets a request, what a change does.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` be `pub(crate)`.
#![allow(unreachable_pub)]

mod documents;
mod errors;
mod reload;
mod routes;
mod support;
