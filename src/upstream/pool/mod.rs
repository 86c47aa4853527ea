//! The connection pool of one endpoint.
//!
//! A [`Pool`] belongs to one client and its clones. It decides which connection a request is sent on, opens new ones,
//! keeps idle ones, and closes those that have ended or idled for too long.
//!
//! # Shelves
//!
//! A connection belongs to the runtime on which it was made, since that runtime's I/O driver watches its socket: polled
//! on another runtime it works, until the first shuts down. So each runtime has a shelf of its own, and none takes from
//! another's. With one runtime, multi-threaded or not, there is one shelf. An application that runs one current-thread
//! runtime per core has one shelf for each, and connections are never shared between cores.
//!
//! A shelf holds three kinds of connections:
//!
//! | kind | taken by | returned by |
//! |---|---|---|
//! | idle HTTP/1 | one request, which owns it | the end of the response body |
//! | HTTP/1 of one client, by NTLM or a PROXY header | a request of the same client connection | the same |
//! | HTTP/2 | any number of requests, each with a stream | never taken out; the stream gives its place up |
//!
//! # Life of a connection
//!
//! 1. *Connecting*: owned by the future of the request that opens it. Dropping that closes it.
//! 2. *In use* (HTTP/1), or *shared* (HTTP/2).
//! 3. *Idle*: on the shelf. The reaper watches it, and closes it after `pool_idle_timeout`, at `max_lifetime`, or when
//!    the server closes it.
//! 4. *Closed*. Its permit, if connections are limited, returns when the socket is closed, not when the pool forgets
//!    it.
//!
//! # Files
//!
//! `open.rs` has the steps from a request to a connection; `connections.rs` is the pool; `shelf.rs` what one runtime
//! keeps; `reaper.rs` the task that closes idle connections; `checkout.rs` what a request demands and receives.
//!
//! The pool neither retries a request (`resend.rs`), nor chooses among endpoints, nor opens connections ahead of
//! requests.

mod checkout;
mod connections;
mod open;
mod reaper;
mod shelf;

pub(super) use self::{
    checkout::{Checkout, Limits},
    connections::Pool,
};
