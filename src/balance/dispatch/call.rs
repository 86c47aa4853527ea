//! [`Call`]: the call of an endpoint's service, as soon as it is ready.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use http::Request;
use pin_project_lite::pin_project;
use tower::Service;

use crate::body::Body;

pin_project! {
    /// Calls a service once, and completes with its answer.
    ///
    /// Nearly every service is ready at once, as a client is. It is called by [`new`](Call::new), so that the request
    /// moves on without being stored here: requests are large. That is the difference to tower's `Oneshot`.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the response future; or the request with the service, if that was not ready.
    pub(super) struct Call<S>
    where
        S: Service<Request<Body>>,
    {
        #[pin]
        state: CallState<S>,
    }
}

pin_project! {
    // -> Called, or Failed if the service fails before it is ready.
    #[project = CallProj]
    enum CallState<S>
    where
        S: Service<Request<Body>>,
    {
        // The service was not ready. Boxed, because it is rare, and as large as a request.
        Waiting { waiting: Option<Box<Waiting<S>>> },
        // The service has the request.
        Called { #[pin] response: S::Future },
        // It will never be ready. `None` once that has been told.
        Failed { error: Option<S::Error> },
    }
}

/// A request that waits for its service.
struct Waiting<S> {
    service: S,
    request: Request<Body>,
}

impl<S: Service<Request<Body>>> Call<S> {
    /// Calls `service` if it is ready now.
    ///
    /// The first poll asks it again if it is not, so that no wake-up is lost: there is no task to be woken yet.
    pub(super) fn new(mut service: S, request: Request<Body>) -> Self {
        let state = match service.poll_ready(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(())) => CallState::Called {
                response: service.call(request),
            },
            Poll::Ready(Err(error)) => CallState::Failed { error: Some(error) },
            Poll::Pending => CallState::Waiting {
                waiting: Some(Box::new(Waiting { service, request })),
            },
        };
        Self { state }
    }
}

impl<S: Service<Request<Body>>> Future for Call<S> {
    type Output = Result<S::Response, S::Error>;

    /// A future that is polled after its completion is left to the response future of the service, if there was one.
    /// Otherwise it stays pending.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                CallProj::Called { response } => return response.poll(cx),
                CallProj::Failed { error } => {
                    return error
                        .take()
                        .map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
                }
                CallProj::Waiting { waiting } => {
                    if let Some(waiting) = waiting {
                        ready!(waiting.service.poll_ready(cx))?;
                    }
                    let Some(waiting) = waiting.take() else {
                        return Poll::Pending;
                    };
                    let Waiting {
                        mut service,
                        request,
                    } = *waiting;
                    CallState::Called {
                        response: service.call(request),
                    }
                }
            };
            state.set(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
    };

    use futures_util::FutureExt;
    use tokio::sync::Semaphore;
    use tower::{ServiceExt, limit::ConcurrencyLimit, service_fn, util::BoxService};

    use super::*;

    type Endpoint = BoxService<Request<Body>, usize, &'static str>;

    /// Returns a service that answers with the number of its call.
    fn counting(calls: &Arc<AtomicUsize>) -> Endpoint {
        let calls = calls.clone();
        service_fn(move |_| {
            let nth = calls.fetch_add(1, Relaxed) + 1;
            async move { Ok(nth) }
        })
        .boxed()
    }

    /// Returns the same, which is ready while there is a permit.
    fn limited(calls: &Arc<AtomicUsize>, permits: &Arc<Semaphore>) -> Endpoint {
        ConcurrencyLimit::with_semaphore(counting(calls), permits.clone()).boxed()
    }

    #[test]
    fn a_service_that_is_ready_is_called_at_once() {
        let calls = Arc::default();
        let call = Call::new(counting(&calls), Request::default());
        assert_eq!(calls.load(Relaxed), 1);
        assert_eq!(call.now_or_never(), Some(Ok(1)));
        assert_eq!(calls.load(Relaxed), 1);
    }

    #[tokio::test]
    async fn another_is_called_once_it_is_ready() {
        let (calls, permits) = (Arc::default(), Arc::new(Semaphore::new(1)));
        let permit = permits.acquire().await.unwrap();
        let call = Call::new(limited(&calls, &permits), Request::default());
        let mut call = tokio::spawn(call);
        tokio::task::yield_now().await;
        assert!((&mut call).now_or_never().is_none());
        assert_eq!(calls.load(Relaxed), 0);
        drop(permit);
        assert_eq!(call.await.unwrap(), Ok(1));
    }

    #[tokio::test]
    async fn dropped_half_way_it_drops_the_request() {
        let (calls, permits) = (Arc::default(), Arc::new(Semaphore::new(0)));
        let held = Arc::new(());
        let request = || {
            let request = Request::builder().extension(held.clone());
            request.body(Body::empty()).unwrap()
        };
        let mut waiting = Call::new(limited(&calls, &permits), request());
        assert!((&mut waiting).now_or_never().is_none());
        let kept = service_fn(|request: Request<Body>| async move {
            let _kept = request;
            pending::<Result<(), Infallible>>().await
        });
        let called = Call::new(kept.boxed(), request());
        assert_eq!(Arc::strong_count(&held), 3);
        drop(waiting);
        drop(called);
        assert_eq!(Arc::strong_count(&held), 1);
        // It has left the line.
        permits.add_permits(1);
        assert_eq!(permits.available_permits(), 1);
        assert_eq!(calls.load(Relaxed), 0);
    }

    /// A service that fails before it is ready.
    struct Broken;

    impl Service<Request<Body>> for Broken {
        type Response = ();
        type Error = &'static str;
        type Future = std::future::Pending<Result<(), Self::Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            Poll::Ready(Err("broken"))
        }

        fn call(&mut self, _: Request<Body>) -> Self::Future {
            pending()
        }
    }

    #[test]
    fn a_service_that_fails_is_not_called() {
        let mut call = Call::new(Broken, Request::default());
        assert_eq!((&mut call).now_or_never(), Some(Err("broken")));
        assert_eq!((&mut call).now_or_never(), None);
    }
}
