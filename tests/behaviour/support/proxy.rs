//! The proxy under test, behind a real socket.

use axum::Router;
use axum_upstream::{LoadBalance, ReverseProxy, upstream};
use tower::Service;

use super::{Conn, Message, server, server::Server};

/// A proxy in front of one server.
pub async fn to(url: &str) -> Server {
    serve(ReverseProxy::to(url).unwrap()).await
}

/// A balancing proxy with seeded randomness.
pub async fn balanced<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Server {
    serve(ReverseProxy::new(
        LoadBalance::builder().seed(1).urls(urls).unwrap(),
    ))
    .await
}

/// Any proxy, as the fallback of a router.
pub async fn serve<S>(proxy: ReverseProxy<S>) -> Server
where
    ReverseProxy<S>: Service<
            axum::extract::Request,
            Response = axum::response::Response,
            Error = std::convert::Infallible,
            Future: Send,
        > + Clone
        + Send
        + Sync
        + 'static,
{
    server::app(Router::new().fallback_service(proxy)).await
}

/// What came of one exchange in raw bytes.
pub struct Exchange {
    /// What the endpoint saw.
    pub up: Option<Message>,
    /// What the client got.
    pub down: Message,
}

impl Exchange {
    pub fn up(&self) -> &Message {
        self.up.as_ref().expect("nothing reached the endpoint")
    }
}

/// Sends `request` through a proxy to a server that answers `response`.
pub async fn exchange(request: impl AsRef<[u8]>, response: &str) -> Exchange {
    exchange_with(|proxy| proxy, request, response).await
}

/// As [`exchange`], with settings.
pub async fn exchange_with(
    settings: impl FnOnce(ReverseProxy<upstream::Client>) -> ReverseProxy<upstream::Client>,
    request: impl AsRef<[u8]>,
    response: &str,
) -> Exchange {
    super::within(async {
        let (server, mut requests) = server::canned(response).await;
        let proxy = serve(settings(ReverseProxy::to(&server.url()).unwrap())).await;
        let mut client = Conn::connect(proxy.address).await;
        client.send(request).await;
        let down = client.response().await.expect("no whole response");
        Exchange {
            up: requests.try_recv().ok(),
            down,
        }
    })
    .await
}

/// A request head without fields but Host.
pub fn get(fields: &str) -> String {
    format!("GET / HTTP/1.1\r\nHost: example.com\r\n{fields}\r\n")
}

pub const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
