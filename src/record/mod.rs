//! The record of one exchange: a client's request and its response, with every attempt to get it.
//!
//! There is one [`Record`] per exchange, in an `Arc` that is created when the request arrives and travels with the
//! request body (see `body/exchange.rs`). It is the only channel between the parts that an exchange passes through:
//!
//! - `body/` writes how far the request body has come ([`UploadState`]); deadlines, the connection and the error
//!   mapping read it.
//! - `forward/` and `body/` write why the proxy gave the exchange up ([`Record::stop`]).
//! - `upstream/` writes whether anything has been sent ([`Record::not_sent`], [`Record::sending`]).
//! - The balancer, or a client that is used without one, adds an [`Attempt`] per endpoint, through an [`AttemptGuard`].
//! - Users read all attempts through [`Info`], from the extensions of a response.
//!
//! How an attempt ended is decided in one place, [`Outcome::decide`], and only once.
//!
//! Nothing here takes a lock, except for a span that is enabled: fields are atomics or are set once, and attempts are
//! only ever appended. Nothing here logs, counts or decides about retries either; those who need an outcome read it.
//!
//! ```text
//! Record ── upload: Upload            one per exchange
//!       ├── stopped: ErrorKind        set at most once
//!       ├── ended                     set once, by the part that the exchange began with
//!       └── attempts: Attempt ─► Attempt ─► …    in order of their start, those of inner clusters included
//!                        └── outcome           set once, by its AttemptGuard
//! ```

mod attempt;
mod client;
mod endpoint_id;
mod exchange;
#[cfg(feature = "status")]
mod explanation;
mod guard;
mod info;
mod open_span;
mod outcome;
mod server_timing;
mod upload;

#[cfg(feature = "status")]
pub(crate) use self::explanation::optional_seconds;
#[cfg(feature = "status")]
pub use self::explanation::{Candidate, EndpointState, Explanation};
pub use self::{
    attempt::Attempt,
    info::Info,
    outcome::{Outcome, Stage},
};
pub(crate) use self::{
    attempt::Beginning,
    client::{ClientConnection, ClientFacts},
    endpoint_id::EndpointId,
    exchange::{ExchangeGuard, OnEnd, Record},
    guard::AttemptGuard,
    info::InfoSlot,
    open_span::spans_are_wanted,
    outcome::{ResponseClass, class_of_grpc_status, class_of_head},
    upload::{OnSent, UploadState},
};
