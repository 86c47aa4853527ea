//! Servers to balance over if no `--upstream` is given, so that the program can be tried out without any.

use std::fmt::Write;

use axum::{Router, extract::Request, extract::State};
use tokio::net::TcpListener;

use crate::BoxError;

/// Starts three servers on free ports, each of which answers with its name and what it received. Returns their URLs.
///
/// # Errors
///
/// Returns an error if no port is free.
pub(crate) async fn servers() -> Result<Vec<String>, BoxError> {
    let mut urls = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        urls.push(format!("http://{}", listener.local_addr()?));
        let app = Router::new().fallback(describe).with_state(name);
        tokio::spawn(async move { axum::serve(listener, app).await });
    }
    Ok(urls)
}

/// Answers with the name and the request head.
async fn describe(State(name): State<&'static str>, request: Request) -> String {
    let mut text = format!("I am {name}.\n\n{} {}\n", request.method(), request.uri());
    for (field, value) in request.headers() {
        let _ = writeln!(
            text,
            "{field}: {}",
            String::from_utf8_lossy(value.as_bytes())
        );
    }
    text
}
