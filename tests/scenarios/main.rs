//! The real `LoadBalance`, in virtual time, against the numbers of `docs/BALANCING.md`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]

mod attacks;
mod cases;
mod goals;
mod sim;
mod simulation;
