//! The status page, on an address of its own.

use std::{io, net::SocketAddr};

use axum::{
    extract::Request,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use axum_upstream::{LoadBalance, status::status_router};
use http::{StatusCode, Uri, header};
use tokio::{net::TcpListener, task::JoinSet};

/// Serves the status of a cluster until the returned set is dropped. Returns the address as well.
///
/// # Errors
///
/// Returns the error of the system if it is not possible to listen there.
pub(crate) async fn serve(
    address: SocketAddr,
    balance: &LoadBalance,
) -> io::Result<(SocketAddr, JoinSet<()>)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let mut app = status_router(balance);
    if address.ip().is_loopback() {
        app = app.layer(middleware::from_fn(local));
    }
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        // It never ends, and retries what fails.
        let _ = axum::serve(listener, app).await;
    });
    Ok((address, tasks))
}

/// Answers only requests that are meant for this machine.
///
/// A page of another site can have a name of its own resolved to 127.0.0.1, and then read what is answered to it (DNS
/// rebinding). It cannot choose the `Host` of such a request.
async fn local(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST);
    let uri: Option<Uri> = host.and_then(|host| host.to_str().ok()?.parse().ok());
    let is_local = uri.as_ref().and_then(Uri::host).is_some_and(|host| {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok()
    });
    match is_local {
        true => next.run(request).await,
        false => (StatusCode::FORBIDDEN, "use the address or localhost").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn names_of_other_sites_are_refused() {
        let app: Router = Router::new()
            .route("/", get(|| async { "ok" }))
            .layer(middleware::from_fn(local));
        for (host, status) in [
            ("127.0.0.1:9901", 200),
            ("[::1]:9901", 200),
            ("localhost:9901", 200),
            ("localhost", 200),
            ("evil.example:9901", 403),
            ("127.0.0.1.evil.example", 403),
            ("", 403),
        ] {
            let request = Request::get("/").header("host", host);
            let request = request.body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), status, "{host}");
        }
    }
}
