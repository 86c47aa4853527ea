//! Two versions of an application, blue and green: a share of the users sees the new one, then all of them do.
//!
//! Run with
//!
//! ```text
//! cargo run --example split
//! curl -i http://127.0.0.1:8080/
//! curl -i -H 'x-branch: green' http://127.0.0.1:8080/
//! curl -i -X PUT http://127.0.0.1:8080/green/50
//! curl -i -X PUT http://127.0.0.1:8080/green/all
//! curl -i http://127.0.0.1:8080/branches
//! ```
//!
//! A user is known by a cookie here: `curl -b user=1` has the same answer until the weights change, and users who see
//! green go on to see it while its share grows.

use std::{env, net::SocketAddr};

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderName, HeaderValue, StatusCode, header::COOKIE, request::Parts},
    routing::{get, put},
};
use axum_upstream::{
    BoxError, LoadBalance, ReverseProxy,
    split::{Split, SplitBranch, SplitHandle},
};
use tokio::net::TcpListener;

const BRANCH: HeaderName = HeaderName::from_static("x-branch");

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let blue = LoadBalance::new([backend("blue").await?, backend("blue, too").await?])?;
    let green = LoadBalance::new([backend("green").await?])?;
    let split = Split::new([("blue", 95, blue), ("green", 5, green)])?
        // For testers. Any client can send the field.
        .override_by_header(BRANCH, "green", "green")?
        .by_key(user);

    // In production the routes that change something need authentication, or a listener of their own.
    let admin = Router::new()
        .route("/branches", get(list))
        .route("/green/{percent}", put(shift))
        .with_state(split.handle());
    let proxy = ReverseProxy::new(split).rewrite_response(|head| {
        let branch = head
            .extensions
            .get::<SplitBranch>()
            .map(|branch| branch.name());
        if let Some(Ok(branch)) = branch.map(HeaderValue::from_str) {
            head.headers.insert(BRANCH, branch);
        }
    });
    let app = admin.fallback_service(proxy);

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    println!("try: curl -i http://{address}/");
    println!("     curl -i -H 'x-branch: green' http://{address}/");
    println!("     curl -i -X PUT http://{address}/green/50");
    println!("     curl -i -X PUT http://{address}/green/all");
    println!("     curl -i http://{address}/branches");
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Returns the user of a request: `1` for `Cookie: lang=en; user=1`.
fn user(head: &Parts) -> Option<Vec<u8>> {
    let cookies = head.headers.get(COOKIE)?.to_str().ok()?;
    let user = cookies
        .split(';')
        .find_map(|pair| pair.trim().strip_prefix("user="))?;
    Some(user.into())
}

/// Lists the branches, with their weights and how many requests they had.
async fn list(State(split): State<SplitHandle>) -> String {
    let branches = split.branches();
    branches
        .iter()
        .map(|b| format!("{} weight {} requests {}\n", b.branch, b.weight, b.requests))
        .collect()
}

/// Gives green a share of the users in percent, or all of them.
async fn shift(
    State(split): State<SplitHandle>,
    Path(share): Path<String>,
) -> Result<StatusCode, StatusCode> {
    let done = match share.parse::<u32>() {
        Ok(percent @ 0..=100) => split.set_weights([("blue", 100 - percent), ("green", percent)]),
        _ if share == "all" => split.switch_to("green"),
        _ => return Err(StatusCode::BAD_REQUEST),
    };
    done.map_err(|_| StatusCode::BAD_REQUEST)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a server that answers with its name. Returns its URL.
async fn backend(name: &'static str) -> Result<String, BoxError> {
    let app = Router::new().fallback(move || async move { format!("hello from {name}\n") });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
