//! Clients: the `LoadBalance` under test, and the balancers it is compared with, behind one type.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    fmt::Debug,
    future::Future,
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use axum_upstream::{
    Body, BoxError, EndpointSpec, LoadBalance, ReverseProxy,
    balance::LoadBalanceBuilder,
    policy::{LeastRequest, P2c, Policy, Random, RoundRobin},
};
use futures_util::{Stream, StreamExt, stream};
use http::{Request, Response};
use tower::{
    Service, ServiceExt,
    balance::p2c::Balance,
    buffer::Buffer,
    discover::Change,
    load::{CompleteOnResponse, Load, PeakEwma, PendingRequests},
};

use super::{
    clock::{Clock, Tasks},
    server::Server,
};

/// What picks the server for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picks {
    /// The default policy of `LoadBalance`.
    Default,
    /// `P2c::in_flight`.
    InFlight,
    RoundRobin,
    Random,
    LeastRequest,
    /// tower's `Balance` over `PendingRequests`, in a `Buffer`.
    TowerPending,
    /// tower's `Balance` over `PeakEwma`, in a `Buffer`, with the settings of its own example.
    TowerPeakEwma,
    /// A balancer that knows the queue and the speed of each server.
    Ideal,
}

impl Picks {
    pub const ALL: [Self; 8] = [
        Self::RoundRobin,
        Self::Random,
        Self::LeastRequest,
        Self::TowerPending,
        Self::TowerPeakEwma,
        Self::InFlight,
        Self::Default,
        Self::Ideal,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "p2c",
            Self::InFlight => "p2c in-flight",
            Self::RoundRobin => "round robin",
            Self::Random => "random",
            Self::LeastRequest => "least request",
            Self::TowerPending => "tower pending",
            Self::TowerPeakEwma => "tower PeakEwma",
            Self::Ideal => "ideal",
        }
    }
}

/// A request on its way.
pub type Sending = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>>>>;

/// A client with a balancer of its own, which sees only the requests of this client.
#[derive(Clone)]
pub struct Client(Rc<dyn Fn(Request<Body>) -> Sending>);

impl Client {
    pub fn send(&self, request: Request<Body>) -> Sending {
        (self.0)(request)
    }

    pub fn new(picks: Picks, world: &World<'_, '_>, seed: u64) -> Self {
        let policy = match picks {
            Picks::Default => Policy::default(),
            Picks::InFlight => P2c::in_flight().into(),
            Picks::RoundRobin => RoundRobin.into(),
            Picks::Random => Random.into(),
            Picks::LeastRequest => LeastRequest.into(),
            Picks::TowerPending => {
                let complete = CompleteOnResponse::default();
                return Self::tower(world, seed, move |server| {
                    PendingRequests::new(server, complete)
                });
            }
            Picks::TowerPeakEwma => {
                let (rtt, decay, complete) = (
                    Duration::from_millis(30),
                    10e9,
                    CompleteOnResponse::default(),
                );
                return Self::tower(world, seed, move |server| {
                    PeakEwma::new(server, rtt, decay, complete)
                });
            }
            Picks::Ideal => return Self::ideal(world, seed),
        };
        let spec = |(nth, server): (usize, &Server)| {
            let weight = world.weights.get(nth).copied().unwrap_or(1);
            let spec = EndpointSpec::new(nth.to_string(), server.clone());
            spec.weight(weight).unwrap()
        };
        let (first, last) = world.split();
        let specs = first.iter().enumerate().map(spec);
        let builder = LoadBalance::builder().policy(policy).seed(seed);
        let balance = (world.set)(builder).endpoints(specs).unwrap();
        if let Some(last) = last {
            let (handle, joins) = (balance.handle(), world.clock.at(world.joins));
            let spec = spec((first.len(), last));
            world.tasks.push(Box::pin(async move {
                joins.await;
                handle.insert(spec);
            }));
        }
        match world.response_timeout {
            None => Self::of(move || balance.clone()),
            Some(timeout) => {
                let proxy = ReverseProxy::new(balance).response_timeout(timeout);
                Self::of(move || proxy.clone())
            }
        }
    }

    /// Makes a client that sends each request with a service of its own, as axum does.
    fn of<S, B>(service: impl Fn() -> S + 'static) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + 'static,
        B: http_body::Body<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let service = Rc::new(service);
        Self(Rc::new(move |request| {
            let service = service();
            Box::pin(async move {
                let response = service.oneshot(request).await.map_err(Into::into)?;
                Ok(response.map(Body::new))
            })
        }))
    }

    /// Makes a client of tower's `Balance` in a `Buffer`, which is how it is commonly used.
    fn tower<L>(world: &World<'_, '_>, seed: u64, load: impl Fn(Server) -> L) -> Self
    where
        L: Service<Request<Body>, Response = Response<Body>, Error = BoxError, Future: Send>
            + Load<Metric: Debug>
            + Send
            + 'static,
    {
        let balance =
            Balance::from_rng(world.changes(load), Seeded(fastrand::Rng::with_seed(seed)));
        let (buffer, worker) = Buffer::<Request<Body>, _>::pair(balance, 1024);
        world.tasks.push(Box::pin(worker));
        Self::of(move || buffer.clone())
    }

    /// Makes a client that picks the server which will answer first, from a random start among equals.
    fn ideal(world: &World<'_, '_>, seed: u64) -> Self {
        let (servers, clock, joins) = (world.servers.to_vec(), world.clock.clone(), world.joins);
        let rng = RefCell::new(fastrand::Rng::with_seed(seed));
        Self::of(move || {
            let here = match joins.is_infinite() || clock.now() >= joins {
                true => &servers[..],
                false => &servers[..servers.len() - 1],
            };
            let start = rng.borrow_mut().usize(..here.len());
            let order = here[start..].iter().chain(&here[..start]);
            order
                .min_by(|a, b| a.expected().total_cmp(&b.expected()))
                .unwrap()
                .clone()
        })
    }
}

/// A seeded source of randomness for tower's `Balance`.
struct Seeded(fastrand::Rng);

impl tower::util::rng::Rng for Seeded {
    fn next_u64(&mut self) -> u64 {
        self.0.u64(..)
    }
}

/// What is set of a `LoadBalance`, beside its policy.
pub type Settings = fn(LoadBalanceBuilder) -> LoadBalanceBuilder;

/// What clients are made from: the servers, the settings and the time.
pub struct World<'w, 't> {
    pub servers: &'w [Server],
    /// Their weights; 1 for those that it does not have.
    pub weights: &'w [u32],
    /// When the last of them joins; infinite if it is there from the start.
    pub joins: f64,
    pub set: Settings,
    /// The response timeout of the `ReverseProxy` in front of a `LoadBalance`; without one, there is no proxy.
    pub response_timeout: Option<Duration>,
    pub clock: &'w Clock,
    pub tasks: &'w Tasks<'t>,
}

impl World<'_, '_> {
    /// Returns the servers that are there from the start, and the one that joins later if there is one.
    fn split(&self) -> (&[Server], Option<&Server>) {
        match self.servers.split_last() {
            Some((last, first)) if self.joins.is_finite() => (first, Some(last)),
            _ => (self.servers, None),
        }
    }

    /// Returns the discovery of tower's `Balance`.
    fn changes<L>(&self, load: impl Fn(Server) -> L) -> Changes<L>
    where
        L: Send + 'static,
    {
        let (first, last) = self.split();
        let first: Vec<_> = first.iter().cloned().map(&load).enumerate().collect();
        let inserted = stream::iter(
            first
                .into_iter()
                .map(|(nth, load)| Ok(Change::Insert(nth, load))),
        );
        let last = last.map(|last| (self.servers.len() - 1, load(last.clone())));
        let joins = self.clock.at(self.joins);
        Box::pin(inserted.chain(stream::once(async move {
            joins.await;
            let (nth, load) = last.expect("infinite unless there is one");
            Ok(Change::Insert(nth, load))
        })))
    }
}

type Changes<L> = Pin<Box<dyn Stream<Item = Result<Change<usize, L>, Infallible>> + Send>>;

/// Returns a function that returns the clients in turn.
pub fn in_turn(clients: Vec<Client>) -> impl Fn() -> Client {
    let next = Cell::new(0);
    move || {
        let nth = next.replace(next.get() + 1);
        clients[nth % clients.len()].clone()
    }
}
