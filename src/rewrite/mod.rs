//! Changes to request and response heads.
//!
//! What a proxy must change is changed with no option set: hop-by-hop fields are removed, `X-Forwarded-*` fields and
//! `Via` are set, there is exactly one valid `Host` and one framing. Settings of [`ReverseProxy`](crate::ReverseProxy)
//! decide about the rest:
//!
//! ```
//! use axum_upstream::{ReverseProxy, rewrite::HostPolicy};
//!
//! let proxy = ReverseProxy::to("http://127.0.0.1:5000")?
//!     // The endpoint sees the client's `Host`, not its own authority.
//!     .host(HostPolicy::Preserve)
//!     // `/api/users` is forwarded as `/users`, with `X-Forwarded-Prefix: /api`.
//!     .strip_prefix("/api")?
//!     // The `X-Forwarded-*` fields of a proxy in this network are kept and appended to.
//!     .trusted_peers(["10.0.0.0/8"])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```
//!
//! All of it is pure: functions of a head and of settings, without I/O, clocks or shared state. `head.rs` is the only
//! file that states in which order the steps happen; each step's rule and its source are in a file of their own.
//! `docs/HEADERS.md` lists every field with its setting.
//!
//! Not here: a user's hooks, which `forward/` runs after all of these steps; what depends on the connection to the
//! endpoint, such as `Connection`, `Transfer-Encoding` and the final `Host`, which `upstream/` sets; and bodies, of
//! which this module filters only the trailers. Nothing is decoded or normalised, and a field that no rule mentions is
//! forwarded unchanged.

mod client;
mod cookie;
mod fields;
mod forwarded;
mod framing;
mod head;
mod hop_by_hop;
mod host;
mod list;
mod path;
mod reverse;
mod trailers;
mod via;

pub use self::host::HostPolicy;
pub(crate) use self::{
    cookie::cookie,
    fields::{Fields, Seen, is_sensitive},
    forwarded::{ClientAddr, Downstream},
    framing::is_grpc,
    head::{NextStep, Rewrite},
    host::is_lent,
    list::{members, tokens},
    path::{below, climbs, parse_prefix, strip_prefix},
    reverse::AskedFor,
    trailers::{TrailerRule, wants_trailers},
    via::Via,
};
