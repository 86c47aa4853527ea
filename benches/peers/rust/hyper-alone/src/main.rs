//! Answers by itself, with the gateway's HTTP server and nothing behind it: the server's share of a proxy's cost.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use peer_common::{Arguments, block_on};
use tokio::net::TcpListener;

static LARGEST: [u8; 1 << 20] = [b'x'; 1 << 20];

fn main() {
    let Arguments { listen, workers, .. } = Arguments::parse();
    block_on(workers, async move {
        let listener = TcpListener::bind(listen).await.expect("the address is free");
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new());
        server.http2().timer(TokioTimer::new());
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            let connection =
                server.serve_connection_with_upgrades(TokioIo::new(stream), service_fn(answer)).into_owned();
            tokio::spawn(connection);
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let length = match request.uri().path() {
        "/100" => 100,
        "/10k" => 10 << 10,
        "/1m" => 1 << 20,
        "/post" => 3,
        _ => return Ok(status(StatusCode::NOT_FOUND)),
    };
    if request.into_body().collect().await.is_err() {
        return Ok(status(StatusCode::BAD_REQUEST));
    }
    Ok(Response::new(Full::new(Bytes::from_static(&LARGEST[..length]))))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
