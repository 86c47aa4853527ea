//! The response future of a split.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::{Service, util::Oneshot};

use super::branch::SplitBranch;

pin_project! {
    /// The response future of [`Split`](super::Split). Its errors are those of the branch.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the future of the branch. The request stays counted. It must not be polled after it
    /// is ready.
    pub struct SplitFuture<S, B>
    where
        S: Service<Request<B>>,
    {
        #[pin]
        response: Oneshot<S, Request<B>>,
        // `None` once the response has it.
        branch: Option<SplitBranch>,
    }
}

impl<S: Service<Request<B>>, B> SplitFuture<S, B> {
    /// Returns the future of a request that was given to `branch`.
    pub(super) fn new(response: Oneshot<S, Request<B>>, branch: SplitBranch) -> Self {
        let branch = Some(branch);
        Self { response, branch }
    }
}

impl<S, B, ResBody> Future for SplitFuture<S, B>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
{
    type Output = Result<Response<ResBody>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.response.poll(cx))?;
        if let Some(branch) = this.branch.take() {
            response.extensions_mut().insert(branch);
        }
        Poll::Ready(Ok(response))
    }
}

impl<S: Service<Request<B>>, B> fmt::Debug for SplitFuture<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitFuture")
            .field("branch", &self.branch)
            .finish_non_exhaustive()
    }
}
