//! One request through a proxy to an endpoint in this process.

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex},
};

use axum_upstream::{Body, ReverseProxy};
use http::{Request, Response, request, response};
use tokio::runtime::{Builder, Runtime};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};

pub(crate) type Endpoint = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// What came of a request.
pub(crate) struct Exchange {
    /// What the endpoint got, if it got anything.
    pub(crate) up: Option<request::Parts>,
    /// What the client got.
    pub(crate) down: response::Parts,
}

/// Sends `request` through a proxy with these settings; the endpoint answers `answer`.
pub(crate) fn exchange(
    settings: impl FnOnce(ReverseProxy<Endpoint>) -> ReverseProxy<Endpoint>,
    request: Request<()>,
    answer: Response<()>,
) -> Exchange {
    let up = Arc::new(Mutex::new(None));
    let seen = up.clone();
    let answer = Arc::new(Mutex::new(Some(answer)));
    let endpoint = service_fn(move |request: Request<Body>| {
        let before = seen.lock().unwrap().replace(request.into_parts().0);
        assert!(before.is_none(), "one request was sent twice");
        let answer = answer.lock().unwrap().take().expect("one request");
        std::future::ready(Ok(answer.map(|()| Body::empty())))
    });
    let proxy = settings(ReverseProxy::new(BoxCloneSyncService::new(endpoint)));
    let Ok(down) = block_on(proxy.oneshot(request.map(|()| Body::empty())));
    let up = up.lock().unwrap().take();
    Exchange {
        up,
        down: down.into_parts().0,
    }
}

/// Runs to completion, in paused time.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Runtime = runtime();
    }
    RUNTIME.with(|runtime| runtime.block_on(work))
}

pub(crate) fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap()
}
