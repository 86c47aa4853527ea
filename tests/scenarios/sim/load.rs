//! The load of a scenario, and the log of how its requests were answered.

use std::{
    cell::{Cell, RefCell},
    convert::identity,
    ops::Range,
    pin::pin,
    rc::Rc,
    time::Duration,
};

use axum_upstream::{Body, Error};
use futures_util::{
    StreamExt,
    future::{Either, ready, select},
    stream::FuturesUnordered,
};
use http::Request;
use http_body_util::BodyExt;

use super::{
    client::{Client, Picks, Sending, Settings, World, in_turn},
    clock::{Clock, Tasks, run},
    server::{At, Hit, Server},
};

/// One request, whether it was answered or not.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was due to be sent, in seconds. Measuring from here avoids coordinated omission.
    pub at: f64,
    /// The seconds from then to the response head; infinite if there was none.
    pub latency: f64,
    /// The seconds from then to the response head or the error; infinite if there was neither.
    pub took: f64,
    /// The status of the response, or that of the error; 0 if there was neither.
    pub status: u16,
    /// The server that answered; `usize::MAX` if none did.
    pub server: usize,
    /// Whether the status was a success.
    pub ok: bool,
}

/// The parameters of a run.
pub struct Setup<'s> {
    pub picks: Picks,
    pub seed: u64,
    /// The number of clients. They do not know of each other.
    pub clients: usize,
    pub arrivals: Arrivals,
    /// How long requests are sent, in seconds.
    pub lasts: f64,
    /// The seconds from the start during which requests do not count.
    pub warm_up: f64,
    pub servers: &'s dyn Fn(&Clock) -> Vec<Server>,
    /// The weights of the servers; 1 for those that it does not have. tower's balancers and the ideal one ignore them.
    pub weights: &'s [u32],
    /// When the last of the servers joins; infinite if it is there from the start.
    pub joins: f64,
    /// The seconds after which a client gives a request up.
    pub patience: f64,
    /// A client that sends other requests through the first balancer.
    pub attacker: Option<Rc<Attacker>>,
    /// Makes the request of a number. An open loop numbers its requests from 0; all of a closed loop have that
    /// number.
    pub request: fn(u64) -> Request<Body>,
    pub set: Settings,
    /// The response timeout of the `ReverseProxy` in front of a `LoadBalance`; without one, there is no proxy.
    pub response_timeout: Option<Duration>,
    /// Whether the time stands still at every millisecond, so that timers of the code under test fire in time.
    /// Without that, they fire at the next event of the simulation.
    pub ticks: bool,
}

type MakeRequest = dyn Fn(&Clock) -> Request<Body>;

/// A client that sends what it likes, without end. Its requests are not logged.
pub struct Attacker {
    pub request: Box<MakeRequest>,
    /// The seconds after which it gives a request up.
    pub patience: f64,
    pub pace: Pace,
}

/// How many requests an attacker sends.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// This many per second, at equal intervals.
    PerSecond(f64),
    /// This many at a time, each one followed by the next.
    AtOnce(usize),
}

/// How many requests the good clients send.
#[derive(Clone, Copy)]
pub enum Arrivals {
    /// Open loop: this many per second, at random times.
    Poisson(f64),
    /// Open loop: this many per second, at equal intervals.
    Even(f64),
    /// Closed loop: `at_once` at a time, until `total` have been sent.
    Closed { at_once: usize, total: usize },
}

/// The parts of a run that need its clock to be made.
struct Parts {
    servers: Vec<Server>,
    client: Box<dyn Fn() -> Client>,
}

/// What was observed in a run.
#[derive(Default)]
pub struct Log {
    pub samples: Vec<Sample>,
    /// The number of requests at each server, at each arrival of an open loop.
    pub here: Vec<Vec<usize>>,
    /// The requests at each server, from the start of the run.
    pub hits: Vec<Vec<Hit>>,
}

impl<'s> Setup<'s> {
    /// Returns the parameters of a run with one client, Poisson arrivals and no warm-up.
    pub fn new(
        picks: Picks,
        seed: u64,
        rate: f64,
        lasts: f64,
        servers: &'s dyn Fn(&Clock) -> Vec<Server>,
    ) -> Self {
        let arrivals = Arrivals::Poisson(rate);
        Self {
            picks,
            seed,
            clients: 1,
            arrivals,
            lasts,
            warm_up: 0.0,
            servers,
            weights: &[],
            joins: f64::INFINITY,
            patience: f64::INFINITY,
            attacker: None,
            request: |_| Request::new(Body::empty()),
            set: identity,
            response_timeout: None,
            ticks: false,
        }
    }

    /// Runs the simulation, and returns the log of the requests that were sent after the warm-up.
    pub fn run(&self) -> Log {
        let log = Rc::new(RefCell::new(Log::default()));
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let (parts, sent) = (RefCell::new(None::<Parts>), Cell::new(0));
        run(
            // A request without an answer a minute after the last one was sent will have none.
            self.lasts + 60.0,
            |clock, tasks| {
                let servers = (self.servers)(clock);
                let world = World {
                    servers: &servers,
                    weights: self.weights,
                    joins: self.joins,
                    set: self.set,
                    response_timeout: self.response_timeout,
                    clock,
                    tasks,
                };
                let client = |nth| Client::new(self.picks, &world, self.seed + nth as u64 * 7_919);
                let clients = (0..self.clients).map(client).collect();
                let client: Box<dyn Fn() -> Client> = Box::new(in_turn(clients));
                if let Some(attacker) = self.attacker.clone() {
                    attacker.start(clock, tasks, &client);
                }
                if self.ticks {
                    let (clock, end) = (clock.clone(), self.lasts + 1.0);
                    tasks.push(Box::pin(async move {
                        while clock.now() < end {
                            clock.after(0.001).await;
                        }
                    }));
                }
                *parts.borrow_mut() = Some(Parts { servers, client });
            },
            |clock, tasks| {
                let parts = parts.borrow();
                let Parts { servers, client } = parts.as_ref()?;
                if let Arrivals::Closed { at_once, total } = self.arrivals {
                    for _ in 0..at_once {
                        let (clock, log, client) = (clock.clone(), log.clone(), client());
                        let (each, patience, request) =
                            (total / at_once, self.patience, self.request);
                        tasks.push(Box::pin(async move {
                            for _ in 0..each {
                                let sending = client.send(request(0));
                                exchange(&clock, clock.now(), sending, patience, &log).await;
                            }
                        }));
                    }
                    return None;
                }
                let now = clock.now();
                if now >= self.warm_up {
                    log.borrow_mut()
                        .here
                        .push(servers.iter().map(Server::here).collect());
                }
                if now > 0.0 {
                    let (clock, log, client) = (clock.clone(), log.clone(), client());
                    let patience = self.patience;
                    let request = (self.request)(sent.replace(sent.get() + 1));
                    tasks.push(Box::pin(async move {
                        exchange(&clock, now, client.send(request), patience, &log).await;
                    }));
                }
                let next = match self.arrivals {
                    Arrivals::Poisson(rate) => now - (1.0 - rng.f64()).ln() / rate,
                    Arrivals::Even(rate) => now + 1.0 / rate,
                    Arrivals::Closed { .. } => return None,
                };
                (next < self.lasts).then_some(next)
            },
        );
        let mut log = log.take();
        if let Some(Parts { servers, .. }) = parts.take() {
            log.hits = servers.iter().map(Server::hits).collect();
        }
        log.samples.retain(|sample| sample.at >= self.warm_up);
        log
    }
}

/// Sends a request that is due at `at`, reads the response to its end, and logs it.
async fn exchange(clock: &Clock, at: f64, sending: Sending, patience: f64, log: &RefCell<Log>) {
    let nth = log.borrow().samples.len();
    log.borrow_mut().samples.push(Sample {
        at,
        latency: f64::INFINITY,
        took: f64::INFINITY,
        status: 0,
        server: usize::MAX,
        ok: false,
    });
    let exchange = async {
        let result = sending.await;
        let took = clock.now() - at;
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                let error = error.downcast::<Error>();
                let sample = &mut log.borrow_mut().samples[nth];
                sample.took = took;
                sample.status = error.map_or(0, |error| error.status().as_u16());
                return;
            }
        };
        log.borrow_mut().samples[nth] = Sample {
            at,
            latency: took,
            took,
            status: response.status().as_u16(),
            server: response
                .extensions()
                .get::<At>()
                .map_or(usize::MAX, |at| at.0),
            ok: response.status().is_success(),
        };
        // Until its body ends, the request is part of the load.
        let _ = response.into_body().collect().await;
    };
    select(pin!(exchange), clock.at(at + patience)).await;
}

impl Attacker {
    /// Spawns the task that sends its requests.
    fn start(self: Rc<Self>, clock: &Clock, tasks: &Tasks<'_>, client: &dyn Fn() -> Client) {
        let (clock, client) = (clock.clone(), client());
        match self.pace {
            Pace::AtOnce(together) => (0..together).for_each(|_| {
                let (own, clock, client) = (self.clone(), clock.clone(), client.clone());
                tasks.push(Box::pin(async move {
                    loop {
                        own.exchange(&clock, &client).await;
                    }
                }));
            }),
            Pace::PerSecond(rate) => tasks.push(Box::pin(async move {
                let mut under_way = FuturesUnordered::new();
                for nth in 1_u32.. {
                    under_way.push(self.exchange(&clock, &client));
                    let next = clock.at(f64::from(nth) / rate);
                    let ended = under_way.by_ref().for_each(|()| ready(()));
                    if let Either::Right(((), next)) = select(next, ended).await {
                        next.await;
                    }
                }
            })),
        }
    }

    /// Sends one request, and reads the response to its end.
    async fn exchange(&self, clock: &Clock, client: &Client) {
        let exchange = async {
            if let Ok(response) = client.send((self.request)(clock)).await {
                let _ = response.into_body().collect().await;
            }
        };
        select(pin!(exchange), clock.after(self.patience)).await;
    }
}

impl Log {
    /// Returns the `q`-quantile of the latencies, in seconds. `q` is from 0 to 1.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(
            self.samples.iter().map(|sample| sample.latency).collect(),
            q,
        )
    }

    /// Returns the mean of the latencies, in seconds.
    pub fn mean(&self) -> f64 {
        self.samples
            .iter()
            .map(|sample| sample.latency)
            .sum::<f64>()
            / self.samples.len() as f64
    }

    /// Returns the samples of requests that were due in this time and did not succeed.
    pub fn errors(&self, during: Range<f64>) -> impl Iterator<Item = &Sample> {
        let failed = move |sample: &&Sample| !sample.ok && during.contains(&sample.at);
        self.samples.iter().filter(failed)
    }

    /// Returns how many requests were sent to the servers in this time.
    pub fn sent(&self, during: Range<f64>) -> usize {
        let within = |hit: &&Hit| during.contains(&hit.at);
        self.hits.iter().flatten().filter(within).count()
    }

    /// Returns the share of samples, among those that `of` keeps, for which `is` holds.
    pub fn share(&self, of: impl Fn(&Sample) -> bool, is: impl Fn(&Sample) -> bool) -> f64 {
        let (mut all, mut yes) = (0.0, 0.0);
        for sample in self.samples.iter().filter(|sample| of(sample)) {
            all += 1.0;
            yes += f64::from(u8::from(is(sample)));
        }
        yes / f64::max(all, 1.0)
    }
}

/// Returns the `q`-quantile of the values, or NaN if there are none.
pub fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let nth = ((values.len() as f64 * q) as usize).min(values.len() - 1);
    *values.select_nth_unstable_by(nth, f64::total_cmp).1
}
