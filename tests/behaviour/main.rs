//! What the proxy does, seen from outside. Numbers in test docs ("check 18") are those of `docs/CHECKS.md`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod framing;
mod headers;
mod paths;
mod support;
mod upgrade;
