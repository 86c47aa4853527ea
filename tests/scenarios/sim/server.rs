//! Simulated servers: cores, a queue, and a behaviour.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use axum_upstream::{Body, BoxError};
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tower::Service;

use super::clock::{Clock, Timer};

/// How a server treats one request.
#[derive(Clone, Copy)]
pub struct Reply {
    /// The seconds for which a core works at it.
    pub takes: f64,
    /// The seconds from then to the response head.
    pub head: f64,
    /// The seconds from the head to the last byte.
    pub body: f64,
    pub status: u16,
    /// The seconds in `Retry-After`; `None` leaves the field out.
    pub retry_after: Option<u64>,
}

impl Reply {
    /// Returns a complete 200 after this many seconds of work.
    pub fn after(takes: f64) -> Self {
        Self {
            takes,
            head: 0.0,
            body: 0.0,
            status: 200,
            retry_after: None,
        }
    }
}

/// Decides how a request is treated, at the time when a core takes it up.
type Behaviour = dyn Fn(f64, &mut fastrand::Rng) -> Reply + Send + Sync;
/// The work that a core does per second, at a time.
type Speed = dyn Fn(f64) -> f64 + Send + Sync;

/// A request extension that says how any server treats the request, instead of the server's behaviour.
#[derive(Clone, Copy)]
pub struct Treatment(pub Reply);

/// A server with some cores and a queue in the order of arrival. A request joins the queue when its body has been
/// received. Clones are the same server.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    nth: usize,
    clock: Clock,
    cores: usize,
    free: Arc<Semaphore>,
    behaviour: Box<Behaviour>,
    /// The speed that [`Server::expected`] tells an ideal balancer. It must agree with the behaviour.
    speed: Box<Speed>,
    rng: Mutex<fastrand::Rng>,
    /// The number of requests whose last byte has not been sent.
    here: AtomicUsize,
}

/// A response extension that says which server the response is from.
#[derive(Clone, Copy)]
pub struct At(pub usize);

/// More cores than there will be requests, so that nothing queues.
pub const UNLIMITED: usize = 1_000_000;

impl Server {
    /// Makes a server of constant speed.
    pub fn new(
        nth: usize,
        clock: &Clock,
        cores: usize,
        seed: u64,
        behaviour: impl Fn(f64, &mut fastrand::Rng) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::with_speed(nth, clock, cores, seed, |_| 1.0, behaviour)
    }

    /// Makes a server whose speed changes with time.
    pub fn with_speed(
        nth: usize,
        clock: &Clock,
        cores: usize,
        seed: u64,
        speed: impl Fn(f64) -> f64 + Send + Sync + 'static,
        behaviour: impl Fn(f64, &mut fastrand::Rng) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            nth,
            clock: clock.clone(),
            cores,
            free: Arc::new(Semaphore::new(cores)),
            behaviour: Box::new(behaviour),
            speed: Box::new(speed),
            rng: Mutex::new(fastrand::Rng::with_seed(
                seed.wrapping_mul(1_000_003) + nth as u64,
            )),
            here: AtomicUsize::new(0),
        }))
    }

    /// Returns the number of requests whose last byte has not been sent.
    pub fn here(&self) -> usize {
        self.0.here.load(Relaxed)
    }

    /// Returns how long one more request would take, per unit of its work: what an ideal balancer knows.
    pub fn expected(&self) -> f64 {
        let ahead = (self.here() + 1).saturating_sub(self.0.cores) as f64 / self.0.cores as f64;
        (1.0 + ahead) / (self.0.speed)(self.0.clock.now())
    }
}

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let here = Here::new(&self.0);
        let treatment = request.extensions().get::<Treatment>().copied();
        Box::pin(async move {
            let server = &here.0;
            request.into_body().collect().await?;
            let reply = match treatment {
                Some(Treatment(reply)) if reply.takes == 0.0 => reply,
                _ => {
                    let _core = server.free.acquire().await;
                    let usual =
                        || (server.behaviour)(server.clock.now(), &mut server.rng.lock().unwrap());
                    let reply = treatment.map_or_else(usual, |Treatment(reply)| reply);
                    server.clock.after(reply.takes).await;
                    reply
                }
            };
            server.clock.after(reply.head).await;
            let nth = server.nth;
            let body = match reply.body {
                0.0 => Body::empty(),
                wait => Body::new(Slow {
                    timer: server.clock.after(wait),
                    here: Some(here),
                }),
            };
            let status = StatusCode::from_u16(reply.status).unwrap();
            let mut response = Response::builder().status(status).extension(At(nth));
            if let Some(seconds) = reply.retry_after {
                response = response.header(header::RETRY_AFTER, seconds);
            }
            Ok(response.body(body)?)
        })
    }
}

/// Counts a request at its server, until it is dropped.
struct Here(Arc<Inner>);

impl Here {
    fn new(server: &Arc<Inner>) -> Self {
        server.here.fetch_add(1, Relaxed);
        Self(server.clone())
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.here.fetch_sub(1, Relaxed);
    }
}

/// A body whose only byte arrives late.
struct Slow {
    timer: Timer,
    here: Option<Here>,
}

impl http_body::Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.here.is_none() {
            return Poll::Ready(None);
        }
        std::task::ready!(Pin::new(&mut self.timer).poll(cx));
        self.here = None;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
    }
}
