//! The real `LoadBalance` in virtual time, compared with tower's `Balance` and with an ideal balancer.
//!
//! - `sim`: the simulation, of which only clients, servers and time are simulated;
//! - `cases`: the scenarios, S1 to S23 of `docs/BALANCING.md`; `attacks`: those in which one client misbehaves;
//! - `goals`: what `cargo test` asserts about both, with shorter runs than those of `cargo bench --bench scenarios`;
//! - `simulation`: tests of the simulation itself.
//!
//! A run depends on its seed alone, so a failure can be repeated.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(unreachable_pub)]

mod attacks;
mod cases;
mod failing;
mod failing_goals;
mod goals;
mod sim;
mod simulation;
