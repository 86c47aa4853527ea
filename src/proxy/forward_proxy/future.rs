//! The response future of a forward proxy.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{Router, body::Body as AxumBody};
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::util::Oneshot;

use super::target_clients::TargetClients;
use crate::proxy::future::ProxyFuture;

pin_project! {
    /// The response future of [`ForwardProxy`](crate::ForwardProxy). It never fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping it cancels the request upstream, or closes the connection that was to become a tunnel.
    pub struct ForwardProxyFuture {
        #[pin]
        way: ForwardProxyWay,
    }
}

pin_project! {
    /// What becomes of a request.
    #[project = ForwardProxyWayProj]
    pub(super) enum ForwardProxyWay {
        // It is forwarded, or was refused.
        Forwarded { #[pin] future: ProxyFuture<TargetClients> },
        // It is a CONNECT. One allocation per tunnel is cheap.
        Connect { future: Pin<Box<dyn Future<Output = Response<AxumBody>> + Send>> },
        // It is meant for this server itself.
        OriginForm { #[pin] future: Oneshot<Router, Request<AxumBody>> },
    }
}

impl From<ForwardProxyWay> for ForwardProxyFuture {
    fn from(way: ForwardProxyWay) -> Self {
        Self { way }
    }
}

impl Future for ForwardProxyFuture {
    type Output = Result<Response<AxumBody>, Infallible>;

    /// Never yields an error: what failed has become a response.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().way.project() {
            ForwardProxyWayProj::Forwarded { future } => future.poll(cx),
            ForwardProxyWayProj::Connect { future } => future.as_mut().poll(cx).map(Ok),
            ForwardProxyWayProj::OriginForm { future } => future.poll(cx),
        }
    }
}

impl fmt::Debug for ForwardProxyFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardProxyFuture").finish_non_exhaustive()
    }
}
