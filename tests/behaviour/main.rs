//! What the proxy does, seen from outside. Numbers in test docs ("check 18") are those of `docs/CHECKS.md`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod balance;
mod deadlines;
mod framing;
mod headers;
mod mounting;
mod paths;
mod streaming;
mod support;
mod tls;
mod upgrade;
