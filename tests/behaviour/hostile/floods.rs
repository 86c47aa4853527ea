//! Sides that send without end what is never passed on. The bytes are in memory and always ready, so that whatever does
//! not give its turn back by itself never does; the clock moves by hand.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::Router;
use axum_upstream::{Body, BoxError, ReverseProxy, upstream::Client};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::Instant,
};
use tower::{ServiceExt, service_fn};

use crate::support::{direct::get, h2, server::speak};

/// An endpoint that answers `first`, and `again` for ever.
#[derive(Clone)]
struct Flood {
    first: &'static str,
    again: &'static str,
    /// The most that one read gets.
    per_read: usize,
    sent: Arc<AtomicUsize>,
}

impl Flood {
    fn new(first: &'static str, again: &'static str) -> Self {
        Self {
            first,
            again,
            per_read: usize::MAX,
            sent: Arc::default(),
        }
    }

    fn trickling(self, per_read: usize) -> Self {
        Self { per_read, ..self }
    }

    fn client(&self) -> Client {
        let flood = self.clone();
        let connector = service_fn(move |_: http::Uri| {
            let io = FloodIo {
                flood: flood.clone(),
                reader: None,
                asked: false,
                offset: 0,
            };
            async { Ok::<_, Infallible>(TokioIo::new(io)) }
        });
        Client::builder()
            .connector(connector)
            .build("http://endpoint")
            .unwrap()
    }

    fn sent(&self) -> usize {
        self.sent.load(Relaxed)
    }
}

struct FloodIo {
    flood: Flood,
    reader: Option<Waker>,
    asked: bool,
    /// How far `first`, followed by `again` and `again`, has been read.
    offset: usize,
}

/// What no test gets to: a proxy that reads this much would read for ever.
const ENDLESS: usize = 16 << 20;

impl AsyncRead for FloodIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let Flood {
            first,
            again,
            per_read,
            ..
        } = self.flood;
        let len = buf.remaining().min(per_read);
        if self.offset > ENDLESS {
            return Poll::Ready(Ok(()));
        }
        for _ in 0..len {
            let at = self.offset;
            let byte = match first.as_bytes().get(at) {
                Some(byte) => *byte,
                None => again.as_bytes()[(at - first.len()) % again.len()],
            };
            buf.put_slice(&[byte]);
            self.offset += 1;
        }
        self.flood.sent.fetch_add(len, Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for FloodIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.asked = true;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs `work`, a tenth of a second passing each time it gives its turn back.
async fn while_time_passes<T>(work: impl Future<Output = T>) -> T {
    let clock = async {
        loop {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        () = clock => unreachable!(),
    }
}

fn request() -> Request<Body> {
    Request::get("http://a/").body(Body::empty()).unwrap()
}

const INTERIM: &str = "HTTP/1.1 102 Processing\r\n\r\n";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The deadline passes while the endpoint never stops sending interim answers.
#[tokio::test(start_paused = true)]
async fn interim_answers_do_not_keep_the_head_from_being_due() {
    let flood = Flood::new("", INTERIM).trickling(INTERIM.len());
    let proxy = ReverseProxy::new(flood.client()).response_timeout(Duration::from_secs(3));
    let start = Instant::now();
    let response = while_time_passes(proxy.oneshot(request())).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(start.elapsed().as_secs(), 3);
}

/// And at full speed, they are over when they have been as long as any head may be.
#[tokio::test(start_paused = true)]
async fn interim_answers_without_end_are_a_502() {
    let flood = Flood::new("", INTERIM);
    let proxy = ReverseProxy::new(flood.client());
    let response = proxy.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert!(flood.sent() <= 2 << 20, "{} bytes", flood.sent());
}

#[tokio::test]
async fn a_few_interim_answers_are_no_harm() {
    for interim in [
        "HTTP/1.1 102 Processing\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    ] {
        let answer = interim.repeat(1000) + crate::support::proxy::OK;
        let exchange = crate::support::proxy::exchange(crate::support::proxy::get(""), &answer);
        assert_eq!(exchange.await.down.text(), "ok");
    }
}

/// Chunk framing that never comes to an end, in each of its parts.
#[tokio::test(start_paused = true)]
async fn chunk_framing_without_end_breaks_the_body_off() {
    let parts = [
        ("", "0"),
        ("1", " "),
        ("1;", "a"),
        ("0\r\n", "a: b\r\n"),
        ("0\r\na: ", "b"),
    ];
    for (begin, again) in parts {
        let first: &'static str = format!("{CHUNKED}{begin}").leak();
        let flood = Flood::new(first, again);
        let response = flood.client().oneshot(get()).await.unwrap();
        assert!(
            response.into_body().collect().await.is_err(),
            "{begin}{again}"
        );
        assert!(
            flood.sent() <= 2 << 20,
            "{begin}{again}: {} bytes",
            flood.sent()
        );
    }
}

/// Chunks that are mostly framing are bounded over all of a body, too.
#[tokio::test(start_paused = true)]
async fn padded_chunks_without_end_break_the_body_off() {
    let padded: &'static str = format!("{}1\r\nx\r\n", "0".repeat(4000)).leak();
    let flood = Flood::new(CHUNKED, padded);
    let response = flood.client().oneshot(get()).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert!(flood.sent() <= 4 << 20, "{} bytes", flood.sent());
}

/// A little padding, as some servers write it, is none.
#[tokio::test]
async fn sizes_of_a_fixed_width_pass() {
    let answer = format!("{CHUNKED}{}0\r\n\r\n", "00000001\r\nx\r\n".repeat(100_000));
    let exchange = crate::support::proxy::exchange(crate::support::proxy::get(""), &answer);
    assert_eq!(exchange.await.down.body.len(), 100_000);
}

/// In mid-body, it is the idle time that passes.
#[tokio::test(start_paused = true)]
async fn chunk_framing_is_no_movement() {
    let flood = Flood::new(CHUNKED, "0").trickling(1);
    let proxy = ReverseProxy::new(flood.client()).idle_timeout(Duration::from_secs(5));
    let start = Instant::now();
    let read = async {
        let response = proxy.oneshot(request()).await.unwrap();
        response.into_body().collect().await
    };
    assert!(while_time_passes(read).await.is_err());
    assert_eq!(start.elapsed().as_secs(), 5);
}

/// The other direction: a client that sends the size of a chunk for ever has stalled.
#[tokio::test(start_paused = true)]
async fn a_client_that_sends_no_content_is_a_408() {
    let reads = service_fn(|request: Request<Body>| async {
        request.into_body().collect().await?;
        Ok::<_, BoxError>(Response::new(Body::empty()))
    });
    let proxy = ReverseProxy::new(reads).idle_timeout(Duration::from_secs(5));
    // Little at a time, as a byte of this costs much in a debug build.
    let (client, server) = tokio::io::duplex(256);
    tokio::spawn(speak(server, Router::new().fallback_service(proxy)));
    let (mut reads, mut writes) = tokio::io::split(client);
    tokio::spawn(async move {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = writes.write_all(head.as_bytes()).await;
        while writes.write_all(&[b'0'; 4096]).await.is_ok() {}
    });
    let start = Instant::now();
    let mut status = [0; 12];
    while_time_passes(reads.read_exact(&mut status))
        .await
        .unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
    assert_eq!(start.elapsed().as_secs(), 5);
}

/// HTTP/2: the connection reads what the endpoint sends in a task of its own, and the deadline runs beside it.
#[tokio::test(start_paused = true)]
async fn interim_answers_over_http2_do_not_keep_the_head_from_being_due() {
    let (client, mut endpoint) = h2::endpoint(Client::builder(), |_| ());
    tokio::spawn(async move {
        let mut asked = endpoint.next().await;
        loop {
            let interim = Response::builder().status(102).body(()).unwrap();
            if asked.respond.send_informational(interim).is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    });
    let proxy = ReverseProxy::new(client).response_timeout(Duration::from_secs(3));
    let start = Instant::now();
    let response = while_time_passes(proxy.oneshot(request())).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(start.elapsed().as_secs(), 3);
}

/// Small chunks that are there together go on together.
#[tokio::test(start_paused = true)]
async fn chunks_that_are_ready_together_go_on_together() {
    let flood = Flood::new(CHUNKED, "1\r\nx\r\n");
    let response = ReverseProxy::new(flood.client())
        .oneshot(request())
        .await
        .unwrap();
    let mut body = response.into_body();
    let mut length = 0;
    for _ in 0..10 {
        length += body
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap()
            .len();
    }
    assert!(length >= 5_000, "{length} bytes in 10 frames");
}
