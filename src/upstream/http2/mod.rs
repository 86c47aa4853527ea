//! HTTP/2 connections, each shared by many requests to an endpoint.
//!
//! # Who drives what
//!
//! An HTTP/2 connection cannot be driven by a request, as an HTTP/1 connection is: it would stand still whenever the
//! task of that request does. So tasks drive it, all on the runtime where the connection was made:
//!
//! - *Socket*, spawned by hyper through [`spawn::Spawn`]: frames in and out, windows, pings. Ends with the socket, 1 s
//!   after the last use of the connection at the latest.
//! - *Dispatch*, spawned by [`Http2::handshake`]: takes requests from the senders and opens streams. Ends with the last
//!   sender, or with the connection.
//! - *Response*, one per request, spawned by hyper: waits for the head and hands it over. Ends with the head, or when
//!   the request is dropped.
//! - *Upload*, one per request body that is not sent at once, spawned by hyper: sends the body as the endpoint's
//!   windows allow. Ends with the body; aborted when its exchange is over.
//! - *Tunnel*, one per WebSocket, spawned by hyper: sends what is written to it. Ends with the stream.
//! - *Linger*, spawned by [`Http2Body`] or [`Stream`] for what outlives an exchange: an upload, for 30 s at most, or a
//!   reset that waits, for 50 ms at most.
//!
//! The response body is received by whatever task polls it.
//!
//! # States of a connection
//!
//! - *Handshake*: until the server's first SETTINGS have arrived. Not shared yet.
//! - *Open*: takes requests. It *has room* while its streams are fewer than the server and the windows allow, its
//!   uploads move, and few of its streams have been reset.
//! - *Suspect*: a request was dropped after 5 s without an answer, and nothing has been answered since. It takes no new
//!   requests until an answer to an old one arrives; with no streams left it is given up.
//! - *Closed*: by GOAWAY, an error, or the end of its life. Not shared any more; streams that are open finish where the
//!   socket still allows it.
//!
//! # One exchange does no harm to its neighbours
//!
//! All that one exchange does is kept to its own stream, as far as h2 allows:
//!
//! - what a client does not read fills the window of its stream, never that of the connection (`settings.rs`);
//! - a head or trailers that are too large fail their own stream (`size.rs`);
//! - an upload that the endpoint does not read makes new requests use another connection (`upload.rs`);
//! - resets are few on one connection, and none comes too early (`shared.rs`, `settings.rs`): servers close connections
//!   that see too many of them.
//!
//! `docs/LIMITS.md` has every limit with its reason. WebSockets are sent by extended CONNECT (RFC 8441) where the
//! server offers it (`websocket.rs`); other upgrades need HTTP/1.1. Not supported: server push, which is switched off
//! in SETTINGS, and priorities.

mod body;
mod connection;
mod error;
mod io;
mod request_length;
mod settings;
mod shared;
mod size;
mod spawn;
mod stream;
mod upload;
mod websocket;

pub(super) use self::{
    body::Http2Body, connection::Http2, request_length::settle_length, settings::Settings,
    stream::Stream, websocket::WebSocketRequest,
};
