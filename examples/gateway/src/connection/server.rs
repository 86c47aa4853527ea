//! hyper's servers for both versions, set up with this program's limits, and one connection under them.
//!
//! The limits of both versions are the same, as far as hyper's settings allow it, but for the idle time. hyper's own
//! timers are off: [`Drive`] has the clock for both.

use std::{io, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use super::{
    activity::{Activity, QuietLimits},
    client_stream::ClientStream,
    drive::{Close, Drive, Ended, Stage},
    exchange::{HeadLimits, Upload, exchange},
    held_place::HeldPlace,
    http1,
    socket::Socket,
    stream::Streams,
    version,
};
use crate::BoxError;

/// The window of an HTTP/2 stream, in bytes: enough for 20 Mbit/s at a round trip of 100 ms.
const STREAM_WINDOW: u32 = 256 << 10;
/// The window of an HTTP/2 connection: enough for sixteen uploads that stand still and one that does not.
const CONNECTION_WINDOW: u32 = 17 * STREAM_WINDOW;

/// The largest number of requests of an HTTP/2 connection that are answered at a time.
const STREAMS: u32 = 128;

/// The number of bytes that may be written for an HTTP/2 stream and not yet sent.
const STREAM_BUFFER: usize = 64 << 10;

/// The smallest buffer of HTTP/1 that hyper accepts.
const LEAST_BUFFER: usize = 8 << 10;

/// What a connection may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionLimits {
    /// How long it may be quiet.
    pub(crate) quiet: QuietLimits,
    /// Takes the place of `quiet.idle` over HTTP/2.
    pub(crate) http2_idle: Duration,
    /// How large its request heads may be.
    pub(crate) head: HeadLimits,
    /// The longest time in which the client of an HTTP/2 stream takes nothing of its response.
    pub(crate) stalled: Duration,
}

/// A connection that is ready for HTTP.
#[derive(Debug)]
pub(crate) struct OpenedConnection<A> {
    /// What HTTP is spoken on.
    pub(crate) stream: ClientStream,
    /// Whether it is HTTP/2, if that was agreed on. `None` has the client's first bytes decide.
    pub(crate) is_http2: Option<bool>,
    /// Held for as long as the socket is open.
    pub(crate) place: HeldPlace,
    /// Answers its requests.
    pub(crate) answer: A,
}

/// Serves connections of both versions. One is shared by all connections.
#[derive(Debug)]
pub(crate) struct Server {
    http1: conn::http1::Builder,
    limits: ConnectionLimits,
}

impl Server {
    /// Returns a server with these limits.
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let HeadLimits { bytes, fields } = limits.head;
        let mut http1 = conn::http1::Builder::new();
        http1
            // A client that has closed its sending half is still answered.
            .half_close(true)
            .max_headers(fields)
            .max_header_size(bytes)
            // What a head may fill, and what may be written and not taken by the client.
            .max_buf_size(bytes.max(LEAST_BUFFER))
            // [`Drive`] has the clock.
            .header_read_timeout(None);
        Self { http1, limits }
    }

    /// Returns hyper's settings for one connection of HTTP/2.
    fn http2(&self, activity: Arc<Activity>) -> conn::http2::Builder<Streams> {
        let streams = Streams::new(self.limits.stalled, activity);
        let mut http2 = conn::http2::Builder::new(streams);
        http2
            .max_header_list_size(self.limits.head.header_list_size())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_BUFFER)
            // WebSockets (RFC 8441). The proxy refuses every other CONNECT.
            .enable_connect_protocol();
        http2
    }

    /// Serves one connection until it ends, or is quiet for too long. `open` makes it ready for HTTP; what it takes is
    /// part of the time of the first head.
    ///
    /// # Errors
    ///
    /// Returns hyper's error if the client breaks off, or does not speak HTTP.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, except for one that has been upgraded.
    pub(crate) async fn serve<A, F, B>(
        &self,
        stage: watch::Receiver<Stage>,
        open: impl Future<Output = io::Result<OpenedConnection<A>>>,
    ) -> hyper::Result<()>
    where
        A: FnOnce(Request<Upload<Incoming>>) -> F + Clone + Send + 'static,
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
        let ended = {
            let begin = pin!(begin(open));
            drive.run(begin, false, |_| Close::Drop).await
        };
        let Ended::Output(Ok((connection, is_http2, read))) = ended else {
            return Ok(());
        };
        drive.http2 = is_http2;

        let OpenedConnection {
            stream,
            place,
            answer,
            ..
        } = connection;
        let noted = Arc::clone(&activity);
        let socket = Socket::new(stream, read, !is_http2, noted, place);
        let (noted, head) = (Arc::clone(&activity), self.limits.head);
        let service =
            service_fn(move |request| exchange(Arc::clone(&noted), head, request, answer.clone()));
        if !is_http2 {
            return http1::serve(&self.http1, drive, socket, service).await;
        }
        // Before its first request, the connection has the time of a head: a preface asks for nothing.
        drive.limits.idle = self.limits.http2_idle;
        let http2 = self.http2(Arc::clone(&activity));
        // Boxed, as is the other one, so that neither has to keep room for both.
        let mut connection = Box::pin(http2.serve_connection(TokioIo::new(socket), service));
        let ended = drive.run(connection.as_mut(), false, |connection| {
            connection.graceful_shutdown();
            Close::Asked
        });
        match ended.await {
            Ended::Output(output) => output,
            Ended::Drop | Ended::Rest => Ok(()),
        }
    }
}

/// Makes a connection ready for HTTP, and finds out which version it is. Returns it with what has been read of it.
async fn begin<A>(
    open: impl Future<Output = io::Result<OpenedConnection<A>>>,
) -> io::Result<(OpenedConnection<A>, bool, Bytes)> {
    let mut connection = open.await?;
    match connection.is_http2 {
        Some(is_http2) => Ok((connection, is_http2, Bytes::new())),
        None => {
            let (is_http2, read) = version::is_http2(&mut connection.stream).await?;
            Ok((connection, is_http2, read))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        sync::Semaphore,
        time::{Instant, sleep},
    };

    use super::{super::RawStream, *};
    use crate::options::Options;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const PING: &[u8] = &[0, 0, 8, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    /// A HEADERS frame that is all of "GET http://a/".
    const GET: &[u8] = &[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x86, 0x84, 0x41, 1, b'a'];

    /// Both ends of a connection.
    async fn connected() -> (TcpStream, ClientStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let client = client.await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (client, ClientStream::Raw(RawStream::Tcp(stream)))
    }

    /// A connection that is ready for HTTP of either version.
    async fn opened<A>(stream: ClientStream, answer: A) -> OpenedConnection<A> {
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        OpenedConnection {
            stream,
            is_http2: None,
            place: HeldPlace::new(place, None),
            answer,
        }
    }

    /// How many seconds the default limits leave a client that says `first`, and `again` every ten seconds.
    async fn stays(first: &[u8], again: &[u8]) -> u64 {
        let (client, stream) = connected().await;
        let (mut reads, mut writes) = client.into_split();
        let (_tell, stage) = watch::channel(Stage::Open);
        let server = Server::new(crate::settings::limits(&Options::default()));
        let start = Instant::now();
        writes.write_all(first).await.unwrap();
        let answer = |_| async { Response::new(Body::empty()) };
        let serves = server.serve(stage, async { Ok(opened(stream, answer).await) });
        let says = async {
            loop {
                sleep(Duration::from_secs(10)).await;
                let _ = writes.write_all(again).await;
            }
        };
        let hears = async {
            let mut all = Vec::new();
            let _ = reads.read_to_end(&mut all).await;
        };
        tokio::select! {
            ((), _) = async { tokio::join!(hears, serves) } => start.elapsed().as_secs(),
            () = says => unreachable!(),
        }
    }

    /// A connection is in use for as long as a tunnel over HTTP/2 is, and idle when that has ended.
    #[tokio::test(start_paused = true)]
    async fn a_tunnel_keeps_its_connection() {
        let (client, stream) = connected().await;
        let (_tell, stage) = watch::channel(Stage::Open);
        let server = Server::new(crate::settings::limits(&Options::default()));
        let answer = |mut request: Request<_>| async move {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let stream = TokioIo::new(upgrade.await.unwrap());
                let (mut reads, mut writes) = tokio::io::split(stream);
                tokio::io::copy(&mut reads, &mut writes).await.unwrap();
                writes.shutdown().await.unwrap();
            });
            Response::new(Body::empty())
        };
        let serves = server.serve(stage, async { Ok(opened(stream, answer).await) });
        let speaks = async {
            let (mut send, connection) = h2::client::handshake(client).await.unwrap();
            let closes = tokio::spawn(connection);
            let mut request = Request::new(());
            *request.method_mut() = http::Method::CONNECT;
            *request.uri_mut() = "http://a/".parse().unwrap();
            let protocol = h2::ext::Protocol::from_static("websocket");
            request.extensions_mut().insert(protocol);
            let (response, mut up) = send.send_request(request, false).unwrap();
            let mut down = response.await.unwrap().into_body();
            for last in [false, true] {
                sleep(Duration::from_secs(3600)).await;
                up.send_data(Bytes::from_static(b"a"), last).unwrap();
                assert_eq!(down.data().await.unwrap().unwrap(), "a");
            }
            while let Some(rest) = down.data().await {
                assert_eq!(rest.unwrap(), "");
            }
            let ended = Instant::now();
            closes.await.unwrap().unwrap();
            ended.elapsed()
        };
        let (_, idled) = tokio::join!(serves, speaks);
        assert_eq!(idled.as_secs(), 55);
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_ask_for_nothing_are_closed_within_a_minute() {
        let settled = [PREFACE, SETTINGS].concat();
        let answered = [PREFACE, SETTINGS, GET].concat();
        let kinds = [
            ("nothing", &b""[..], &b""[..], 30),
            ("half a preface", b"PRI * HT", b"", 30),
            ("a preface", PREFACE, b"", 35),
            ("a preface and SETTINGS", &settled, b"", 35),
            ("pings", &settled, PING, 35),
            ("one request", &answered, b"", 55),
            ("one request, and pings", &answered, PING, 55),
        ];
        for (kind, first, again, seconds) in kinds {
            assert_eq!(stays(first, again).await, seconds, "{kind}");
        }
    }
}
