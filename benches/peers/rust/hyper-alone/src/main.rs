//! Answers by itself, with the gateway's HTTP server and nothing behind it: the server's share of a proxy's cost.
//!
//! It is also the origin where nginx cannot be: of HTTP/2, gRPC and WebSocket. UPSTREAM are more addresses to listen on.

mod answer;
mod websocket;

use axum::serve::{Listener, ListenerExt};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use peer_common::{Arguments, block_on};
use peer_tls::TlsListener;
use tokio::net::TcpListener;

fn main() {
    let Arguments { listen, workers, upstreams, tls, .. } = Arguments::parse();
    block_on(workers, async move {
        for listen in upstreams {
            tokio::spawn(serve(bind(listen).await, listen.port()));
        }
        match tls {
            Some(folder) => serve(TlsListener::bind(listen, &folder).await, listen.port()).await,
            None => serve(bind(listen).await, listen.port()).await,
        }
    });
}

async fn bind(listen: std::net::SocketAddr) -> impl Listener<Addr = std::net::SocketAddr> {
    let listener = TcpListener::bind(listen).await.expect("the address is free");
    listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    })
}

async fn serve(mut listener: impl Listener, port: u16) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    loop {
        let (stream, _) = listener.accept().await;
        let service = service_fn(move |request| answer::answer(request, port));
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        tokio::spawn(connection);
    }
}
