//! Authentication in front of the proxy: a refused request never reaches a backend, and the backend learns the user.
//!
//! Run with
//!
//! ```text
//! cargo run --example auth
//! curl -i http://127.0.0.1:8080/
//! curl -i -H 'Authorization: Bearer enigma' http://127.0.0.1:8080/
//! ```
//!
//! The first request gets a 401. The second one is forwarded with `X-Auth-User: alan`, and without the token.

use std::{env, net::SocketAddr};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use axum_upstream::{BoxError, ReverseProxy};
use tokio::net::TcpListener;

const X_AUTH_USER: HeaderName = HeaderName::from_static("x-auth-user");

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // A field that a client names in `Connection` is removed by a proxy (RFC 9110 7.6.1): the request would reach the
    // backend without its user. A protected field stays.
    let proxy = ReverseProxy::to(&backend().await?)?.protected_fields([X_AUTH_USER]);

    let app = Router::new()
        .fallback_service(proxy)
        .layer(middleware::from_fn(authenticate))
        // Added after the layer, so it is open to everyone.
        .route("/healthz", get(|| async { "ok\n" }));

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    println!(
        "try: curl -i -H 'Authorization: Bearer enigma' http://{}/",
        listener.local_addr()?
    );
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Lets a request with valid credentials pass, as that of its user, and answers any other with a 401.
async fn authenticate(mut request: Request, next: Next) -> Response {
    // The backend needs the user, not the secret.
    let credentials = request.headers_mut().remove(header::AUTHORIZATION);
    let Some(user) = credentials.and_then(|credentials| user_of(&credentials)) else {
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Bearer")],
            "who are you?\n",
        )
            .into_response();
    };
    // `insert` replaces the field that a client may have sent itself.
    request
        .headers_mut()
        .insert(X_AUTH_USER, HeaderValue::from_static(user));
    next.run(request).await
}

/// Stands for a look-up in your session store.
fn user_of(credentials: &HeaderValue) -> Option<&'static str> {
    match credentials.as_bytes() {
        b"Bearer enigma" => Some("alan"),
        b"Bearer cobol" => Some("grace"),
        _ => None,
    }
}

/// Starts a server that answers with what it knows of the user. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let app = Router::new()
        .fallback(|headers: HeaderMap| async move { format!("hello, {headers:#?}\n") });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
