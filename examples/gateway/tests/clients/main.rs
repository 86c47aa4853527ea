//! The gateway as a program, and clients that do not behave.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
// They send signals, and count on what Linux does with sockets.
#![cfg(target_os = "linux")]

mod authority;
mod cache;
mod client_certificates;
mod config;
mod discovery;
mod files;
mod flags;
mod half_closed;
mod heads;
mod idle;
mod limits;
mod log;
mod proxy_protocol;
mod redirect;
mod reload;
mod shutdown;
mod silent;
mod stalled;
mod support;
mod systemd;
mod tls;
mod unix;
mod uploads;
mod workers;
