//! Changes to a request or response head, as pure functions.
//!
//! `head.rs` is the only file that says in which order they happen. Each step's rule and source stand in its own file;
//! `docs/HEADERS.md` lists every field.
//!
//! ```
//! use axum_upstream::{ReverseProxy, rewrite::HostPolicy};
//!
//! let proxy = ReverseProxy::to("http://127.0.0.1:5000")?
//!     .host(HostPolicy::Preserve)
//!     .strip_prefix("/api")?
//!     .trusted_peers(["10.0.0.0/8"])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```

mod client;
mod fields;
mod forwarded;
mod framing;
mod head;
mod hop_by_hop;
mod host;
mod list;
mod path;
mod trailers;
mod via;

pub use self::host::HostPolicy;
pub(crate) use self::{
    fields::{Fields, Seen, is_sensitive},
    forwarded::{ClientAddr, Downstream},
    framing::is_grpc,
    head::{NextStep, Rewrite},
    host::is_lent,
    list::tokens,
    path::{below, climbs, parse_prefix, strip_prefix},
    trailers::{TrailerRule, wants_trailers},
    via::Via,
};
