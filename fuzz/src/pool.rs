//! The connections to one endpoint, under any order of events, on two runtimes.
//!
//! The input is a schedule: which request starts, is polled or is dropped next, which runtime gets a turn, what the
//! endpoint does with each request. A request is polled only when it has been woken, as an executor would, so that a
//! lost wake-up leaves it where it is. Whatever the order,
//!
//! - no more connections are open than may be,
//! - each request is answered with what is its own, or fails,
//! - an endpoint that answers at once gets all requests answered without any timeout passing,
//! - when all have gone, no connection and no task is left.
//!
//! One thread plays both runtimes, so each step is atomic: what two threads do inside of one step is not tried.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use axum_upstream::{Body, upstream::Client};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{
        AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, ReadBuf,
        duplex,
    },
    runtime::Runtime,
    sync::watch,
    task::yield_now,
    time::sleep,
};
use tower::ServiceExt;

use super::proxy::runtime;

pub(crate) const PIECES: &[&str] = &[
    "\0", "\x01", "\x02", "\x03", "\x04", "\x05", "\x06", "\x07", "\x08", "\x09", "\x0a", "\x0b",
    "\x0c", "\x0d", "\x0e", "\x0f", "\x10", "\x11", "\x12", "\x13", "\x14", "\x15", "\x20", "\x30",
    "\x31", "\x32", "\x33", "\x40", "\x50", "\x60", "\x70", "\x7f",
];

/// More requests find nothing new.
const MOST_REQUESTS: usize = 32;

/// Two bytes of settings, then a schedule of a byte a step.
pub fn pool(data: &[u8]) {
    let [limits, endpoint, schedule @ ..] = data else {
        return;
    };
    let runtimes = [runtime(), runtime()];
    let world = World::new(*limits, *endpoint);
    let mut requests = Vec::new();
    for step in schedule.iter().take(512) {
        let (kind, which) = (step % 8, usize::from(step / 8));
        match kind {
            0 | 1 if requests.len() < MOST_REQUESTS => {
                let runtime = which % runtimes.len();
                let path = requests.len();
                requests.push(Exchange::new(&world, runtime, path, *step));
            }
            2 | 3 => poll_one(&runtimes, &mut requests, which),
            4 => {
                let running: Vec<usize> = (0..requests.len())
                    .filter(|nth| requests[*nth].future.is_some())
                    .collect();
                if let Some(nth) = running.get(which % running.len().max(1)) {
                    let _entered = runtimes[requests[*nth].runtime].enter();
                    requests[*nth].future = None;
                }
            }
            5 => runtimes[which % 2].block_on(turns(which / 2)),
            6 => runtimes[which % 2]
                .block_on(tokio::time::advance(Duration::from_millis(which as u64))),
            _ => world.endpoint.will.lock().unwrap().push(*step),
        }
        world.check();
    }
    world.finish(&runtimes, &mut requests);
    drop(requests);
    let World {
        client,
        open,
        endpoint,
        ..
    } = world;
    {
        let _entered = runtimes[0].enter();
        drop(client);
    }
    endpoint.over.send_replace(true);
    for runtime in &runtimes {
        runtime.block_on(async { sleep(Duration::from_secs(100)).await });
        assert_eq!(runtime.metrics().num_alive_tasks(), 0, "a task is left");
    }
    assert_eq!(open.load(SeqCst), 0, "a connection is left");
}

async fn turns(n: usize) {
    for _ in 0..=n {
        yield_now().await;
    }
}

/// Polls one of the requests that have been woken.
fn poll_one(runtimes: &[Runtime], requests: &mut [Exchange], which: usize) {
    let woken: Vec<usize> = (0..requests.len())
        .filter(|nth| requests[*nth].is_woken())
        .collect();
    if let Some(nth) = woken.get(which % woken.len().max(1)) {
        let request = &mut requests[*nth];
        let _entered = runtimes[request.runtime].enter();
        request.poll();
    }
}

/// The client under test, and what is known of its connections.
struct World {
    client: Client,
    most: usize,
    open: Arc<AtomicUsize>,
    endpoint: Arc<Endpoint>,
}

impl World {
    fn new(limits: u8, speaks: u8) -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let endpoint = Arc::new(Endpoint {
            http2: speaks & 1 == 1,
            streams: u32::from(speaks >> 1 & 3) + 1,
            will: Mutex::default(),
            over: watch::Sender::new(false),
        });
        let (counted, serving) = (open.clone(), endpoint.clone());
        let connector = tower::service_fn(move |_| {
            let (ours, theirs) = duplex(1024);
            counted.fetch_add(1, SeqCst);
            tokio::spawn(Endpoint::serve(serving.clone(), theirs));
            let io = Counted {
                stream: ours,
                open: counted.clone(),
            };
            std::future::ready(Ok::<_, Infallible>(TokioIo::new(io)))
        });
        let most = usize::from(limits & 3);
        let builder = Client::builder()
            .connector(connector)
            .pool_max_idle(usize::from(limits >> 2 & 3));
        let builder = match most {
            0 => builder,
            most => builder.max_connections(most),
        };
        let builder = match limits >> 4 & 1 {
            0 => builder,
            _ => builder.max_lifetime(Duration::from_millis(20)),
        };
        let url = if endpoint.http2 {
            "h2c://endpoint"
        } else {
            "http://endpoint"
        };
        Self {
            client: builder.build(url).unwrap(),
            most,
            open,
            endpoint,
        }
    }

    fn check(&self) {
        let open = self.open.load(SeqCst);
        assert!(
            self.most == 0 || open <= self.most,
            "{open} connections are open, of at most {}",
            self.most
        );
    }

    /// From now on the endpoint answers at once: no request needs any timeout to end.
    fn finish(&self, runtimes: &[Runtime], requests: &mut [Exchange]) {
        self.endpoint.will.lock().unwrap().clear();
        for _ in 0..10_000 {
            if requests.iter().all(|request| request.future.is_none()) {
                return;
            }
            poll_one(runtimes, requests, 0);
            self.check();
            if !requests.iter().any(Exchange::is_woken) {
                for runtime in runtimes {
                    // Lets its tasks run; then, if none has anything to do, a little time pass.
                    runtime.block_on(turns(20));
                    runtime.block_on(async { sleep(Duration::from_micros(100)).await });
                }
            }
        }
        let left = requests
            .iter()
            .filter(|request| request.future.is_some())
            .count();
        panic!("{left} requests wait for nothing");
    }
}

/// A request and its answer, to the last byte.
struct Exchange {
    runtime: usize,
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

impl Exchange {
    fn new(world: &World, runtime: usize, path: usize, kind: u8) -> Self {
        let client = world.client.clone();
        let method = if kind & 1 == 0 { "GET" } else { "POST" };
        let future = async move {
            let body = if method == "GET" {
                Body::empty()
            } else {
                Body::from("abc")
            };
            let request = Request::builder()
                .method(method)
                .uri(format!("/{path}"))
                .body(body);
            if let Ok(response) = client.oneshot(request.unwrap()).await {
                if let Ok(body) = response.into_body().collect().await {
                    assert_eq!(body.to_bytes(), format!("/{path}"), "another's answer");
                }
            }
        };
        Self {
            runtime,
            future: Some(Box::pin(future)),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        }
    }

    fn is_woken(&self) -> bool {
        self.future.is_some() && self.woken.0.load(SeqCst)
    }

    fn poll(&mut self) {
        self.woken.0.store(false, SeqCst);
        let waker = Waker::from(self.woken.clone());
        let future = self.future.as_mut().unwrap();
        if future
            .poll_unpin(&mut Context::from_waker(&waker))
            .is_ready()
        {
            self.future = None;
        }
    }
}

/// A server that answers with the path of the request.
struct Endpoint {
    http2: bool,
    /// How many requests a connection of HTTP/2 takes at once.
    streams: u32,
    /// What it does with the next requests; at once and well if nothing is here.
    will: Mutex<Vec<u8>>,
    over: watch::Sender<bool>,
}

impl Endpoint {
    async fn serve(self: Arc<Self>, stream: DuplexStream) {
        let mut over = self.over.subscribe();
        let serves = async {
            match self.http2 {
                true => self.http2(stream).await,
                false => drop(self.http1(stream).await),
            }
        };
        tokio::select! {
            () = serves => {}
            () = holds(&mut over) => {}
        }
    }

    async fn http1(&self, stream: DuplexStream) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut start = String::new();
            if stream.read_line(&mut start).await? == 0 {
                return Ok(());
            }
            let path = start.split(' ').nth(1).unwrap().to_owned();
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                match line.to_ascii_lowercase().trim_end().split_once(": ") {
                    Some(("content-length", value)) => length = value.parse().unwrap(),
                    Some(_) => {}
                    None => break,
                }
            }
            let mut body = vec![0; length];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await?;
            let does = self.next();
            let Some(ends) = does.wait().await else {
                return Ok(());
            };
            let connection = if ends && does.says_so() {
                "connection: close\r\n"
            } else {
                ""
            };
            let answer = format!(
                "HTTP/1.1 200 OK\r\n{connection}content-length: {}\r\n\r\n{path}",
                path.len()
            );
            stream.write_all(answer.as_bytes()).await?;
            if ends {
                return Ok(());
            }
        }
    }

    async fn http2(&self, stream: DuplexStream) {
        let goodbye = watch::Sender::new(false);
        let mut leaves = goodbye.subscribe();
        let service = service_fn(|request: Request<Incoming>| {
            let goodbye = goodbye.clone();
            let does = self.next();
            async move {
                let path = request.uri().path().to_owned();
                match does.wait().await {
                    None => Err("reset"),
                    Some(ends) => {
                        if ends {
                            goodbye.send_replace(true);
                        }
                        Ok(Response::new(path))
                    }
                }
            }
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(self.streams);
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = &mut connection => {}
            () = holds(&mut leaves) => {
                connection.as_mut().graceful_shutdown();
                drop(connection.await);
            }
        }
    }

    fn next(&self) -> Does {
        Does(self.will.lock().unwrap().pop().unwrap_or_default() / 8)
    }
}

/// Waits until it is so.
async fn holds(so: &mut watch::Receiver<bool>) {
    drop(so.wait_for(|so| *so).await);
}

/// What becomes of one request.
#[derive(Clone, Copy)]
struct Does(u8);

impl Does {
    /// Whether the connection ends with the answer; `None` if it ends without one.
    async fn wait(self) -> Option<bool> {
        if self.0 & 8 != 0 {
            sleep(Duration::from_millis(u64::from(self.0 & 3))).await;
        }
        match self.0 & 7 {
            1 | 2 => Some(true),
            3 => None,
            4 => {
                sleep(Duration::from_millis(5)).await;
                Some(false)
            }
            _ => Some(false),
        }
    }

    fn says_so(self) -> bool {
        self.0 & 7 == 2
    }
}

/// Counts as an open connection until the crate lets go of it.
struct Counted {
    stream: DuplexStream,
    open: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.open.fetch_sub(1, SeqCst);
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
