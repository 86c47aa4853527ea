//! HTTP/2 connections, each shared by many requests to an endpoint.
//!
//! One exchange does no harm to its neighbours: `settings.rs` chooses windows and limits so that what one of them does
//! not read, or sends too much of, stays its own; `upload.rs` does what windows cannot.

mod body;
mod connection;
mod error;
mod io;
mod settings;
mod shared;
mod size;
mod spawn;
mod stream;
mod upload;

pub(super) use self::{
    body::Http2Body,
    connection::Http2,
    error::{is_go_away, is_refused, needs_http1},
    settings::Settings,
    stream::Stream,
};
