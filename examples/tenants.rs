//! A backend for each tenant, chosen in a handler: `forward` sends the request and returns the response.
//!
//! Run with
//!
//! ```text
//! cargo run --example tenants
//! curl -i http://127.0.0.1:8080/blue/orders
//! curl -i http://127.0.0.1:8080/green/orders
//! curl -i http://127.0.0.1:8080/red/orders
//! ```
//!
//! There is no tenant `red`: the handler answers with a 404.

use std::{collections::HashMap, env, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::any,
};
use axum_upstream::{BoxError, ReverseProxy};
use tokio::net::TcpListener;

type Tenants = Arc<HashMap<&'static str, ReverseProxy>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut tenants = HashMap::new();
    for name in ["blue", "green"] {
        // Each tenant's proxy has settings of its own, such as the prefix that it removes from the path.
        let proxy = ReverseProxy::to(&backend(name).await?)?.strip_prefix(&format!("/{name}"))?;
        tenants.insert(name, proxy);
    }
    let app = Router::new()
        .route("/{tenant}/{*rest}", any(by_tenant))
        .with_state(Tenants::new(tenants));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i http://{address}/blue/orders");
    println!("     curl -i http://{address}/red/orders");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Forwards a request to the backend of the tenant that the path names.
async fn by_tenant(
    State(tenants): State<Tenants>,
    Path((tenant, _)): Path<(String, String)>,
    request: Request,
) -> Response {
    match tenants.get(tenant.as_str()) {
        Some(proxy) => proxy.forward(request).await,
        None => (StatusCode::NOT_FOUND, "no such tenant\n").into_response(),
    }
}

/// Starts a server that answers with its name and the path. Returns its URL.
async fn backend(name: &'static str) -> Result<String, BoxError> {
    let app = Router::new()
        .fallback(move |uri: Uri| async move { format!("{name} was asked for {uri}\n") });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
