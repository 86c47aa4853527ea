//! What single steps cost, with their allocations. Run with `cargo bench --bench micro`.
//!
//! Only the public API is used, so each figure holds a little more than its name says: a pick is a whole call of a
//! `LoadBalance` whose endpoints answer at once; rewriting is a whole call of a `ReverseProxy` over such a service.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use axum_upstream::{Body, EndpointSpec, LoadBalance, ReverseProxy, upstream::Client};
use divan::{AllocProfiler, Bencher};
use http::{Request, Response, Version};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    runtime::{Builder, Runtime},
};
use tower::{Service, ServiceExt};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// An endpoint that answers at once, with nothing.
#[derive(Clone)]
struct Instant;

impl Service<Request<Body>> for Instant {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        ready(Ok(Response::new(Body::empty())))
    }
}

/// The status of so many endpoints, as data.
#[cfg(feature = "status")]
#[divan::bench(args = [10, 1_000])]
fn status(bencher: Bencher<'_, '_>, endpoints: usize) {
    let runtime = runtime();
    let specs =
        (0..endpoints).map(|nth| EndpointSpec::new(format!("http://10.0.0.{nth}"), Instant));
    let mut balance = LoadBalance::builder().seed(1).endpoints(specs).unwrap();
    for _ in 0..10 * endpoints {
        drop(runtime.block_on(balance.call(Request::default())));
    }
    bencher.bench_local(|| balance.status());
}

/// A pick among so many endpoints, by one thread and by two at once.
#[divan::bench(args = [2, 10, 100, 1_000, 10_000], threads = [1, 2])]
fn pick(bencher: Bencher<'_, '_>, endpoints: usize) {
    let specs = (0..endpoints).map(|n| EndpointSpec::new(n.to_string(), Instant));
    let balance = LoadBalance::builder().seed(1).endpoints(specs).unwrap();
    bencher
        .with_inputs(|| (balance.clone(), runtime()))
        .bench_local_refs(|(balance, runtime)| {
            runtime
                .block_on(balance.call(Request::new(Body::empty())))
                .unwrap()
        });
}

/// The least there is to compare with: the same call without a balancer.
#[divan::bench]
fn no_pick(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    bencher.bench_local(|| {
        runtime
            .block_on(Instant.call(Request::new(Body::empty())))
            .unwrap()
    });
}

/// A browser's request head through a proxy, and an empty response back.
#[divan::bench]
fn rewrite_heads(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let mut proxy = ReverseProxy::new(Instant).client_addr(([192, 0, 2, 1], 50_000).into());
    bencher
        .with_inputs(browser_request)
        .bench_local_values(|request| runtime.block_on(proxy.call(request)).unwrap());
}

fn browser_request() -> Request<Body> {
    Request::get("/articles/2026/11?page=2")
        .version(Version::HTTP_11)
        .header("host", "www.example.com")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        )
        .header(
            "accept",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        )
        .header("accept-language", "en-US,en;q=0.5")
        .header("accept-encoding", "gzip, deflate, br, zstd")
        .header("connection", "keep-alive")
        .header(
            "cookie",
            "session=0123456789abcdef0123456789abcdef; theme=dark",
        )
        .body(Body::empty())
        .unwrap()
}

/// One request over one connection on either side, in memory: client, proxy and endpoint in one thread.
#[divan::bench]
fn proxied_request(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let mut client = runtime.block_on(proxied());
    bencher.bench_local(|| runtime.block_on(get(&mut client)));
}

/// The same, answered by a cache in front of the proxy.
#[cfg(feature = "cache")]
#[divan::bench]
fn cached_request(bencher: Bencher<'_, '_>) {
    use axum_upstream::cache::CacheLayer;
    use tower::Layer;

    let runtime = runtime();
    let fresh = [
        ("cache-control", "max-age=3600"),
        ("content-type", "text/plain"),
    ];
    let hello = tower::service_fn(move |_| async move {
        let mut response = Response::new(Body::from("hello"));
        for (name, value) in fresh {
            let value = http::HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        Ok::<_, Infallible>(response)
    });
    let cache = CacheLayer::new(1 << 20);
    let mut client = runtime.block_on(async { in_memory(cache.layer(hello)) });
    runtime.block_on(get(&mut client));
    bencher.bench_local(|| runtime.block_on(get(&mut client)));
    let counts = cache.handle().counts();
    assert_eq!(counts.misses, 1, "{counts:?}");
}

/// The same with metrics that an exporter for Prometheus collects, rather than none.
#[cfg(feature = "metrics")]
#[divan::bench]
fn measured_request(bencher: Bencher<'_, '_>) {
    use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(
            Matcher::Suffix("_duration_seconds".into()),
            &axum_upstream::metrics::DURATION_BUCKETS,
        )
        .unwrap()
        .build_recorder();
    let _recorded = metrics::set_default_local_recorder(&recorder);
    let runtime = runtime();
    let mut client = runtime.block_on(proxied());
    bencher.bench_local(|| runtime.block_on(get(&mut client)));
}

/// A client of a proxy in front of an endpoint.
async fn proxied() -> DuplexStream {
    let connector = tower::service_fn(|_: http::Uri| async {
        let (ours, theirs) = duplex(64 * 1024);
        tokio::spawn(async move {
            let answer =
                service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) });
            auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(theirs), answer)
                .await
        });
        Ok::<_, Infallible>(TokioIo::new(ours))
    });
    let upstream = Client::builder()
        .connector(connector)
        .build("http://endpoint")
        .unwrap();
    in_memory(ReverseProxy::new(
        LoadBalance::builder().endpoints([upstream.into()]).unwrap(),
    ))
}

/// The same without the proxy: what hyper's server, the client here and the pipe cost by themselves.
#[divan::bench]
fn direct_request(bencher: Bencher<'_, '_>) {
    let runtime = runtime();
    let hello =
        tower::service_fn(|_| async { Ok::<_, Infallible>(Response::new(Body::from("hello"))) });
    let mut client = runtime.block_on(async { in_memory(hello) });
    bencher.bench_local(|| runtime.block_on(get(&mut client)));
}

/// Serves HTTP on one end of a pipe, and gives the other.
fn in_memory<S, B>(service: S) -> DuplexStream
where
    S: Service<
            Request<hyper::body::Incoming>,
            Response = Response<B>,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = bytes::Bytes, Error: Into<axum_upstream::BoxError>> + Send + 'static,
{
    let (ours, theirs) = duplex(64 * 1024);
    let service = TowerToHyperService::new(service.boxed_clone());
    tokio::spawn(async move {
        let builder = auto::Builder::new(TokioExecutor::new());
        drop(
            builder
                .serve_connection(TokioIo::new(theirs), service)
                .await,
        );
    });
    ours
}

async fn get(client: &mut DuplexStream) {
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: example.com\r\nAccept: */*\r\n\r\n")
        .await
        .unwrap();
    let mut read = Vec::with_capacity(1024);
    while !read.ends_with(b"hello") {
        client.read_buf(&mut read).await.unwrap();
    }
}
