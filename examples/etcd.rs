//! Follows a prefix in etcd: the value of each key is the URL of an endpoint.
//!
//! Run with
//!
//! ```text
//! etcd &
//! cargo run --example etcd --features etcd
//! ```
//!
//! It starts two backends, and prints the commands that register them. The gateway answers 503 until one is. With a URL
//! it follows that prefix instead:
//!
//! ```text
//! cargo run --example etcd --features etcd -- 127.0.0.1:8080 http://10.0.0.1:2379/services/web/
//! ```

use std::{env, net::SocketAddr, time::Duration};

use axum::Router;
use axum_upstream::{BoxError, LoadBalance, ReverseProxy, discover::Etcd};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().init();
    let mut args = env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let url = match args.next() {
        Some(url) => url,
        None => {
            backends().await?;
            "http://127.0.0.1:2379/services/api/".to_owned()
        }
    };
    let backends = LoadBalance::builder().discover(Etcd::prefix(&url)?.allow_empty())?;

    let endpoints = backends.handle();
    tokio::spawn(async move {
        let mut shown = Vec::new();
        loop {
            let now = endpoints.endpoints();
            let names: Vec<_> = now.into_iter().map(|endpoint| endpoint.name).collect();
            if names != shown {
                println!("{url} has {names:?}");
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

/// Starts two servers, and prints how they are registered.
async fn backends() -> Result<(), BoxError> {
    for name in ["ada", "grace"] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let app = Router::new().fallback(move || async move { format!("hello from {name}\n") });
        tokio::spawn(axum::serve(listener, app).into_future());
        println!("register: etcdctl put /services/api/{name} http://{address}");
    }
    Ok(())
}
