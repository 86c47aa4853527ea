//! Servers that count their connections.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::watch;
use tower::ServiceExt;

use super::{proxy::OK, server};

/// How many connections there are. Clones count together.
#[derive(Clone, Default)]
pub struct Count {
    made: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

/// An open connection, until it is dropped.
pub struct Counted(Count);

impl Count {
    pub fn enter(&self) -> Counted {
        self.made.fetch_add(1, SeqCst);
        let open = self.open.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(open, SeqCst);
        Counted(self.clone())
    }

    /// All that have been made.
    pub fn made(&self) -> usize {
        self.made.load(SeqCst)
    }

    /// Those that are open now.
    pub fn open(&self) -> usize {
        self.open.load(SeqCst)
    }

    /// The most that have been open at once.
    pub fn most(&self) -> usize {
        self.most.load(SeqCst)
    }
}

impl Counted {
    /// What this connection is counted in.
    pub fn count(&self) -> &Count {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

/// A server that answers `per_connection` requests on each connection and then closes it, without a word in the head.
pub async fn http1(per_connection: usize) -> (server::Server, Count) {
    let count = Count::default();
    let entered = count.clone();
    let server = server::raw(move |mut conn| {
        let counted = entered.enter();
        async move {
            let _counted = counted;
            for _ in 0..per_connection {
                if conn.request().await.is_none() {
                    return;
                }
                conn.send(OK).await;
            }
        }
    });
    (server.await, count)
}

/// An HTTP/2 server that allows this many streams on a connection, and says goodbye after `goodbye` requests.
pub async fn http2(streams: u32, goodbye: usize, app: Router) -> (server::Server, Count) {
    let count = Count::default();
    let entered = count.clone();
    let server = server::raw(move |conn| {
        let (counted, app) = (entered.enter(), app.clone());
        async move {
            let _counted = counted;
            let served = Arc::new(AtomicUsize::new(0));
            let (over, mut is_over) = watch::channel(());
            let service = hyper::service::service_fn(move |request| {
                if served.fetch_add(1, SeqCst) + 1 == goodbye {
                    over.send_replace(());
                }
                app.clone().oneshot(request)
            });
            let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_concurrent_streams(streams);
            let connection = builder.serve_connection(TokioIo::new(conn.into_stream()), service);
            let mut connection = pin!(connection);
            tokio::select! {
                _ = &mut connection => {}
                Ok(()) = is_over.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }
    });
    (server.await, count)
}
