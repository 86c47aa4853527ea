//! The service around another one, and its response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;

use super::{body::AccessLogBody, line::PendingLine, settings::LogSettings};

/// Logs one line per exchange of the service that it wraps: what an [`AccessLogLayer`](super::AccessLogLayer) makes.
#[derive(Clone)]
pub struct AccessLog<S> {
    inner: S,
    settings: Arc<LogSettings>,
}

impl<S> AccessLog<S> {
    pub(super) fn new(inner: S, settings: Arc<LogSettings>) -> Self {
        Self { inner, settings }
    }
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for AccessLog<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: http_body::Body,
{
    type Response = Response<AccessLogBody<ResBody>>;
    type Error = S::Error;
    type Future = AccessLogFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let line = PendingLine::begin(&self.settings, &mut request);
        AccessLogFuture {
            inner: self.inner.call(request),
            line: Some(line),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for AccessLog<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

pin_project! {
    /// The response future of [`AccessLog`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it before it is ready logs a line with the status 499.
    pub struct AccessLogFuture<F> {
        // Dropped before the line is written, which says how the exchange has ended.
        #[pin]
        inner: F,
        // `None` once it has moved on with the response.
        line: Option<PendingLine>,
    }
}

impl<F, B, E> Future for AccessLogFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body,
{
    type Output = Result<Response<AccessLogBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        let mut line = this.line.take();
        Poll::Ready(match result {
            Ok(response) => {
                if let Some(line) = &mut line {
                    line.answered(&response);
                }
                Ok(response.map(|body| AccessLogBody::new(body, line)))
            }
            Err(error) => {
                if let Some(line) = &mut line {
                    line.failed();
                }
                Err(error)
            }
        })
    }
}

impl<F> fmt::Debug for AccessLogFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogFuture").finish_non_exhaustive()
    }
}
