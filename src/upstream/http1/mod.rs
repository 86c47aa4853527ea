//! One HTTP/1 connection, driven by the task of the request that uses it.
//!
//! The connection, its parser and its body decoder are one value, an [`Http1`], and whatever holds it polls it. That
//! saves a task per connection, a channel between it and the request, and the second thread on which it may run.
//!
//! # Who drives a connection, and when
//!
//! | the connection is | held by | polled by |
//! |---|---|---|
//! | idle | the pool | the pool's reaper, and the next request that takes it |
//! | waiting for a response head | [`Http1Exchange`] | the task of the request |
//! | passing on a body | [`Http1Body`] | the task that reads the response body |
//! | still sending when its response begins | a spawned task | that task, until both have ended |
//! | still sending when the endpoint switches protocols | a spawned task | that task, until the request is sent |
//!
//! The last two rows are the exceptions that need a task. If a response begins before the request body has been sent,
//! both bodies flow at once, and a connection driven by the response body would send nothing while its reader pauses:
//! an endpoint that waits for the upload, and a reader that waits for the endpoint, would wait for one another.
//!
//! # How an exchange ends
//!
//! - The request ends, and then the response: the connection returns to the pool.
//! - The response ends first: a task sends the rest of the request for up to 30 s, and the connection closes.
//! - The endpoint agrees to switch protocols: the connection goes to the tunnel, and never returns.
//! - The response future or body is dropped before its end: the connection closes. HTTP/1 has no other way to cancel.
//! - An error: the connection closes.
//!
//! # What is stricter than it has to be
//!
//! A proxy that is lenient where its neighbours are not is how messages are smuggled and split. So a connection that
//! has anything to read before a request is written closes; chunks are read by the letter of their syntax; the size of
//! heads, trailers, chunk lines and chunk extensions, the number of fields and of interim responses are bounded.
//!
//! # Files
//!
//! From the inside out: `read_buffer.rs` and `writer.rs` are the bytes in both directions; `request_head.rs`,
//! `upload.rs`, `response_head.rs`, `response_length.rs`, `chunked.rs` and `decoder.rs` turn messages into bytes and
//! back; `wire.rs` holds them together; `connection.rs` is what a connection is between two exchanges; `exchange.rs`
//! sends one request; `body.rs`, `duplex.rs` and `tunnel.rs` are what follows its response head. `empty_body.rs`,
//! `expect.rs`, `interim.rs` and `auth.rs` obey the rules of HTTP/1 that are about single requests: bodies that turn
//! out to be empty, `Expect: 100-continue`, 1xx, NTLM.
//!
//! Requests are not pipelined: a connection carries one exchange at a time, so that a slow or failing exchange affects
//! no other.

mod auth;
mod body;
mod chunked;
mod connection;
mod decoder;
mod duplex;
mod empty_body;
mod error;
mod exchange;
mod expect;
mod interim;
mod read_buffer;
mod request_head;
mod response_head;
mod response_length;
mod tunnel;
mod upload;
mod wire;
mod writer;

pub use self::interim::on_interim_response;
pub(super) use self::{
    body::Http1Body,
    connection::Http1,
    empty_body::{is_of_unknown_length, settle_body},
    exchange::Http1Exchange,
    expect::expects_continue,
};
