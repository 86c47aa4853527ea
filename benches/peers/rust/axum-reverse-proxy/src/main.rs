//! The balanced proxy of the axum-reverse-proxy crate, with as many idle connections as the gateway keeps.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    serve::{ListenerExt, serve},
};
use axum_reverse_proxy::{BalancedProxy, ProxyPolicy};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use peer_common::{Arguments, block_on};
use peer_tls::TlsListener;

fn main() {
    let Arguments { listen, workers, upstreams, tls, h2c } = Arguments::parse();
    block_on(workers, async move {
        // The crate's own client, but for this: it keeps 32 idle connections per host, too few for 512 clients.
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .pool_max_idle_per_host(256)
            .http2_only(h2c)
            .build(connector);

        let scheme = if tls.is_some() { "https" } else { "http" };
        let targets = upstreams.iter().map(|address| format!("http://{address}")).collect();
        let proxy = BalancedProxy::new_with_client("/".to_owned(), targets, client)
            .with_policy(ProxyPolicy::new().with_public_scheme(scheme));
        let app = Router::from(proxy).into_make_service_with_connect_info::<SocketAddr>();

        if let Some(folder) = tls {
            let listener = TlsListener::bind(listen, &folder).await;
            return serve(listener.tap_io(|_| ()), app).await.expect("the server runs");
        }
        let listener = tokio::net::TcpListener::bind(listen).await.expect("the address is free");
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        serve(listener, app).await.expect("the server runs");
    });
}
