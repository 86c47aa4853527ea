//! Adds and removes endpoints while requests are served, by three admin routes.
//!
//! Run with
//!
//! ```text
//! cargo run --example dynamic
//! curl -i http://127.0.0.1:8080/
//! curl -i http://127.0.0.1:8080/endpoints
//! ```
//!
//! It prints the commands that insert and remove its own backends. `/slow` takes three seconds: a removal is answered
//! once the requests in flight at the removed endpoint have ended.

use std::{collections::HashMap, env, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{Query, State},
    http::{StatusCode, Uri},
    routing::get,
};
use axum_upstream::{BoxError, LoadBalance, ReverseProxy, balance::Handle, upstream::Client};
use tokio::{net::TcpListener, time::sleep};

type Endpoints = State<Handle<Client>>;
type Params = Query<HashMap<String, String>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let urls = [
        backend("ada").await?,
        backend("grace").await?,
        backend("edsger").await?,
    ];
    let backends = LoadBalance::new(&urls[..1])?;

    // In production these routes need authentication, or a listener of their own.
    let app = Router::new()
        .route("/endpoints", get(list).put(insert).delete(remove))
        .with_state(backends.handle())
        .fallback_service(ReverseProxy::new(backends));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i http://{address}/");
    println!("     curl -i http://{address}/endpoints");
    println!(
        "     curl -i -X PUT 'http://{address}/endpoints?url={};weight=2'",
        urls[1]
    );
    println!(
        "     curl -i -X PUT 'http://{address}/endpoints?url={}'",
        urls[2]
    );
    println!(
        "     curl -i -X DELETE 'http://{address}/endpoints?url={}'",
        urls[0]
    );
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Lists the endpoints, with their weights and the number of their requests in flight.
async fn list(State(endpoints): Endpoints) -> String {
    let endpoints = endpoints.endpoints();
    endpoints
        .iter()
        .map(|e| format!("{} weight {} in flight {}\n", e.name, e.weight, e.in_flight))
        .collect()
}

/// Inserts the endpoint that the query names. One of the same name is replaced, and finishes its requests.
async fn insert(
    State(endpoints): Endpoints,
    Query(params): Params,
) -> Result<StatusCode, StatusCode> {
    let url = params.get("url").ok_or(StatusCode::BAD_REQUEST)?;
    let inserted = endpoints.insert_url(url);
    inserted.map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(StatusCode::CREATED)
}

/// Removes the endpoint that the query names. Answers when its last request has ended.
async fn remove(
    State(endpoints): Endpoints,
    Query(params): Params,
) -> Result<StatusCode, StatusCode> {
    let url = params.get("url").ok_or(StatusCode::BAD_REQUEST)?;
    let draining = endpoints.remove(url).ok_or(StatusCode::NOT_FOUND)?;
    draining.finished().await;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a server that answers with its name. Returns its URL.
async fn backend(name: &'static str) -> Result<String, BoxError> {
    let app = Router::new().fallback(move |uri: Uri| async move {
        if uri.path() == "/slow" {
            sleep(Duration::from_secs(3)).await;
        }
        format!("hello from {name}\n")
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
