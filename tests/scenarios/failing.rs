//! The scenarios in which endpoints fail: S3 to S29 of `docs/BALANCING.md`, as far as they are about errors.
//!
//! The first functions are settings of a balancer. Then, each function runs one of the scenarios in virtual time and
//! returns its log, and those at the end measure something in such a log. Times are in seconds.

use std::{collections::HashMap, ops::Range, sync::Mutex, time::Duration};

use axum_upstream::{
    Body,
    balance::LoadBalanceBuilder,
    retry::{Hedge, Retry},
};
use http::{Method, Request};

use crate::sim::{
    client::{Picks, Settings},
    clock::Clock,
    load::{Arrivals, Log, Setup, quantile},
    server::{Fate, NUMBER, Outage, Reply, Server, UNLIMITED},
};

/// The mean time in which a server answers that is well, in seconds.
const TAKES: f64 = 0.02;

/// Draws from an exponential distribution.
fn exponential(mean: f64, rng: &mut fastrand::Rng) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

/// Returns an answer of a server that is well, after [`TAKES`] on average.
fn well(rng: &mut fastrand::Rng) -> Reply {
    Reply::after(exponential(TAKES, rng))
}

/// Returns a 503 that comes at once.
fn unavailable() -> Reply {
    Reply {
        status: 503,
        ..Reply::after(0.000_1)
    }
}

/// Makes a server that answers this share of requests by 503, at these times, and is well otherwise.
fn fails(nth: usize, clock: &Clock, seed: u64, share: f64, during: Range<f64>) -> Server {
    let good = move |now: f64| match during.contains(&now) {
        true => 1.0 - share,
        false => 1.0,
    };
    let speed = good.clone();
    Server::with_speed(nth, clock, UNLIMITED, seed, speed, move |now, rng| {
        match rng.f64() < good(now) {
            true => well(rng),
            false => unavailable(),
        }
    })
}

/// From the beginning, without end.
pub const ALWAYS: Range<f64> = 0.0..f64::INFINITY;

/// Repeats no request.
pub fn no_retry(builder: LoadBalanceBuilder) -> LoadBalanceBuilder {
    builder.retry(Retry::never())
}

/// Repeats no request, and ejects no endpoint.
pub fn bare(builder: LoadBalanceBuilder) -> LoadBalanceBuilder {
    no_retry(builder).ejection(None)
}

/// Repeats a request up to three times.
pub fn three_retries(builder: LoadBalanceBuilder) -> LoadBalanceBuilder {
    builder.retry(Retry::default().attempts(4).unwrap())
}

/// Repeats a request up to three times, and ejects no endpoint.
pub fn three_retries_alone(builder: LoadBalanceBuilder) -> LoadBalanceBuilder {
    three_retries(builder).ejection(None)
}

/// Asks a second endpoint after three times as long as an answer takes in S20.
pub fn hedge_after(builder: LoadBalanceBuilder) -> LoadBalanceBuilder {
    builder.hedge(Hedge::after(Duration::from_millis(30)).unwrap())
}

/// Asks a second endpoint after the 95th percentile.
pub fn hedge_percentile(builder: LoadBalanceBuilder) -> LoadBalanceBuilder {
    builder.hedge(Hedge::percentile(0.95).unwrap())
}

/// Has at most eight requests at each endpoint, and others wait for up to 100 ms.
pub fn limits(builder: LoadBalanceBuilder) -> LoadBalanceBuilder {
    builder
        .max_in_flight(8)
        .queue(1_000, Duration::from_millis(100))
}

/// Makes a `POST` with its number.
fn post(nth: u64) -> Request<Body> {
    let request = Request::post("http://cluster/").header(NUMBER, nth);
    request.body(Body::empty()).unwrap()
}

/// Makes a `GET` as it comes from a client, for a proxy.
fn get(_: u64) -> Request<Body> {
    let request = Request::get("/").header("host", "cluster");
    request.body(Body::empty()).unwrap()
}

/// S3: `count` servers, the first `bad` of which answer every request with 503 at once; 500 requests per second for
/// 30 s.
pub fn black_hole(picks: Picks, seed: u64, count: usize, bad: usize, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let share = f64::from(u8::from(nth < bad));
            fails(nth, clock, seed, share, ALWAYS)
        };
        (0..count).map(server).collect()
    };
    Setup {
        set,
        ..Setup::new(picks, seed, 500.0, 30.0, &servers)
    }
    .run()
}

/// S4: ten servers, the first of which answers what is above half of its fair share by 429 at once, with a
/// `Retry-After` of 30 s; 500 requests per second for 40 s.
pub fn rate_limited(picks: Picks, seed: u64) -> Log {
    const RATE: f64 = 25.0;
    let servers = |clock: &Clock| {
        let limited = |clock: &Clock| {
            // A bucket of as many tokens as come in a second.
            let bucket = Mutex::new((0.0, RATE));
            let speed = |_| 0.5;
            Server::with_speed(0, clock, UNLIMITED, seed, speed, move |now, rng| {
                let (last, tokens) = &mut *bucket.lock().unwrap();
                *tokens = f64::min(*tokens + (now - *last) * RATE, RATE);
                *last = now;
                if *tokens < 1.0 {
                    return Reply {
                        status: 429,
                        retry_after: Some(30),
                        ..Reply::after(0.000_1)
                    };
                }
                *tokens -= 1.0;
                well(rng)
            })
        };
        let others = (1..10).map(|nth| fails(nth, clock, seed, 0.0, ALWAYS));
        std::iter::once(limited(clock)).chain(others).collect()
    };
    Setup::new(picks, seed, 500.0, 40.0, &servers).run()
}

/// S5: ten servers, the first of which stops answering after 10 s and keeps its connections open; 500 requests per
/// second for 30 s more, from clients that wait for 10 s.
pub fn stall(picks: Picks, seed: u64, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| fails(nth, clock, seed, 0.0, ALWAYS);
        let stalls = server(0).out(10.0..f64::INFINITY, Outage::Hangs);
        std::iter::once(stalls).chain((1..10).map(server)).collect()
    };
    Setup {
        warm_up: 9.5,
        patience: 10.0,
        set,
        ticks: true,
        ..Setup::new(picks, seed, 500.0, 40.0, &servers)
    }
    .run()
}

/// S7: a rolling restart of four servers. One after the other resets what is in progress, and refuses connections for
/// two seconds. 500 requests per second, of this method.
pub fn rolling_restart(picks: Picks, seed: u64, method: &Method, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let stops = 5.0 + 4.0 * nth as f64;
            fails(nth, clock, seed, 0.0, ALWAYS).out(stops..stops + 2.0, Outage::Refuses)
        };
        (0..4).map(server).collect()
    };
    let usual = Setup::new(picks, seed, 500.0, 25.0, &servers);
    Setup {
        set,
        request: match *method {
            Method::POST => post,
            _ => usual.request,
        },
        ..usual
    }
    .run()
}

/// When the outage of S14 begins.
pub const OUT: f64 = 5.0;
/// When it ends.
pub const BACK: f64 = 20.0;

/// S14: four servers, all of which have an outage. At its end, `back` of them return. 20 requests per second, through
/// a proxy with a response timeout of 5 s, up to 16 s after the end.
pub fn all_down(picks: Picks, seed: u64, outage: Outage, back: usize) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let end = if nth < back { BACK } else { f64::INFINITY };
            fails(nth, clock, seed, 0.0, ALWAYS).out(OUT..end, outage)
        };
        (0..4).map(server).collect()
    };
    Setup {
        arrivals: Arrivals::Even(20.0),
        request: get,
        response_timeout: Some(Duration::from_secs(5)),
        ticks: true,
        ..Setup::new(picks, seed, 20.0, BACK + 16.0, &servers)
    }
    .run()
}

/// S15: ten servers, the first of which answers half of its requests with 503; 200 requests per second for 90 s.
pub fn half_broken(picks: Picks, seed: u64, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let share = if nth == 0 { 0.5 } else { 0.0 };
            fails(nth, clock, seed, share, ALWAYS)
        };
        (0..10).map(server).collect()
    };
    Setup {
        set,
        ..Setup::new(picks, seed, 200.0, 90.0, &servers)
    }
    .run()
}

/// S16: ten servers of one core, six of which answer every request with 503 from 10 s on; `rate` requests per second
/// for 30 s, from clients that wait for a second. The four others can answer 200 per second.
pub fn most_fail(picks: Picks, seed: u64, rate: f64) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let fails = move |now: f64| nth < 6 && now >= 10.0;
            let good = move |now| if fails(now) { 0.0 } else { 1.0 };
            Server::with_speed(nth, clock, 1, seed, good, move |now, rng| {
                match fails(now) {
                    true => unavailable(),
                    false => well(rng),
                }
            })
        };
        (0..10).map(server).collect()
    };
    Setup {
        warm_up: 10.0,
        patience: 1.0,
        ..Setup::new(picks, seed, rate, 30.0, &servers)
    }
    .run()
}

/// S17: a small cluster, the first server of which answers this share of requests with 503; 50 requests per second
/// for 16 s.
pub fn small(picks: Picks, seed: u64, count: usize, share: f64, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| fails(nth, clock, seed, if nth == 0 { share } else { 0.0 }, ALWAYS);
        (0..count).map(server).collect()
    };
    Setup {
        set,
        ..Setup::new(picks, seed, 50.0, 16.0, &servers)
    }
    .run()
}

/// S18: ten servers, all of which answer every request with 503; 1000 requests per second for 10 s.
pub fn retry_storm(picks: Picks, seed: u64, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| fails(nth, clock, seed, 1.0, ALWAYS);
        (0..10).map(server).collect()
    };
    Setup {
        set,
        ..Setup::new(picks, seed, 1_000.0, 10.0, &servers)
    }
    .run()
}

/// S19: three servers, the first of which fails at once, and the others answer after 100 ms; 40 requests per second
/// for 20 s.
pub fn one_fails_others_slow(picks: Picks, seed: u64, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let good = move |_| if nth == 0 { 0.0 } else { 10.0 };
            Server::with_speed(nth, clock, UNLIMITED, seed, good, move |_, _| match nth {
                0 => unavailable(),
                _ => Reply::after(0.1),
            })
        };
        (0..3).map(server).collect()
    };
    Setup {
        set,
        ..Setup::new(picks, seed, 40.0, 20.0, &servers)
    }
    .run()
}

/// S20: ten servers that answer after 10 ms, and a hundred times later for one request in a hundred; 500 requests per
/// second for 30 s.
pub fn rarely_slow(picks: Picks, seed: u64, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            Server::new(nth, clock, UNLIMITED, seed, |_, rng| {
                let takes = 0.008 + 0.004 * rng.f64();
                let factor = if rng.f64() < 0.01 { 100.0 } else { 1.0 };
                Reply::after(takes * factor)
            })
        };
        (0..10).map(server).collect()
    };
    Setup {
        set,
        warm_up: 5.0,
        ticks: true,
        ..Setup::new(picks, seed, 500.0, 35.0, &servers)
    }
    .run()
}

/// How many requests per second the servers of S27 can answer.
pub const CAPACITY: f64 = 16.0 / TAKES;

/// S27: four servers of four cores, and twice as many requests as they can answer, for 20 s. Clients wait for 2 s.
pub fn overload(picks: Picks, seed: u64, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| Server::new(nth, clock, 4, seed, |_, rng| well(rng));
        (0..4).map(server).collect()
    };
    Setup {
        set,
        warm_up: 2.0,
        patience: 2.0,
        ticks: true,
        ..Setup::new(picks, seed, 2.0 * CAPACITY, 22.0, &servers)
    }
    .run()
}

/// When the server of S29 begins to fail.
pub const SICK: f64 = 5.0;
/// When it is well again.
pub const HEALED: f64 = 25.0;

/// S29: ten servers, the first of which answers every request with 503 for 20 s; 500 requests per second for 60 s.
pub fn heals(picks: Picks, seed: u64, set: Settings) -> Log {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let share = f64::from(u8::from(nth == 0));
            fails(nth, clock, seed, share, SICK..HEALED)
        };
        (0..10).map(server).collect()
    };
    Setup {
        set,
        ..Setup::new(picks, seed, 500.0, 60.0, &servers)
    }
    .run()
}

/// Returns how many requests did not succeed.
pub fn errors(log: &Log) -> usize {
    log.errors(ALWAYS).count()
}

/// Returns how many requests the servers had that ended so.
pub fn ended(log: &Log, fate: Fate) -> usize {
    let all = log.hits.iter().flatten();
    all.filter(|hit| hit.fate == fate).count()
}

/// Returns the share of the requests in this time that the first server had.
pub fn share_of_first(log: &Log, during: Range<f64>) -> f64 {
    let here = log.hits[0].iter().filter(|hit| during.contains(&hit.at));
    here.count() as f64 / log.sent(during.clone()) as f64
}

/// Returns how many servers each numbered request came to, beside those that refused it.
pub fn receivers(log: &Log) -> HashMap<u64, usize> {
    let mut receivers = HashMap::new();
    for hit in log.hits.iter().flatten() {
        if let (Some(number), true) = (hit.number, hit.fate != Fate::Refused) {
            *receivers.entry(number).or_default() += 1;
        }
    }
    receivers
}

/// Returns the `q`-quantile of the seconds in which requests of this time failed.
pub fn failed_in(log: &Log, during: Range<f64>, q: f64) -> f64 {
    let took = log.errors(during).map(|sample| sample.took);
    quantile(took.collect(), q)
}

/// Returns the seconds from the end of the outage of S14 to the first success.
pub fn first_success(log: &Log) -> f64 {
    let answered = log.samples.iter().filter(|sample| sample.ok);
    let answered = answered.map(|sample| sample.at + sample.took - BACK);
    answered
        .filter(|after| *after > 0.0)
        .fold(f64::INFINITY, f64::min)
}

/// Returns the seconds that each success took.
pub fn succeeded_in(log: &Log) -> Vec<f64> {
    let ok = log.samples.iter().filter(|sample| sample.ok);
    ok.map(|sample| sample.took).collect()
}

/// Returns how many requests the servers had for each of the clients'.
pub fn sent_per_request(log: &Log) -> f64 {
    let first = log.samples.iter().map(|sample| sample.at);
    let first = first.fold(f64::INFINITY, f64::min);
    log.sent(first..f64::INFINITY) as f64 / log.samples.len() as f64
}

/// Returns the first request that the server of S29 had after it was well again, in seconds.
pub fn first_after_healing(log: &Log) -> f64 {
    let mut here = log.hits[0].iter().map(|hit| hit.at);
    here.find(|at| *at >= HEALED).unwrap_or(f64::INFINITY)
}

/// Returns the seconds from then until the first server has had nine tenths of its fair share, for two seconds.
pub fn full_share_after(log: &Log, from: f64) -> f64 {
    let fair = 1.0 / log.hits.len() as f64;
    let mut waits = (0..600).map(|tenth| f64::from(tenth) / 10.0);
    waits
        .find(|wait| share_of_first(log, from + wait..from + wait + 2.0) >= 0.9 * fair)
        .unwrap_or(f64::INFINITY)
}
