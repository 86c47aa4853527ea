//! Server-sent events through the proxy: each one arrives when it is sent, because bodies are streamed, not buffered.
//!
//! Run with
//!
//! ```text
//! cargo run --example streaming
//! curl -N http://127.0.0.1:8080/ticks
//! ```

use std::{convert::Infallible, env, net::SocketAddr, time::Duration};

use axum::{
    Router,
    response::sse::{Event, Sse},
    routing::get,
};
use axum_upstream::{BoxError, ReverseProxy};
use futures_util::{Stream, StreamExt};
use tokio::{net::TcpListener, time::interval};
use tokio_stream::wrappers::IntervalStream;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // A stream may last forever if something moves within each idle timeout. One that is silent for longer needs
    // `Sse::keep_alive` at the backend, or a longer `idle_timeout` here.
    let proxy = ReverseProxy::to(&backend().await?)?.idle_timeout(Duration::from_secs(5));
    let app = Router::new().fallback_service(proxy);

    let listen = env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let listener = TcpListener::bind(listen).await?;
    println!("try: curl -N http://{}/ticks", listener.local_addr()?);
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

/// Starts a server that sends an event every half second. Returns its URL.
async fn backend() -> Result<String, BoxError> {
    let app = Router::new().route("/ticks", get(async || Sse::new(ticks())));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(url)
}

/// Returns a stream that never ends.
fn ticks() -> impl Stream<Item = Result<Event, Infallible>> {
    let timer = IntervalStream::new(interval(Duration::from_millis(500)));
    timer
        .enumerate()
        .map(|(n, _)| Ok(Event::default().data(format!("tick {n}"))))
}
