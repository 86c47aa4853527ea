//! Follows a name in DNS: each of its addresses is an endpoint, and `Host` stays the name.
//!
//! Run with
//!
//! ```text
//! cargo run --example dns --features dns
//! curl -i http://127.0.0.1:8080/
//! ```
//!
//! It starts a backend at each address of `localhost`. With a URL it follows that name instead, by SRV records if it
//! begins with `_`, and with the address of a name server it asks that one. The services of Consul and Nomad, for
//! example:
//!
//! ```text
//! cargo run --example dns --features dns -- 127.0.0.1:8080 http://_api._tcp.service.consul 127.0.0.1:8600
//! ```

use std::{
    env,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, http::HeaderMap};
use axum_upstream::{BoxError, LoadBalance, ReverseProxy, discover::Dns};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut args = env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let url = match args.next() {
        Some(url) => url,
        None => backends().await?,
    };
    let mut name = match url.contains("//_") {
        true => Dns::srv(&url)?,
        false => Dns::addresses(&url)?,
    };
    if let Some(server) = args.next() {
        name = name.name_server(server.parse::<SocketAddr>()?);
    }
    let backends = LoadBalance::builder().discover(name)?;

    let endpoints = backends.handle();
    tokio::spawn(async move {
        let mut shown = Vec::new();
        loop {
            let now = endpoints.endpoints();
            let names: Vec<_> = now.into_iter().map(|endpoint| endpoint.name).collect();
            if names != shown {
                println!("{url} is at {names:?}");
                shown = names;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });

    let listener = TcpListener::bind(listen).await?;
    println!("try: curl -i http://{}/", listener.local_addr()?);
    let app = Router::new().fallback_service(ReverseProxy::new(backends));
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).await?;
    Ok(())
}

/// Starts a server at each address of `localhost`. Returns the URL of them all.
async fn backends() -> Result<String, BoxError> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let port = first.local_addr()?.port();
    // There may be no IPv6, or another program at this port.
    let second = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok();
    for listener in [first].into_iter().chain(second) {
        let ip: IpAddr = listener.local_addr()?.ip();
        let app = Router::new().fallback(move |head: HeaderMap| async move {
            format!("hello from {ip}, asked for {:?}\n", head.get("host"))
        });
        tokio::spawn(axum::serve(listener, app).into_future());
    }
    Ok(format!("http://localhost:{port}"))
}
