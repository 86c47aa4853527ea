//! Load, and what came of it.

use std::{cell::RefCell, pin::pin, rc::Rc};

use axum_upstream::Body;
use futures_util::{
    StreamExt,
    future::{Either, ready, select},
    stream::FuturesUnordered,
};
use http::Request;
use http_body_util::BodyExt;

use super::{
    client::{Client, Picks, World, in_turn},
    clock::{Clock, Tasks, run},
    server::{At, Server},
};

/// One answered request.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it should have been sent.
    pub at: f64,
    /// From then to the response head; infinite if there was none.
    pub latency: f64,
    pub server: usize,
    pub ok: bool,
}

/// What a scenario needs.
pub struct Setup<'s> {
    pub picks: Picks,
    pub seed: u64,
    /// Clients that do not know of each other.
    pub clients: usize,
    pub arrivals: Arrivals,
    /// In seconds. What was sent in the first `warm_up` of them does not count.
    pub lasts: f64,
    pub warm_up: f64,
    pub servers: &'s dyn Fn(&Clock) -> Vec<Server>,
    /// When the last of the servers joins; infinite if it is there from the start.
    pub joins: f64,
    /// Seconds after which a client goes away from a request.
    pub patience: f64,
    /// Sends other requests through the same balancer.
    pub attacker: Option<Rc<Attacker>>,
}

type MakeRequest = dyn Fn(&Clock) -> Request<Body>;

/// One client that does as it likes. What becomes of its requests is not logged.
pub struct Attacker {
    pub request: Box<MakeRequest>,
    /// Seconds after which it goes away from a request.
    pub patience: f64,
    pub pace: Pace,
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many a second, at equal distances.
    PerSecond(f64),
    /// So many at any time, each followed by the next one.
    AtOnce(usize),
}

#[derive(Clone, Copy)]
pub enum Arrivals {
    /// Open loop, so many a second, at random.
    Poisson(f64),
    /// Open loop, so many a second, at equal distances.
    Even(f64),
    /// Closed loop: so many at any time, until so many were sent.
    Closed { at_once: usize, total: usize },
}

/// What there is once time has begun.
struct Parts {
    servers: Vec<Server>,
    client: Box<dyn Fn() -> Client>,
}

#[derive(Default)]
pub struct Log {
    pub samples: Vec<Sample>,
    /// Requests at each server, looked at now and then.
    pub here: Vec<Vec<usize>>,
}

impl<'s> Setup<'s> {
    /// One client, Poisson arrivals, no warm-up.
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
            joins: f64::INFINITY,
            patience: f64::INFINITY,
            attacker: None,
        }
    }

    /// Runs it, and gives what was sent after the warm-up, in the order of the answers.
    pub fn run(&self) -> Log {
        let log = Rc::new(RefCell::new(Log::default()));
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let parts = RefCell::new(None::<Parts>);
        run(
            // What has not been answered long after the last was sent never will be.
            self.lasts + 60.0,
            |clock, tasks| {
                let servers = (self.servers)(clock);
                let world = World {
                    servers: &servers,
                    joins: self.joins,
                    clock,
                    tasks,
                };
                let client = |nth| Client::new(self.picks, &world, self.seed + nth as u64 * 7_919);
                let clients = (0..self.clients).map(client).collect();
                let client: Box<dyn Fn() -> Client> = Box::new(in_turn(clients));
                if let Some(attacker) = self.attacker.clone() {
                    attacker.start(clock, tasks, &client);
                }
                *parts.borrow_mut() = Some(Parts { servers, client });
            },
            |clock, tasks| {
                let parts = parts.borrow();
                let Parts { servers, client } = parts.as_ref()?;
                if let Arrivals::Closed { at_once, total } = self.arrivals {
                    for _ in 0..at_once {
                        let (clock, log, client) = (clock.clone(), log.clone(), client());
                        let (each, patience) = (total / at_once, self.patience);
                        tasks.push(Box::pin(async move {
                            for _ in 0..each {
                                exchange(&clock, clock.now(), &client, patience, &log).await;
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
                    tasks.push(Box::pin(async move {
                        exchange(&clock, now, &client, patience, &log).await;
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
        log.samples.retain(|sample| sample.at >= self.warm_up);
        log
    }
}

async fn exchange(clock: &Clock, at: f64, client: &Client, patience: f64, log: &RefCell<Log>) {
    let nth = log.borrow().samples.len();
    log.borrow_mut().samples.push(Sample {
        at,
        latency: f64::INFINITY,
        server: usize::MAX,
        ok: false,
    });
    let exchange = async {
        let Ok(response) = client.send(Request::new(Body::empty())).await else {
            return;
        };
        log.borrow_mut().samples[nth] = Sample {
            at,
            latency: clock.now() - at,
            server: response
                .extensions()
                .get::<At>()
                .map_or(usize::MAX, |at| at.0),
            ok: response.status().is_success(),
        };
        // An endless body is part of the load.
        let _ = response.into_body().collect().await;
    };
    select(pin!(exchange), clock.at(at + patience)).await;
}

impl Attacker {
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
    /// The latency that a share `q` of the requests did not exceed, in seconds.
    pub fn quantile(&self, q: f64) -> f64 {
        quantile(
            self.samples.iter().map(|sample| sample.latency).collect(),
            q,
        )
    }

    pub fn mean(&self) -> f64 {
        self.samples
            .iter()
            .map(|sample| sample.latency)
            .sum::<f64>()
            / self.samples.len() as f64
    }

    /// The share of samples, among those that `of` keeps, for which `is` holds.
    pub fn share(&self, of: impl Fn(&Sample) -> bool, is: impl Fn(&Sample) -> bool) -> f64 {
        let (mut all, mut yes) = (0.0, 0.0);
        for sample in self.samples.iter().filter(|sample| of(sample)) {
            all += 1.0;
            yes += f64::from(u8::from(is(sample)));
        }
        yes / f64::max(all, 1.0)
    }
}

pub fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    let nth = ((values.len() as f64 * q) as usize).min(values.len() - 1);
    *values.select_nth_unstable_by(nth, f64::total_cmp).1
}
