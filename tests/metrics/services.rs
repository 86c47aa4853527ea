//! Endpoints in this process, and requests.

use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering::SeqCst},
    },
};

use axum_upstream::{Body, BoxError, EndpointSpec, ReverseProxy, endpoint::BoxService};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tower::{Service, service_fn};

/// The status that an endpoint answers with.
#[derive(Clone)]
pub struct Status(Arc<AtomicU16>);

impl Status {
    pub fn new(status: u16) -> Self {
        Self(Arc::new(status.into()))
    }

    pub fn set(&self, status: u16) {
        self.0.store(status, SeqCst);
    }
}

/// An endpoint that reads the request and answers `hello`, unless the path is `/hang`.
pub fn answering(name: &str, status: &Status) -> EndpointSpec<BoxService> {
    let status = status.clone();
    let service = service_fn(move |request: Request<Body>| {
        let status = StatusCode::from_u16(status.0.load(SeqCst)).unwrap();
        async move {
            if request.uri().path() == "/hang" {
                pending::<()>().await;
            }
            request.into_body().collect().await.unwrap();
            let mut response = Response::new(Body::from("hello"));
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    EndpointSpec::new(name, service).boxed()
}

/// An endpoint that never answers.
pub fn hanging(name: &str) -> EndpointSpec<BoxService> {
    let service = service_fn(|_| pending::<Result<Response<Body>, Infallible>>());
    EndpointSpec::new(name, service).boxed()
}

pub fn request(method: &str, path: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path);
    request
        .header("host", "example.com")
        .body(Body::empty())
        .unwrap()
}

/// A server of one connection, which it closes when it is dropped. Returns its URL as well.
pub async fn server() -> (String, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while stream.read_buf(&mut read).await.is_ok_and(|read| read > 0) {
            if read.ends_with(b"\r\n\r\n") {
                let response = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
                stream.write_all(response).await.unwrap();
                read.clear();
            }
        }
    });
    (url, tasks)
}

/// Bounds a test that waits for something that never comes, by the clock of the runtime where that is not paused.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    let longest = std::time::Duration::from_secs(60);
    let waited = tokio::time::timeout(longest, future).await;
    waited.expect("nothing happened for 60 s")
}

/// Waits until `condition` holds, which other tasks are about to bring about.
pub async fn eventually(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// Sends a request and reads its response to the end.
pub async fn send<S, B>(proxy: &ReverseProxy<S>, request: Request<Body>) -> StatusCode
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let response = proxy.forward(request).await;
    let status = response.status();
    drop(response.into_body().collect().await);
    status
}
