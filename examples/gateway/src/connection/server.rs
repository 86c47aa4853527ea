//! hyper's servers of both versions, set up, and a connection under them.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
};

use super::{
    activity::{Activity, QuietLimits},
    drive::{Close, Drive, Stage},
    exchange::{HeadLimits, exchange},
    socket::Socket,
    stream::Streams,
    version,
};
use crate::BoxError;

/// The windows of HTTP/2. A stream gets enough for 20 Mbit/s at 100 ms; a connection gets enough for sixteen uploads
/// that stand still and one that does not.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 17 * STREAM_WINDOW;

/// At most so many requests of a connection of HTTP/2 are answered at a time.
const STREAMS: u32 = 128;

/// What is written for a stream of HTTP/2 and not yet sent.
const STREAM_BUFFER: usize = 64 << 10;

/// The least that hyper takes for a buffer of HTTP/1.
const LEAST_BUFFER: usize = 8 << 10;

/// For a head of HTTP/1 that does not end in time (RFC 9110, 15.5.9).
const TIMED_OUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    pub(crate) quiet: QuietLimits,
    pub(crate) head: HeadLimits,
    /// How long the client of a stream of HTTP/2 may take nothing of its response.
    pub(crate) stalled: Duration,
}

/// Serves connections of both versions.
#[derive(Debug)]
pub(crate) struct Server {
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
    limits: ConnectionLimits,
}

impl Server {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let HeadLimits { bytes, fields } = limits.head;
        let mut http1 = http1::Builder::new();
        http1
            // A client that has sent all that it wants to say is still answered.
            .half_close(true)
            .max_headers(fields)
            .max_header_size(bytes)
            // What a head may fill, and what is written and not taken.
            .max_buf_size(bytes.max(LEAST_BUFFER))
            // `Drive` has the clock, for both versions.
            .header_read_timeout(None);
        let mut http2 = http2::Builder::new(Streams::new(limits.stalled));
        http2
            .max_header_list_size(limits.head.header_list_size())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_BUFFER);
        Self {
            http1,
            http2,
            limits,
        }
    }

    /// Serves one connection until it ends, or is quiet for too long. It keeps its place as long as its socket is open.
    ///
    /// # Errors
    ///
    /// What hyper says of a client that breaks off, or does not speak HTTP.
    pub(crate) async fn serve<A, F, B>(
        &self,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        stage: watch::Receiver<Stage>,
        answer: A,
    ) -> hyper::Result<()>
    where
        A: FnOnce(Request<Incoming>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<B>> + Send + 'static,
        B: Body + Default + Send + Unpin + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let activity = Arc::new(Activity::new());
        let mut drive = Drive {
            activity: &activity,
            limits: self.limits.quiet,
            stage,
            http2: false,
        };
        let version = pin!(version::is_http2(stream));
        let version = drive.run(version, |_| Close::Drop).await;
        let Some(Ok((is_http2, stream, read))) = version else {
            return Ok(());
        };
        drive.http2 = is_http2;

        let noted = Arc::clone(&activity);
        let io = TokioIo::new(Socket::new(stream, read, !is_http2, noted, place));
        let (noted, head) = (Arc::clone(&activity), self.limits.head);
        let service =
            service_fn(move |request| exchange(Arc::clone(&noted), head, request, answer.clone()));
        if is_http2 {
            activity.await_request();
            let connection = pin!(self.http2.serve_connection(io, service));
            let ended = drive.run(connection, |connection| {
                connection.graceful_shutdown();
                Close::Asked
            });
            return ended.await.unwrap_or(Ok(()));
        }
        let connection = self.http1.serve_connection(io, service);
        let mut connection = connection.with_upgrades();
        let ended = drive.run(Pin::new(&mut connection), |connection| {
            connection.graceful_shutdown();
            Close::Asked
        });
        let ended = ended.await;
        // There are none after an upgrade.
        if let Some(parts) = connection.into_parts() {
            let socket = parts.io.into_inner();
            if ended.is_some() {
                socket.close().await;
            } else if activity.is_in_head() {
                socket.write_now(TIMED_OUT);
            }
        }
        ended.unwrap_or(Ok(()))
    }
}
