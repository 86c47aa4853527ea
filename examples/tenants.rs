//! A cluster for each tenant, which the host of a request names. Tenants come and go while requests are served.
//!
//! Run with
//!
//! ```text
//! cargo run --example tenants
//! curl -i -H 'host: blue.test' http://127.0.0.1:8080/orders
//! curl -i -H 'host: red.test' http://127.0.0.1:8080/orders
//! curl -i -X PUT http://127.0.0.1:8080/tenants/red
//! curl -i -X DELETE http://127.0.0.1:8080/tenants/blue
//! ```
//!
//! There is no tenant `red` at first: the proxy answers with a 404. A tenant is gone when its last request has ended.

use std::{borrow::Cow, env, net::SocketAddr};

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, Uri, header::HOST, request::Parts},
    routing::put,
};
use axum_upstream::{BoxError, LoadBalance, ReverseProxy, clusters::Clusters, upstream::Client};
use tokio::net::TcpListener;

type Tenants = Clusters<LoadBalance<Client>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let tenants = Tenants::new();
    for name in ["blue", "green"] {
        tenants.insert(name, cluster(name).await?);
    }
    // In production this route needs authentication, or a listener of its own.
    let app = Router::new()
        .route("/tenants/{name}", put(insert).delete(remove))
        .with_state(tenants.clone())
        .fallback_service(ReverseProxy::new(tenants.select(tenant)));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i -H 'host: blue.test' http://{address}/orders");
    println!("     curl -i -H 'host: red.test' http://{address}/orders");
    println!("     curl -i -X PUT http://{address}/tenants/red");
    println!("     curl -i -X DELETE http://{address}/tenants/blue");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Returns the tenant of a request: `blue` for `blue.test`.
fn tenant(head: &Parts) -> Option<Cow<'_, str>> {
    let host = head.headers.get(HOST)?.to_str().ok()?;
    let (tenant, _) = host.split_once('.')?;
    Some(tenant.into())
}

/// Adds a tenant. One of the same name is replaced, and finishes its requests.
async fn insert(
    State(tenants): State<Tenants>,
    Path(name): Path<String>,
) -> Result<StatusCode, StatusCode> {
    let cluster = cluster(&name).await;
    let cluster = cluster.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    tenants.insert(name, cluster);
    Ok(StatusCode::CREATED)
}

/// Removes a tenant. Answers when its last request has ended.
async fn remove(
    State(tenants): State<Tenants>,
    Path(name): Path<String>,
) -> Result<StatusCode, StatusCode> {
    let removed = tenants.remove(&name).ok_or(StatusCode::NOT_FOUND)?;
    removed.finished().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a server that answers with the tenant and the path. Returns a cluster of it alone.
async fn cluster(tenant: &str) -> Result<LoadBalance<Client>, BoxError> {
    let tenant = tenant.to_owned();
    let app =
        Router::new().fallback(move |uri: Uri| async move { format!("{tenant} has {uri}\n") });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(LoadBalance::new([url])?)
}
