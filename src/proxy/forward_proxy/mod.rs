//! The forward proxy, which connects to the servers that its clients name.
//!
//! What becomes of a request:
//!
//! 1. Its [`RequestTarget`] is parsed strictly (`target.rs`). A request in origin form is meant for this server itself.
//! 2. The [`TargetPolicy`] checks the target, the client and the user (`target_policy.rs`).
//! 3. A CONNECT becomes a tunnel (`connect.rs`), any other request is forwarded as a
//!    [`ReverseProxy`](crate::ReverseProxy) forwards it, to the client of its target (`target_clients.rs`).
//! 4. In either case the name is looked up once, by the connector of `upstream/`, and the policy checks each address
//!    before it is connected to (`network_rules.rs`).
//!
//! Authentication belongs in a layer in front.

mod connect;
mod facts;
mod future;
mod host_rules;
mod network_rules;
mod service;
mod settings;
mod special_purpose;
mod target;
mod target_clients;
mod target_policy;
mod tunnel_counts;
mod tunnel_log;

pub use self::{
    facts::{ProxyUser, TargetFacts},
    future::ForwardProxyFuture,
    settings::ForwardProxy,
    target::{RequestTarget, TargetProtocol},
    target_policy::TargetPolicy,
};
