//! Authentication in front of the proxy: what is refused never reaches an endpoint, and the backend learns who it is.
//!
//! Run with
//!
//! ```text
//! cargo run --example auth
//! curl -i http://127.0.0.1:8080/
//! curl -i -H 'Authorization: Bearer enigma' http://127.0.0.1:8080/
//! ```

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
    // `Connection: X-Auth-User` from a client would have a proxy remove the field; a protected one stays.
    let proxy = ReverseProxy::to(&backend().await?)?.protected_fields([X_AUTH_USER]);

    let app = Router::new()
        .fallback_service(proxy)
        .layer(middleware::from_fn(authenticate))
        // Added after the layer, so open to everyone.
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
    // Replaces what a client may have claimed.
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

async fn backend() -> Result<String, BoxError> {
    let app = Router::new()
        .fallback(|headers: HeaderMap| async move { format!("hello, {headers:#?}\n") });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}
