//! Folders, servers and requests.

use std::{
    fs,
    future::IntoFuture,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use axum::{Router, body::Body, extract::Request};
use http::Response;
use http_body_util::BodyExt;
use tokio::{net::TcpListener, task::JoinSet};
use tower::ServiceExt;

/// A folder of its own for a test, which goes with it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{test}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// Writes a file, and returns its path.
    pub fn write(&self, file: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(file), text).unwrap();
        self.path(file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Servers, which end with it.
#[derive(Default)]
pub struct Servers(JoinSet<std::io::Result<()>>);

impl Servers {
    /// Starts one, and returns its URL.
    pub async fn start(&mut self, app: Router) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = app.into_make_service_with_connect_info::<SocketAddr>();
        self.0.spawn(axum::serve(listener, service).into_future());
        format!("http://{address}")
    }

    /// Starts one that answers with the method, path and query, and with all fields but those of the connection.
    pub async fn echo(&mut self, name: &'static str) -> String {
        let answer = move |request: Request| async move {
            let mut text = format!("{name}: {} {}\n", request.method(), request.uri());
            let (head, body) = request.into_parts();
            for (field, value) in &head.headers {
                text += &format!("{field}: {}\n", value.to_str().unwrap());
            }
            body.collect().await.unwrap();
            ([("x-server", name)], text)
        };
        self.start(Router::new().fallback(answer)).await
    }
}

/// Sends a request, and returns the head of the response and its body.
pub async fn ask(router: &Router, request: Request<Body>) -> (Response<()>, String) {
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (Response::from_parts(head, ()), body)
}

/// A request without a body, by `METHOD host path`.
pub fn request(line: &str) -> Request<Body> {
    let words: Vec<_> = line.split(' ').collect();
    let request = Request::builder().method(words[0]).uri(words[2]);
    request
        .header("host", words[1])
        .body(Body::empty())
        .unwrap()
}
