//! What the proxy does, seen from outside. Numbers in test docs ("check 18") are those of `docs/CHECKS.md`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// A test binary exports nothing, so the lint would have every `pub` of `support` be `pub(crate)`.
#![allow(unreachable_pub)]

mod access_log;
mod auth;
mod balance;
mod clusters;
mod connect;
mod deadlines;
mod empty_bodies;
mod expect;
mod facts;
mod failing;
mod forward_proxy;
mod framing;
mod grpc;
mod headers;
mod health;
mod hooks;
mod hostile;
mod http10;
mod http2;
mod limits;
mod max_connections;
mod mirror;
mod mounting;
mod neighbours;
mod outcomes;
mod paths;
mod pool;
mod proxy_protocol;
mod reverse_mapping;
mod split;
mod streaming;
mod support;
mod tls;
#[cfg(feature = "opentelemetry")]
mod trace_context;
mod tracing;
mod unread;
mod upgrade;
mod websocket;
