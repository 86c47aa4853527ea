//! The crate under `axum::serve` with TLS towards clients, which the gateway does not have.

use std::net::SocketAddr;

use axum::{
    Router,
    serve::{ListenerExt, serve},
};
use axum_upstream::{LoadBalance, ReverseProxy};
use peer_common::{Arguments, block_on};
use peer_tls::TlsListener;

fn main() {
    let Arguments { listen, workers, upstreams, tls, h2c } = Arguments::parse();
    block_on(workers, async move {
        let scheme = if h2c { "h2c" } else { "http" };
        let upstreams = upstreams.iter().map(|address| format!("{scheme}://{address}"));
        let balance = LoadBalance::new(upstreams).expect("URLs of endpoints");
        let app = Router::new().fallback_service(ReverseProxy::new(balance));
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let listener = TlsListener::bind(listen, &tls.expect("--tls is missing")).await;
        serve(listener.tap_io(|_| ()), app).await.expect("the server runs");
    });
}
