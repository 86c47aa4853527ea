//! Whole exchanges over connections in memory, with anything on either side.
//!
//! Two clients and an endpoint do what a script says; between them are hyper's server, a proxy, and its client.
//! Whatever they send,
//!
//! - nothing panics, in no task,
//! - what the endpoint gets over HTTP/1 are requests of one framing each, one after the other,
//! - no byte of one client's exchange gets into the other's, up or down,
//! - a response head has one framing,
//! - when all have gone, no task is left.

mod endpoint;
mod script;
pub(crate) mod wire;

use std::{
    cell::Cell,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex, Once},
    time::Duration,
};

use axum_upstream::{ReverseProxy, upstream::Client};
use http::{Method, Request};
use hyper::{
    body::{Body, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    runtime::Handle,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tower::ServiceExt;

use self::{
    endpoint::Endpoint,
    script::{Script, Step},
};
use super::{proxy::runtime, rules};

pub(crate) const PIECES: &[&str] = script::PIECES;

/// Stands in what a client sends, and in the answers to it. No input may hold one.
const MARKERS: [&str; 2] = ["[192.0.2.1]", "[192.0.2.2]"];
const ADDRESSES: [&str; 2] = ["192.0.2.1", "192.0.2.2"];

/// A script; see `script.rs`.
pub fn exchange(data: &[u8]) {
    let Some(script) = Script::parse(data) else {
        return;
    };
    let panics = panics();
    // Not for secrets, but for names that the crate draws.
    fastrand::seed(1);
    runtime().block_on(run(script));
    assert_eq!(panics, self::panics(), "a task has panicked");
}

async fn run(script: Script) {
    let endpoint = Arc::new(Endpoint::new(script.endpoint));
    let served = endpoint.clone();
    let connector = tower::service_fn(move |_| {
        let (ours, theirs) = duplex(4096);
        served.serve(theirs);
        std::future::ready(Ok::<_, Infallible>(TokioIo::new(ours)))
    });
    let client = Client::builder()
        .connector(connector)
        .build(script.endpoint.url())
        .unwrap();
    let proxy = ReverseProxy::new(client).upgrades(["websocket", "x"]);
    let mut clients = [0, 1].map(|nth| Some(Connection::new(nth, &proxy)));
    for step in script.steps {
        match step {
            Step::Send(nth, bytes) => {
                if let Some(client) = &mut clients[nth] {
                    // A proxy that does not read for now must not stop the script.
                    drop(timeout(Duration::from_secs(1), client.writes.write_all(&bytes)).await);
                }
            }
            Step::Finish(nth) => {
                if let Some(client) = &mut clients[nth] {
                    drop(client.writes.shutdown().await);
                }
            }
            Step::Leave(nth) => {
                if let Some(client) = clients[nth].take() {
                    client.leave(nth).await;
                }
            }
            Step::Answer(answer) => endpoint.will(answer),
            Step::Settle => sleep(Duration::from_millis(1)).await,
            Step::Wait => sleep(Duration::from_secs(130)).await,
        }
    }
    sleep(Duration::from_millis(1)).await;
    for (nth, client) in clients.iter_mut().enumerate() {
        if let Some(client) = client.take() {
            client.leave(nth).await;
        }
    }
    drop(proxy);
    endpoint.close();
    sleep(Duration::from_secs(700)).await;
    assert_eq!(
        Handle::current().metrics().num_alive_tasks(),
        0,
        "a task is left"
    );
}

/// A client's side of a connection to the proxy.
struct Connection {
    writes: WriteHalf<DuplexStream>,
    reads: JoinHandle<()>,
    received: Arc<Mutex<Vec<u8>>>,
}

impl Connection {
    fn new(nth: usize, proxy: &ReverseProxy<Client>) -> Self {
        let (client, server) = duplex(4096);
        let address = SocketAddr::new(ADDRESSES[nth].parse().unwrap(), 1);
        let proxy = proxy.clone().client_addr(address);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(proxy.clone(), request));
            let server_of = auto::Builder::new(TokioExecutor::new());
            drop(
                server_of
                    .serve_connection_with_upgrades(TokioIo::new(server), service)
                    .await,
            );
        });
        let (reads, writes) = split(client);
        let received = Arc::default();
        let reads = tokio::spawn(read(reads, Arc::clone(&received)));
        Self {
            writes,
            reads,
            received,
        }
    }

    /// Closes the connection, and looks at what has come over it.
    async fn leave(self, nth: usize) {
        self.reads.abort();
        drop(self.reads.await);
        drop(self.writes);
        let received = self.received.lock().unwrap();
        let other = MARKERS[1 - nth];
        assert!(
            !wire::contains(&received, other.as_bytes()),
            "a client got what is another's"
        );
    }
}

async fn read(mut reads: ReadHalf<DuplexStream>, received: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = [0; 1024];
    while let Ok(length @ 1..) = reads.read(&mut chunk).await {
        received.lock().unwrap().extend_from_slice(&chunk[..length]);
    }
}

async fn answer(
    proxy: ReverseProxy<Client>,
    request: Request<Incoming>,
) -> Result<
    http::Response<impl Body<Data = bytes::Bytes, Error: Into<axum_upstream::BoxError>>>,
    Infallible,
> {
    let head_only = request.method() == Method::HEAD;
    let response = proxy.oneshot(request).await?;
    rules::has_one_framing(response.headers());
    let length = response.headers().get("content-length");
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if !head_only && response.status() != 304 {
        if let (Some(said), Some(is)) = (length, response.body().size_hint().exact()) {
            assert_eq!(said, is, "a length that is not the body's");
        }
    }
    Ok(response)
}

/// How many panics this thread has seen, those of tasks among them.
pub(crate) fn panics() -> usize {
    thread_local! {
        static SEEN: Cell<usize> = const { Cell::new(0) };
    }
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            SEEN.set(SEEN.get() + 1);
            before(info);
        }));
    });
    SEEN.get()
}
