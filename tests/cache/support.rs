//! An origin that records what it is asked, a cache around it, and bodies that arrive when a test says so.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, UNIX_EPOCH},
};

use axum_upstream::{
    Body, BoxError,
    cache::{Cache, CacheBody, CacheBuilder, CacheHandle, CacheLayer, MemoryStore, Store},
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, request::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::{
    sync::{Semaphore, mpsc},
    time::{Instant, advance},
};
use tower::{Layer, Service, ServiceExt};

/// What the origin answers, or fails with.
type Answer = Result<Response<Body>, BoxError>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;
type AnswerFn = dyn Fn(Parts, Body) -> Answer + Send + Sync;

/// Answers in the same process, once it is let to.
#[derive(Clone)]
pub struct Origin {
    answer: Arc<AnswerFn>,
    asked: Arc<Mutex<Vec<Parts>>>,
    gate: Arc<Semaphore>,
}

impl Origin {
    /// Answers by what the function says, at once.
    pub fn new(answer: impl Fn(Parts, Body) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            answer: Arc::new(answer),
            asked: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    /// Answers every request by a text and these fields.
    pub fn says(fields: &'static [(&'static str, &'static str)], text: &'static str) -> Self {
        Self::new(move |_, _| Ok(response(200, fields, text)))
    }

    /// Answers one request after the other, the last answer for all that are left.
    pub fn in_turn(answers: Vec<fn() -> Answer>) -> Self {
        let nth = Mutex::new(0);
        Self::new(move |_, _| {
            let mut nth = nth.lock().unwrap();
            let answer = answers[(*nth).min(answers.len() - 1)];
            *nth += 1;
            answer()
        })
    }

    /// Answers nothing until [`open`](Self::open).
    pub fn shut(self) -> Self {
        self.gate_shut();
        self
    }

    /// Answers nothing from here on, until [`open`](Self::open).
    pub fn gate_shut(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Answers this many requests.
    pub fn open(&self, requests: usize) {
        self.gate.add_permits(requests);
    }

    /// Returns how many requests have come.
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// Forgets the requests that have come, and what they hold.
    pub fn forget(&self) {
        self.asked.lock().unwrap().clear();
    }

    /// Returns the fields of the last request.
    pub fn last(&self) -> HeaderMap {
        self.asked.lock().unwrap().last().unwrap().headers.clone()
    }
}

impl Service<Request<Body>> for Origin {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        let (parts, body) = request.into_parts();
        self.asked.lock().unwrap().push(parts.clone());
        let origin = self.clone();
        Box::pin(async move {
            origin.gate.acquire().await?.forget();
            (origin.answer)(parts, body)
        })
    }
}

/// Returns a response.
pub fn response(status: u16, fields: &[(&str, &str)], body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(body.into()).unwrap()
}

/// A cache around an origin.
pub struct TestCache<St = MemoryStore> {
    pub service: Cache<Origin, St>,
    pub handle: CacheHandle<St>,
}

impl<St> Clone for TestCache<St> {
    /// Not derived: a store need not be cloned.
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            handle: self.handle.clone(),
        }
    }
}

/// Puts a cache with the default settings around an origin.
pub fn cached(origin: &Origin) -> TestCache {
    cached_with(origin, CacheLayer::in_memory(8 << 20))
}

/// Puts a cache around an origin. Its time of day is that of tokio's clock.
pub fn cached_with<St: Store>(origin: &Origin, builder: CacheBuilder<St>) -> TestCache<St> {
    let (start, began) = (
        UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        Instant::now(),
    );
    let layer = builder.wall_clock(move || start + began.elapsed()).build();
    TestCache {
        handle: layer.handle(),
        service: layer.layer(origin.clone()),
    }
}

/// The time at which a test begins, in a field.
pub const NOW: &str = "Tue, 14 Nov 2023 22:13:20 GMT";
/// A day before.
pub const YESTERDAY: &str = "Mon, 13 Nov 2023 22:13:20 GMT";

/// Lets time pass, and whatever is to be done by then be done.
pub async fn pass(seconds: u64) {
    advance(Duration::from_secs(seconds)).await;
    settle().await;
}

/// Lets other tasks run until they have nothing more to do.
pub async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// A response that has been read.
#[derive(Debug)]
pub struct Read {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Read {
    pub fn field(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// What the cache says of it, without its name and its `ttl`.
    pub fn cache_status(&self) -> &str {
        let said = self.field("cache-status");
        let said = said.strip_prefix("axum-upstream; ").unwrap_or(said);
        said.split("; ttl").next().unwrap()
    }
}

impl<St: Store> TestCache<St> {
    /// Sends a request, and returns its response with the body to be read.
    pub async fn open(
        &self,
        request: Request<Body>,
    ) -> Result<Response<CacheBody<Body>>, BoxError> {
        self.service.clone().oneshot(request).await
    }

    /// Sends a request, and reads its response.
    pub async fn send(&self, request: Request<Body>) -> Read {
        read(self.open(request).await.unwrap()).await.unwrap()
    }

    /// Sends a GET, and reads its response.
    pub async fn get(&self, path: &str) -> Read {
        self.send(get(path, &[])).await
    }

    /// Sends a GET with fields, and reads its response.
    pub async fn get_with(&self, path: &str, fields: &[(&str, &str)]) -> Read {
        self.send(get(path, fields)).await
    }
}

/// Returns a GET of `http://a`.
pub fn get(path: &str, fields: &[(&str, &str)]) -> Request<Body> {
    request("GET", path, fields, Body::empty())
}

/// Returns a request to `http://a`.
pub fn request(method: &str, path: &str, fields: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !path.contains("://") && fields.iter().all(|(name, _)| *name != "host") {
        request = request.header("host", "a");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

/// Reads a response to its end.
pub async fn read<B>(response: Response<B>) -> Result<Read, BoxError>
where
    B: http_body::Body<Data = Bytes, Error = BoxError>,
{
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await?.to_bytes();
    Ok(Read {
        status: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    })
}

/// Sends the content of a response.
pub type Chunks = mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>;

/// Returns a body that a test sends.
pub fn streamed() -> (Chunks, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let frames = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    (sender, Body::new(StreamBody::new(frames)))
}

/// Sends a piece of a body. Returns whether somebody is there to take it.
pub fn push(chunks: &Chunks, text: &'static str) -> bool {
    chunks
        .send(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
        .is_ok()
}

/// Returns an origin that answers each request by a body that the test sends, and what it sends it by, in order.
pub fn streaming(
    fields: &'static [(&'static str, &'static str)],
) -> (Origin, Arc<Mutex<Vec<Chunks>>>) {
    let senders = Arc::new(Mutex::new(Vec::new()));
    let origin = Origin::new({
        let senders = senders.clone();
        move |_, _| {
            let (sender, body) = streamed();
            senders.lock().unwrap().push(sender);
            Ok(response(200, fields, body))
        }
    });
    (origin, senders)
}
