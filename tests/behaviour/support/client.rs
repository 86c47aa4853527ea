//! A real client for either version.

use std::net::SocketAddr;

use axum_upstream::Body;
use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, task::JoinSet};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    One,
    Two,
}

/// One connection of one version, which takes heads and trailers of any size.
pub struct Client {
    sender: Sender,
    address: SocketAddr,
    driver: JoinSet<()>,
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

impl Client {
    pub async fn connect(http: Http, address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let io = TokioIo::new(stream);
        let mut driver = JoinSet::new();
        let sender = match http {
            Http::One => {
                let mut builder = http1::Builder::new();
                builder
                    .max_headers(10_000)
                    .max_header_size(4 << 20)
                    .max_buf_size(4 << 20);
                let (sender, connection) = builder.handshake(io).await.unwrap();
                driver.spawn(async move { drop(connection.await) });
                Sender::One(sender)
            }
            Http::Two => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder.max_header_list_size(4 << 20);
                let (sender, connection) = builder.handshake(io).await.unwrap();
                driver.spawn(async move { drop(connection.await) });
                Sender::Two(sender)
            }
        };
        Self {
            sender,
            address,
            driver,
        }
    }

    /// One for a request beside those of this one: on the same connection where the version has streams, on another
    /// where it has none.
    pub async fn beside(&self) -> Self {
        match &self.sender {
            Sender::One(_) => Self::connect(Http::One, self.address).await,
            Sender::Two(sender) => Self {
                sender: Sender::Two(sender.clone()),
                address: self.address,
                driver: JoinSet::new(),
            },
        }
    }

    /// Sends a request whose URI is a path; `Host` or `:authority` is the address.
    pub async fn try_send(
        &mut self,
        mut request: Request<Body>,
    ) -> hyper::Result<Response<Incoming>> {
        match &mut self.sender {
            Sender::One(sender) => {
                let host = self.address.to_string().parse().unwrap();
                request.headers_mut().entry("host").or_insert(host);
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                let absolute = format!("http://{}{}", self.address, request.uri());
                *request.uri_mut() = absolute.parse().unwrap();
                *request.version_mut() = http::Version::HTTP_2;
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    pub async fn send(&mut self, request: Request<Body>) -> Response<Incoming> {
        self.try_send(request).await.unwrap()
    }

    pub async fn get(&mut self, path: &str) -> Response<Incoming> {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    /// Cuts the connection, whatever is under way.
    pub async fn abort(mut self) {
        self.driver.shutdown().await;
    }
}

/// The whole body as text.
pub async fn text(response: Response<Incoming>) -> String {
    use http_body_util::BodyExt;
    String::from_utf8(
        response
            .into_body()
            .collect()
            .await
            .unwrap()
            .to_bytes()
            .into(),
    )
    .unwrap()
}
