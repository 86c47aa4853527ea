//! Accepts connections and serves them until a signal.

use std::{convert::Infallible, time::Duration};

use axum::body::Body;
use axum_upstream::{LoadBalance, ReverseProxy};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tower::Service;
use tracing::Level;

use crate::log::LogLine;

/// How long requests in flight may take after a signal.
const GRACE: Duration = Duration::from_secs(10);

type Proxy = ReverseProxy<LoadBalance>;

/// Accepts until the signal, then lets what is in flight finish.
pub(crate) async fn serve(listener: TcpListener, proxy: Proxy, signal: impl Future<Output = ()>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    // Without a timer hyper has no limit for slow heads.
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    tokio::pin!(signal);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut signal => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Most likely out of file descriptors: give others time to close theirs.
                tracing::warn!(%error, "cannot accept");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let proxy = proxy.clone().client_addr(peer);
        let service = service_fn(move |request| answer(proxy.clone(), request));
        let connection = server
            .serve_connection_with_upgrades(TokioIo::new(stream), service)
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%peer, error, "connection ended early");
            }
        });
    }
    drop(listener);
    println!("stopping; requests in flight have {} s", GRACE.as_secs());
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

/// Forwards one request, and logs it.
async fn answer(
    mut proxy: Proxy,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    if !tracing::enabled!(Level::INFO) {
        return proxy.call(request).await;
    }
    let mut line = LogLine::new(&request);
    let response = proxy.call(request).await?;
    line.answered(&response);
    Ok(response)
}

/// Resolves at SIGINT or SIGTERM.
pub(crate) async fn shutdown_signal() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
            return;
        }
    }
    let _ = interrupt.await;
}
