//! Follows a Service in Kubernetes: each pod that is ready is an endpoint.
//!
//! Run with
//!
//! ```text
//! cargo run --example kubernetes --features kubernetes -- 127.0.0.1:8080 default/api:http
//! ```
//!
//! `default` is the namespace, `api` the Service and `http` its port, by name or by number; without one, the Service has
//! to have one only. The API server and the credentials are those of `kubectl`, or those of the pod that it runs in. The
//! pods have to be reachable from where it runs.
//!
//! In a pod, this Role is what its service account needs:
//!
//! ```text
//! kubectl create role discover-endpoints --verb=list,watch --resource=endpointslices.discovery.k8s.io
//! ```

use std::{env, net::SocketAddr, time::Duration};

use axum::Router;
use axum_upstream::{BoxError, LoadBalance, ReverseProxy, discover::Kubernetes};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt().init();
    let mut args = env::args().skip(1);
    let listen = args.next().unwrap_or_else(|| "127.0.0.1:8080".into());
    let name = args.next().unwrap_or_else(|| "default/api".into());
    let backends = LoadBalance::builder().discover(service(&name)?)?;

    let endpoints = backends.handle();
    tokio::spawn(async move {
        let mut shown = Vec::new();
        loop {
            let now = endpoints.endpoints();
            let names: Vec<_> = now.into_iter().map(|endpoint| endpoint.name).collect();
            if names != shown {
                println!("{name} has {names:?}");
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

/// The source that `NAMESPACE/SERVICE:PORT` stands for. The port may be missing.
fn service(name: &str) -> Result<Kubernetes, BoxError> {
    let (name, port) = match name.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (name, None),
    };
    let (namespace, service) = name
        .split_once('/')
        .ok_or("NAMESPACE/SERVICE is expected")?;
    let source = Kubernetes::service(namespace, service)?;
    Ok(match port {
        Some(port) => source.port(port),
        None => source,
    })
}
