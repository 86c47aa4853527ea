//! One HTTP/1 connection, driven by the task of the request that uses it.
//!
//! hyper splits a connection into a `SendRequest` and a `Connection` that has to be polled. Whatever holds the pair
//! polls both: the response future first, then the response body. There is no spawned task, so no channel wake-up and
//! no second thread. Two exchanges cannot go that way and get a task for the rest of the connection's life: an upgrade,
//! and a response that starts before the request body has been sent, where both bodies would wait for one another.

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
