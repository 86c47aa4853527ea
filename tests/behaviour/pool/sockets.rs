//! A place among `max_connections` is a socket's, over HTTP/2 too: taken before it opens, and free when it has closed.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use axum_upstream::upstream::Client;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf},
    sync::mpsc,
    time::sleep,
};
use tower::{ServiceExt, service_fn};

use crate::support::{
    counted::{Count, Counted},
    direct::{get, post},
    h2::settle,
    server, within,
};

const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

/// Counts as open until the client drops it.
struct CountedIo {
    stream: DuplexStream,
    _counted: Counted,
}

impl AsyncRead for CountedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CountedIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A client of one connection at most, the server's ends of those it makes, and their count.
fn one_at_a_time() -> (Client, mpsc::UnboundedReceiver<DuplexStream>, Count) {
    let (tell, made) = mpsc::unbounded_channel();
    let count = Count::default();
    let counted = count.clone();
    let connector = service_fn(move |_: http::Uri| {
        let (stream, theirs) = tokio::io::duplex(1024);
        tell.send(theirs).unwrap();
        let _counted = counted.enter();
        async { Ok::<_, Infallible>(TokioIo::new(CountedIo { stream, _counted })) }
    });
    let client = Client::builder().max_connections(1).connector(connector);
    (client.build("h2c://endpoint").unwrap(), made, count)
}

/// Reads the preface of a client, and sends SETTINGS with nothing in them.
async fn greet(connection: &mut DuplexStream) {
    connection.read_exact(&mut [0; 24]).await.unwrap();
    let settings = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    connection.write_all(&settings).await.unwrap();
}

/// Reads up to the end of the next frame of HEADERS.
async fn read_head(connection: &mut DuplexStream) {
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        connection.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS {
            return;
        }
    }
}

/// RFC 9113 6.8: a server that says goodbye may finish the streams it names. Until then the connection has its place,
/// and a request that the goodbye left untouched waits for a connection that is new.
#[tokio::test(start_paused = true)]
async fn a_goodbye_frees_no_place() {
    within(async {
        let (client, mut connections, count) = one_at_a_time();
        let kept = tokio::spawn(client.clone().oneshot(get()));
        let mut first = connections.recv().await.unwrap();
        greet(&mut first).await;
        read_head(&mut first).await;
        let untouched = tokio::spawn(client.clone().oneshot(get()));
        read_head(&mut first).await;
        // The last stream it names is the first.
        let goodbye = [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        first.write_all(&goodbye).await.unwrap();
        let later = tokio::spawn(client.clone().oneshot(post("x")));
        settle().await;
        assert!(!untouched.is_finished() && !later.is_finished());
        assert_eq!(count.made(), 1);

        // HEADERS with END_STREAM and END_HEADERS: ":status: 200".
        let answer = [0, 0, 1, HEADERS, 5, 0, 0, 0, 1, 0x88];
        first.write_all(&answer).await.unwrap();
        assert_eq!(kept.await.unwrap().unwrap().status(), 200);
        let second = connections.recv().await.unwrap();
        let app = Router::new().fallback(|| async { "ok" });
        tokio::spawn(server::speak(second, app));
        for answer in [untouched, later] {
            assert_eq!(answer.await.unwrap().unwrap().status(), 200);
        }
        assert_eq!((count.made(), count.most()), (2, 1));
    })
    .await;
}

/// A server that has stopped reading cannot keep the place of a connection that has no use any more.
#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_say_goodbye_is_closed() {
    within(async {
        let (client, mut connections, count) = one_at_a_time();
        let upload = "x".repeat(32 << 10);
        let given_up = tokio::spawn(client.clone().oneshot(post(upload)));
        let mut first = connections.recv().await.unwrap();
        greet(&mut first).await;
        read_head(&mut first).await;
        // Long enough for the connection to be suspect.
        sleep(Duration::from_secs(6)).await;
        given_up.abort();
        let next = tokio::spawn(client.clone().oneshot(get()));
        let second = connections.recv().await.unwrap();
        let app = Router::new().fallback(|| async { "ok" });
        tokio::spawn(server::speak(second, app));
        assert_eq!(next.await.unwrap().unwrap().status(), 200);
        assert_eq!((count.made(), count.most()), (2, 1));
    })
    .await;
}
