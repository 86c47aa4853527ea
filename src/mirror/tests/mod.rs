//! What is copied, and what the first service notices of it.

mod bounds;
mod compared;
mod lengths;

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Mutex, mpsc},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, poll, stream};
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::*;
use crate::{body::Body, error::BoxError};

type Answer = Result<Response<Body>, BoxError>;
type First = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;
type Item = Result<Frame<Bytes>, BoxError>;

/// A service that reads the request, and answers with `answer`.
fn answering(answer: impl Fn() -> Answer + Send + Sync + Clone + 'static) -> First {
    BoxCloneSyncService::new(service_fn(move |request: Request<Body>| {
        let answer = answer.clone();
        async move {
            request.into_body().collect().await?;
            answer()
        }
    }))
}

fn ok() -> First {
    answering(|| Ok(Response::new("first".into())))
}

/// What the second service was sent.
#[derive(Debug)]
struct Seen {
    head: http::request::Parts,
    length: Option<u64>,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

/// A service that keeps what it is sent.
fn keeping() -> (First, mpsc::Receiver<Seen>) {
    let (sender, seen) = mpsc::channel();
    let service = service_fn(move |request: Request<Body>| {
        let sender = sender.clone();
        async move {
            let (head, body) = request.into_parts();
            let length = http_body::Body::size_hint(&body).exact();
            let body = body.collect().await?;
            let trailers = body.trailers().cloned();
            let body = body.to_bytes();
            let _ = sender.send(Seen {
                head,
                length,
                body,
                trailers,
            });
            Ok(Response::new("second".into()))
        }
    });
    (BoxCloneSyncService::new(service), seen)
}

fn get() -> Request<Body> {
    Request::get("/x?y").body(Body::empty()).unwrap()
}

fn post(frames: Vec<Item>) -> Request<Body> {
    let body = Body::new(StreamBody::new(stream::iter(frames)));
    Request::post("/").body(body).unwrap()
}

fn data(text: &'static str) -> Item {
    Ok(Frame::data(text.into()))
}

/// Sends a request, and reads the answer of the first service.
async fn ask(mirror: &Mirror<First, First>, request: Request<Body>) -> Bytes {
    let response = mirror.clone().oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Runs the tasks of the layer for as long as they have something to do.
async fn settle(handle: &MirrorHandle) -> MirrorStats {
    while handle.stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    handle.stats()
}

#[tokio::test]
async fn the_second_gets_the_head_and_the_whole_body() {
    let (second, seen) = keeping();
    let layer = MirrorLayer::new(second).rewrite_request(|head| {
        head.headers.insert("x-mirrored", "1".parse().unwrap());
    });
    let mirror = layer.layer(ok());
    let fields = HeaderMap::from_iter([("grade".parse().unwrap(), "7".parse().unwrap())]);
    let mut request = post(vec![
        data("ab"),
        data("cd"),
        Ok(Frame::trailers(fields.clone())),
    ]);
    request
        .headers_mut()
        .insert("expect", "100-continue".parse().unwrap());
    request.headers_mut().insert("x-a", "b".parse().unwrap());
    request.extensions_mut().insert("of the first");
    assert_eq!(ask(&mirror, request).await, "first");
    let stats = settle(&layer.handle()).await;
    assert_eq!((stats.sent, stats.answered), (1, 1));
    let copy = seen.try_recv().unwrap();
    assert_eq!(copy.body, "abcd");
    assert_eq!((copy.trailers, copy.length), (Some(fields), None));
    assert_eq!(copy.head.method, Method::POST);
    assert_eq!(
        (&copy.head.headers["x-mirrored"], &copy.head.headers["x-a"]),
        (&"1".parse().unwrap(), &"b".parse().unwrap())
    );
    assert!(!copy.head.headers.contains_key("expect") && copy.head.extensions.is_empty());

    ask(&mirror, Request::post("/").body("known".into()).unwrap()).await;
    ask(&mirror, get()).await;
    settle(&layer.handle()).await;
    let (known, empty) = (seen.try_recv().unwrap(), seen.try_recv().unwrap());
    assert_eq!((known.body, known.length), ("known".into(), Some(5)));
    assert_eq!(
        (empty.body, empty.head.uri),
        ("".into(), "/x?y".parse().unwrap())
    );
}

/// The first is called and polled before the second is called, whichever answers.
#[tokio::test]
async fn the_first_comes_first() {
    let order = Arc::new(Mutex::new(Vec::new()));
    let named = |name: &'static str| {
        let order = order.clone();
        BoxCloneSyncService::new(service_fn(move |_: Request<Body>| {
            let order = order.clone();
            async move {
                order.lock().unwrap().push(name);
                pending::<Answer>().await
            }
        }))
    };
    let mirror = MirrorLayer::new(named("second")).layer(named("first"));
    let mut waiting = pin!(mirror.clone().oneshot(get()));
    assert!(poll!(&mut waiting).is_pending());
    assert_eq!(*order.lock().unwrap(), ["first"]);
    tokio::task::yield_now().await;
    assert_eq!(*order.lock().unwrap(), ["first", "second"]);
}

/// A second one that never gets ready, or never answers, holds nothing up.
#[tokio::test]
async fn a_second_that_hangs_is_not_noticed() {
    let (busy, mut handle) = tower_test::mock::pair::<Request<Body>, Response<Body>>();
    handle.allow(0);
    let mirror = MirrorLayer::new(busy).layer(ok());
    for request in [get(), post(vec![data("ab")])] {
        let response = mirror.clone().oneshot(request).now_or_never().unwrap();
        let body = response.unwrap().into_body().collect();
        assert_eq!(body.now_or_never().unwrap().unwrap().to_bytes(), "first");
    }
}

/// Only what the first asks for is read, and the copy is sent when there is all of it.
#[tokio::test]
async fn the_body_is_read_by_the_first() {
    let (second, seen) = keeping();
    let layer = MirrorLayer::new(second);
    let (bodies, taken) = mpsc::channel();
    let first = service_fn(move |request: Request<Body>| {
        bodies.send(request.into_body()).unwrap();
        pending::<Answer>()
    });
    let read = Arc::new(Mutex::new(0));
    let counted = {
        let read = read.clone();
        stream::iter([data("a"), data("b")]).inspect(move |_| *read.lock().unwrap() += 1)
    };
    let request = Request::post("/")
        .body(Body::new(StreamBody::new(counted)))
        .unwrap();
    let mut waiting = pin!(
        layer
            .layer(BoxCloneSyncService::new(first))
            .oneshot(request)
    );
    assert!(poll!(&mut waiting).is_pending());
    let mut body = taken.recv().unwrap();
    for n in 0..=2 {
        tokio::task::yield_now().await;
        assert_eq!((*read.lock().unwrap(), layer.handle().stats().sent), (n, 0));
        assert_eq!(body.frame().await.is_some(), n < 2);
    }
    settle(&layer.handle()).await;
    assert_eq!(seen.try_recv().unwrap().body, "ab");
}

/// A client that leaves does not cancel what has been sent.
#[tokio::test]
async fn a_copy_outlives_its_request() {
    let (second, seen) = keeping();
    let layer = MirrorLayer::new(second);
    let hangs = BoxCloneSyncService::new(service_fn(|_: Request<Body>| pending::<Answer>()));
    let mut waiting = Box::pin(layer.layer(hangs).oneshot(get()));
    assert!(poll!(&mut waiting).is_pending());
    drop(waiting);
    assert_eq!(settle(&layer.handle()).await.answered, 1);
    assert!(seen.try_recv().is_ok());
}
