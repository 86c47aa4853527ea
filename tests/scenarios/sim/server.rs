//! Simulated servers: cores, a queue, a behaviour, and outages.

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    ops::Range,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use axum_upstream::{
    Body, BoxError,
    upstream::{Client, TokioIo},
};
use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response, StatusCode, Uri, header};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::{io::DuplexStream, sync::Semaphore};
use tower::{Service, ServiceExt, service_fn};

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

/// What becomes of requests during an outage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outage {
    /// Requests in progress are reset when it begins, and later ones find no connection.
    Refuses,
    /// Requests are never answered, those in progress when it begins included.
    Hangs,
}

/// One request that was sent to a server.
#[derive(Clone, Copy, Debug)]
pub struct Hit {
    /// When, in seconds.
    pub at: f64,
    /// The number in its field [`NUMBER`], if it has one.
    pub number: Option<u64>,
    pub fate: Fate,
    /// When its fate was decided, in seconds. Infinite if it was not answered.
    pub ended: f64,
}

/// What a server did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It has not answered, or the client was gone by then.
    Unanswered,
    /// It did not let the client connect.
    Refused,
    /// It broke the connection without an answer.
    Reset,
    /// It answered with this status.
    Answered(u16),
}

/// The header field by which a request is recognised at the servers.
pub const NUMBER: &str = "x-number";

/// The seconds that it takes to be refused.
const REFUSAL: f64 = 0.001;

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
    outages: Vec<(Range<f64>, Outage)>,
    /// A client that cannot connect, and so returns the request unsent, as is true of a server that refuses.
    refusing: Option<Client>,
    hits: Mutex<Vec<Hit>>,
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
            outages: Vec::new(),
            refusing: None,
            hits: Mutex::default(),
        }))
    }

    /// Adds an outage, from one second of the simulation to another.
    pub fn out(mut self, during: Range<f64>, outage: Outage) -> Self {
        let inner = Arc::get_mut(&mut self.0).expect("not cloned yet");
        inner.outages.push((during, outage));
        inner.refusing = Some(refusing(&inner.clock));
        self
    }

    /// Returns all requests that were sent here, in the order of their arrival.
    pub fn hits(&self) -> Vec<Hit> {
        self.0.hits.lock().unwrap().clone()
    }

    /// Returns the number of requests whose last byte has not been sent.
    pub fn here(&self) -> usize {
        self.0.here.load(Relaxed)
    }

    /// Returns how long one more request would take, per unit of its work: what an ideal balancer knows.
    pub fn expected(&self) -> f64 {
        if self.0.outage(self.0.clock.now()).is_some() {
            return f64::INFINITY;
        }
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
        let nth = here.0.hit(&request);
        Box::pin(async move {
            let server = here.0.clone();
            let (fate, result) = match server.outage(server.clock.now()) {
                Some(Outage::Refuses) => (Fate::Refused, server.refuse(request).await),
                Some(Outage::Hangs) => pending().await,
                None => {
                    let (answer, breaks) = (pin!(server.answer(request)), pin!(server.breaks()));
                    match select(answer, breaks).await {
                        Either::Left((Ok(reply), _)) => {
                            (Fate::Answered(reply.status), server.respond(reply, here))
                        }
                        Either::Left((Err(error), _)) => (Fate::Unanswered, Err(error)),
                        Either::Right(_) => (Fate::Reset, Err("connection reset".into())),
                    }
                }
            };
            let hit = &mut server.hits.lock().unwrap()[nth];
            (hit.fate, hit.ended) = (fate, server.clock.now());
            result
        })
    }
}

impl Inner {
    /// Notes a request that has arrived, and returns its place among the others.
    fn hit(&self, request: &Request<Body>) -> usize {
        let number = request.headers().get(NUMBER);
        let number = number.map(|number| number.to_str().unwrap().parse().unwrap());
        let mut hits = self.hits.lock().unwrap();
        hits.push(Hit {
            at: self.clock.now(),
            number,
            fate: Fate::Unanswered,
            ended: f64::INFINITY,
        });
        hits.len() - 1
    }

    /// Returns the outage at this time, if there is one.
    fn outage(&self, now: f64) -> Option<Outage> {
        let mut outages = self.outages.iter();
        outages
            .find(|(during, _)| during.contains(&now))
            .map(|(_, outage)| *outage)
    }

    /// Completes when the requests in progress now are reset.
    async fn breaks(&self) {
        let now = self.clock.now();
        let coming = self.outages.iter().filter(|(during, _)| during.start > now);
        match coming.min_by(|(one, _), (other, _)| one.start.total_cmp(&other.start)) {
            Some((during, Outage::Refuses)) => self.clock.at(during.start).await,
            _ => pending().await,
        }
    }

    /// Returns the error of a server that cannot be connected to.
    async fn refuse(&self, request: Request<Body>) -> Result<Response<Body>, BoxError> {
        let client = self.refusing.clone().expect("it has an outage");
        Ok(client.oneshot(request).await?.map(Body::new))
    }

    /// Receives a request and works at it, until the head of its response is to be sent.
    async fn answer(&self, request: Request<Body>) -> Result<Reply, BoxError> {
        let treatment = request.extensions().get::<Treatment>().copied();
        request.into_body().collect().await?;
        let reply = match treatment {
            Some(Treatment(reply)) if reply.takes == 0.0 => reply,
            _ => {
                let _core = self.free.acquire().await;
                let usual = || (self.behaviour)(self.clock.now(), &mut self.rng.lock().unwrap());
                let reply = treatment.map_or_else(usual, |Treatment(reply)| reply);
                self.clock.after(reply.takes).await;
                reply
            }
        };
        self.clock.after(reply.head).await;
        if self.outage(self.clock.now()) == Some(Outage::Hangs) {
            pending::<()>().await;
        }
        Ok(reply)
    }

    /// Makes a response, whose body keeps the request here.
    fn respond(&self, reply: Reply, here: Here) -> Result<Response<Body>, BoxError> {
        let body = match reply.body {
            0.0 => Body::empty(),
            wait => Body::new(Slow {
                timer: self.clock.after(wait),
                here: Some(here),
            }),
        };
        let status = StatusCode::from_u16(reply.status).unwrap();
        let mut response = Response::builder().status(status).extension(At(self.nth));
        if let Some(seconds) = reply.retry_after {
            response = response.header(header::RETRY_AFTER, seconds);
        }
        Ok(response.body(body)?)
    }
}

/// Returns a client of a server that refuses connections.
fn refusing(clock: &Clock) -> Client {
    let clock = clock.clone();
    let connector = service_fn(move |_: Uri| {
        let refused = clock.after(REFUSAL);
        async move {
            refused.await;
            Err::<TokioIo<DuplexStream>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
        }
    });
    let client = Client::builder().connector(connector);
    client.build("http://simulated").unwrap()
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
