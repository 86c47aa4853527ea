//! One HTTP/1 connection, driven by the task of the request that uses it.
//!
//! hyper splits a connection into a `SendRequest`, which takes requests, and a `Connection`, a future that has to be
//! polled for anything to be read or written. Usually the latter is spawned. Here the pair stays together, as an
//! [`Http1`], and is polled by whatever holds it. That saves a task per connection, a channel wake-up for every
//! message, and the second thread on which the spawned task may run.
//!
//! # Who drives a connection, and when
//!
//! | the connection is | held by | polled by |
//! |---|---|---|
//! | idle | the pool | the pool's reaper, and the next request that takes it |
//! | waiting for a response head | `Http1::send` | the task of the request |
//! | passing on a body | [`Http1Body`] | the task that reads the response body |
//! | still sending when its response begins | a spawned task | that task, to the end of the connection |
//! | asked to upgrade | a spawned task | that task, until hyper hands the stream over or the connection ends |
//!
//! The last two rows are the exceptions that need a task. If a response begins before the request body has been sent,
//! both bodies flow at once, and a connection driven by the response body would send nothing while its reader pauses:
//! an endpoint that waits for the upload, and a reader that waits for the endpoint, would wait for one another. After a
//! request to upgrade, the stream belongs to neither body.
//!
//! # How an exchange ends
//!
//! - The response ends and the request has been sent: the connection returns to the pool.
//! - The response ends first: a task sends the rest of the request for up to 30 s, and the connection closes.
//! - The response future or body is dropped before its end: the connection is dropped with it, and closes. HTTP/1 has
//!   no other way to cancel. A task that drives the connection ends within 30 s.
//! - An error: the connection closes.
//!
//! # Files
//!
//! `connection.rs` is the pair itself; `send.rs` sends one request on it; `body.rs` is the response body that drives
//! it. `io.rs` is the stream under hyper, which bounds what the endpoint sends, and `io_state.rs` what the stream and
//! the connection tell each other past hyper. `waker.rs` saves needless wake-ups. `framing.rs`, `expect.rs` and
//! `auth.rs` obey the rules of HTTP/1 that are about connections: `Content-Length` and chunks, `Expect: 100-continue`,
//! NTLM.
//!
//! Requests are not pipelined: a connection carries one exchange at a time, so that a slow or failing exchange affects
//! no other.

mod auth;
mod body;
mod connection;
mod expect;
mod framing;
mod io;
mod io_state;
mod send;
mod waker;

pub(super) use self::{
    body::Http1Body,
    connection::Http1,
    expect::expects_continue,
    framing::{is_of_unknown_length, settle_body},
};
