//! The scenarios. `docs/BALANCING.md` lists them by their numbers, such as "S8", with their sources.
//!
//! Each function runs one scenario in virtual time and returns what is measured in it. Times are in seconds.

use crate::sim::{
    client::Picks,
    clock::Clock,
    load::{Arrivals, Setup},
    server::{Reply, Server, UNLIMITED},
};

/// Draws from an exponential distribution.
fn exponential(mean: f64, rng: &mut fastrand::Rng) -> f64 {
    -mean * (1.0 - rng.f64()).ln()
}

/// Draws from a normal distribution.
fn normal(mean: f64, deviation: f64, rng: &mut fastrand::Rng) -> f64 {
    // Box and Muller.
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    mean + deviation * radius * (std::f64::consts::TAU * rng.f64()).cos()
}

/// Makes a server where nothing queues and a request takes `takes(now)` on average.
fn changing(
    nth: usize,
    clock: &Clock,
    seed: u64,
    takes: impl Fn(f64) -> f64 + Copy + Send + Sync + 'static,
    draw: fn(f64, &mut fastrand::Rng) -> f64,
) -> Server {
    Server::with_speed(
        nth,
        clock,
        UNLIMITED,
        seed,
        move |now| 1.0 / takes(now),
        move |now, rng| Reply::after(draw(takes(now), rng)),
    )
}

/// S1: eleven servers, one of which is twelve times slower for half of the time.
///
/// Returns the share of requests that were answered within a second. (Linkerd, "Beyond Round Robin")
pub fn one_slow_of_eleven(picks: Picks, seed: u64, lasts: f64) -> f64 {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let takes = move |now| {
                if nth == 0 && (lasts / 4.0..lasts * 0.75).contains(&now) {
                    2.0
                } else {
                    0.167
                }
            };
            changing(nth, clock, seed, takes, |mean, rng| {
                normal(mean, 0.005, rng)
            })
        };
        (0..11).map(server).collect()
    };
    let log = Setup::new(picks, seed, 1_000.0, lasts, &servers).run();
    log.share(|_| true, |sample| sample.latency < 1.0)
}

/// S2: tower's demo, with ten servers from fast to very slow and always 500 requests in flight.
///
/// Returns the p999 of the latency in seconds.
pub fn tower_demo(picks: Picks, seed: u64) -> f64 {
    tower_demo_of(
        picks,
        seed,
        [1, 5, 10, 10, 10, 100, 100, 100, 500, 1000],
        500,
        100_000,
    )
}

/// S2 as it was when its numbers were published, with 50 requests in flight.
pub fn tower_demo_as_published(picks: Picks, seed: u64) -> f64 {
    tower_demo_of(
        picks,
        seed,
        [1, 10, 10, 10, 10, 100, 100, 100, 100, 1000],
        50,
        50_000,
    )
}

/// Runs S2 with servers whose answers take up to `most` milliseconds, uniformly distributed.
fn tower_demo_of(picks: Picks, seed: u64, most: [u64; 10], at_once: usize, total: usize) -> f64 {
    let servers = |clock: &Clock| {
        let server = |nth: usize| {
            let speed = move |_| 1.0 / most[nth] as f64;
            Server::with_speed(nth, clock, UNLIMITED, seed, speed, move |_, rng| {
                Reply::after(rng.u64(..most[nth]) as f64 / 1e3)
            })
        };
        (0..10).map(server).collect()
    };
    let arrivals = Arrivals::Closed { at_once, total };
    Setup {
        arrivals,
        ..Setup::new(picks, seed, 0.0, 600.0, &servers)
    }
    .run()
    .quantile(0.999)
}

/// S3: ten servers, one of which answers every request with 503 at once.
///
/// Returns the share of requests that it gets.
pub fn one_fails_at_once(picks: Picks, seed: u64, lasts: f64) -> f64 {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let good = move |_| if nth == 0 { 0.0 } else { 1.0 };
            Server::with_speed(nth, clock, UNLIMITED, seed, good, move |_, rng| match nth {
                0 => Reply {
                    status: 503,
                    ..Reply::after(0.000_1)
                },
                _ => Reply::after(exponential(0.02, rng)),
            })
        };
        (0..10).map(server).collect()
    };
    let setup = Setup::new(picks, seed, 500.0, lasts, &servers);
    setup.run().share(|_| true, |sample| !sample.ok)
}

/// S5: ten servers, one of which stops answering and keeps its connections open.
///
/// Returns how many requests are stuck there after ten seconds.
pub fn one_stalls(picks: Picks, seed: u64) -> f64 {
    lost_to_a_stall(picks, seed, 500.0, 10.0, f64::INFINITY)
}

/// S5 with `rate` requests per second from clients that give up after `patience` seconds, for `lasts` seconds after the
/// server has stopped answering.
///
/// Returns how many requests were not answered.
pub fn lost_to_a_stall(picks: Picks, seed: u64, rate: f64, lasts: f64, patience: f64) -> f64 {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let stalls = move |now| nth == 0 && now >= 10.0;
            let speed = move |now| if stalls(now) { 0.0 } else { 1.0 };
            Server::with_speed(nth, clock, UNLIMITED, seed, speed, move |now, rng| {
                Reply::after(if stalls(now) {
                    f64::INFINITY
                } else {
                    exponential(0.02, rng)
                })
            })
        };
        (0..10).map(server).collect()
    };
    let setup = Setup {
        warm_up: 10.0,
        patience,
        ..Setup::new(picks, seed, rate, 10.0 + lasts, &servers)
    };
    setup
        .run()
        .samples
        .iter()
        .filter(|sample| sample.latency.is_infinite())
        .count() as f64
}

/// S6: a cold start, of a server that joins ten others and is five times slower for its first ten seconds.
///
/// Returns the requests that it gets, as a ratio to its fair share, for each second from the one in which it joined.
/// (Finagle's simulation)
pub fn cold_start(picks: Picks, seed: u64) -> Vec<f64> {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let takes = move |now| if nth == 10 && now < 20.0 { 0.05 } else { 0.01 };
            changing(nth, clock, seed, takes, exponential)
        };
        (0..11).map(server).collect()
    };
    let log = Setup {
        joins: 10.0,
        ..Setup::new(picks, seed, 1_250.0, 45.0, &servers)
    }
    .run();
    (10..45)
        .map(|second| {
            let during = |sample: &_| in_second(sample, second);
            log.share(during, |sample| sample.server == 10) * 11.0
        })
        .collect()
}

/// Returns whether a request was due in this second.
fn in_second(sample: &crate::sim::load::Sample, second: usize) -> bool {
    (second as f64..second as f64 + 1.0).contains(&sample.at)
}

/// S8: 20 unlike servers, some with noisy neighbours, and 20 balancers that do not know of each other.
///
/// Returns the p99 of the latency in seconds. (prequal-rs)
pub fn unlike_and_noisy_servers(picks: Picks, seed: u64, load: f64, lasts: f64) -> f64 {
    unlike_and_noisy_servers_seen_by(picks, seed, load, lasts, 20)
}

/// S11: [S8](unlike_and_noisy_servers) at a load of 0.9, with this many balancers, to see whether they herd.
pub fn herding(picks: Picks, seed: u64, clients: usize, lasts: f64) -> f64 {
    unlike_and_noisy_servers_seen_by(picks, seed, 0.9, lasts, clients)
}

/// Runs S8 with `clients` balancers.
///
/// Every second server is an old machine at half the speed. Three of ten have neighbours that leave them 0.3 to 0.7 of
/// their speed in one half of the seconds, drawn at random; the others run at 1.2 to 2 times their speed. `load` is the
/// rate of requests as a ratio to what the machines serve at their nominal speed.
fn unlike_and_noisy_servers_seen_by(
    picks: Picks,
    seed: u64,
    load: f64,
    lasts: f64,
    clients: usize,
) -> f64 {
    const SERVERS: usize = 20;
    const CORES: usize = 4;
    const WORK: f64 = 0.04;
    let mut rng = fastrand::Rng::with_seed(seed);
    let noise = |nth: usize, rng: &mut fastrand::Rng| match (nth % 10 < 3, rng.bool()) {
        (true, true) => 0.3 + 0.4 * rng.f64(),
        (true, false) => 0.9 + 0.4 * rng.f64(),
        (false, _) => 1.2 + 0.8 * rng.f64(),
    };
    let base = |nth: usize| if nth % 2 == 0 { 1.0 } else { 0.5 };
    let seconds = lasts as usize + 70;
    let factors: Vec<Vec<f64>> = (0..SERVERS)
        .map(|nth| {
            (0..seconds)
                .map(|_| base(nth) * noise(nth, &mut rng))
                .collect()
        })
        .collect();
    // At the nominal speed, whatever the neighbours do.
    let capacity = (0..SERVERS).map(base).sum::<f64>() * CORES as f64 / WORK;
    let servers = |clock: &Clock| {
        let server = |nth: usize| {
            let factor = factors[nth].clone();
            let speed = move |now: f64| factor[(now as usize).min(factor.len() - 1)];
            let own = speed.clone();
            Server::with_speed(nth, clock, CORES, seed, speed, move |now, rng| {
                Reply::after(exponential(WORK, rng) / own(now))
            })
        };
        (0..SERVERS).map(server).collect()
    };
    let rate = load * capacity;
    Setup {
        clients,
        warm_up: lasts / 5.0,
        ..Setup::new(picks, seed, rate, lasts, &servers)
    }
    .run()
    .quantile(0.99)
}

/// S9: sixteen servers, two of which are sixteen times slower, at 500 requests a second.
///
/// Returns the p99 of the latency in seconds. (sathwick-p/prequal)
pub fn two_very_slow_of_sixteen(picks: Picks, seed: u64, lasts: f64) -> f64 {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let mean = if nth < 2 { 0.8 } else { 0.05 };
            changing(
                nth,
                clock,
                seed,
                move |_| mean,
                |mean, rng| normal(mean, mean / 10.0, rng).max(0.0),
            )
        };
        (0..16).map(server).collect()
    };
    Setup {
        warm_up: lasts / 5.0,
        ..Setup::new(picks, seed, 500.0, lasts, &servers)
    }
    .run()
    .quantile(0.99)
}

/// S12: servers with one core each, a queue, and exponential service times (M/M/1), seen by one balancer.
///
/// Returns the mean time from arrival to answer, in units of the mean service time. Mitzenmacher's formula gives 2.614
/// for the better of two at a load of 0.9, and 3.383 at 0.95.
pub fn queues_of_one_core(picks: Picks, seed: u64, servers: usize, load: f64, lasts: f64) -> f64 {
    let make = |clock: &Clock| {
        let server = |nth| {
            Server::new(nth, clock, 1, seed, |_, rng| {
                Reply::after(exponential(1.0, rng))
            })
        };
        (0..servers).map(server).collect()
    };
    let rate = load * servers as f64;
    Setup {
        warm_up: lasts / 3.0,
        ..Setup::new(picks, seed, rate, lasts, &make)
    }
    .run()
    .mean()
}

/// S13: equal servers and never more than one request in flight.
///
/// Returns the most requests that one server gets, as a ratio to the mean.
pub fn one_at_a_time(picks: Picks, seed: u64, servers: usize, deviation: f64) -> f64 {
    let make = |clock: &Clock| {
        let server = |nth| {
            Server::new(nth, clock, 1, seed, move |_, rng| {
                Reply::after(normal(0.01, deviation, rng).max(0.001))
            })
        };
        (0..servers).map(server).collect()
    };
    let arrivals = Arrivals::Closed {
        at_once: 1,
        total: 1_000,
    };
    let log = Setup {
        arrivals,
        ..Setup::new(picks, seed, 0.0, 60.0, &make)
    }
    .run();
    let mut counts = vec![0.0; servers];
    log.samples
        .iter()
        .for_each(|sample| counts[sample.server] += 1.0);
    counts.into_iter().fold(0.0, f64::max) / (1_000.0 / servers as f64)
}

/// S13: two equal servers and never more than two requests in flight, so that one server is always free.
///
/// Returns the share of requests that were sent to the one that was not.
pub fn sent_to_the_busy_one(picks: Picks, seed: u64) -> f64 {
    let make = |clock: &Clock| {
        (0..2)
            .map(|nth| Server::new(nth, clock, 1, seed, |_, _| Reply::after(0.9)))
            .collect()
    };
    let arrivals = Arrivals::Even(2.0);
    let log = Setup {
        arrivals,
        ..Setup::new(picks, seed, 0.0, 500.0, &make)
    }
    .run();
    log.share(|_| true, |sample| sample.latency > 0.95)
}

/// S21: ten equal servers that answer in 10 ms, except for a single answer that takes two seconds.
///
/// Returns for how many seconds the server of that answer gets less than half of its fair share.
pub fn exiled_after_one_spike(picks: Picks, seed: u64, lasts: f64) -> f64 {
    shares_around_one_spike(picks, seed, lasts)
        .iter()
        .skip(10)
        .filter(|share| **share < 0.5)
        .count() as f64
}

/// S21: the requests that the server of the slow answer gets, as a ratio to its fair share, for each second. The slow
/// answer is the first one after ten seconds.
pub fn shares_around_one_spike(picks: Picks, seed: u64, lasts: f64) -> Vec<f64> {
    let spiked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let servers = |clock: &Clock| {
        let server = |nth| {
            let spiked = spiked.clone();
            Server::new(nth, clock, UNLIMITED, seed, move |now, rng| {
                let spikes = nth == 0
                    && now >= 10.0
                    && !spiked.swap(true, std::sync::atomic::Ordering::SeqCst);
                Reply::after(if spikes {
                    2.0
                } else {
                    normal(0.01, 0.001, rng)
                })
            })
        };
        (0..10).map(server).collect()
    };
    let log = Setup::new(picks, seed, 1_000.0, lasts, &servers).run();
    (0..lasts as usize)
        .map(|second| {
            log.share(
                |sample| in_second(sample, second),
                |sample| sample.server == 0,
            ) * 10.0
        })
        .collect()
}

/// S22: ten equal servers whose heads come fast, and a tenth of whose bodies take ten seconds more.
///
/// Returns the most requests in flight at one server, as a ratio to the mean, averaged over time.
pub fn long_bodies(picks: Picks, seed: u64, lasts: f64) -> f64 {
    let servers = |clock: &Clock| {
        let server = |nth| {
            Server::new(nth, clock, UNLIMITED, seed, |_, rng| {
                let body = if rng.f64() < 0.1 { 10.0 } else { 0.0 };
                Reply {
                    body,
                    ..Reply::after(normal(0.01, 0.001, rng))
                }
            })
        };
        (0..10).map(server).collect()
    };
    let log = Setup {
        warm_up: lasts / 2.0,
        ..Setup::new(picks, seed, 500.0, lasts, &servers)
    }
    .run();
    let unevenness = |here: &Vec<usize>| {
        let most = here.iter().copied().max().unwrap_or(0) as f64;
        most * here.len() as f64 / here.iter().sum::<usize>() as f64
    };
    log.here.iter().map(unevenness).sum::<f64>() / log.here.len() as f64
}

/// S23: servers with these weights, where nothing queues. A request to the `nth` takes `10 × takes(nth)` milliseconds,
/// with a standard deviation of `deviation` of that.
///
/// Returns the share of the requests that each server gets.
pub fn shares_by_weight(
    picks: Picks,
    seed: u64,
    weights: &[u32],
    takes: fn(usize) -> f64,
    deviation: f64,
    arrivals: Arrivals,
) -> Vec<f64> {
    let servers = |clock: &Clock| {
        let server = |nth| {
            let mean = 0.01 * takes(nth);
            Server::new(nth, clock, UNLIMITED, seed, move |_, rng| {
                Reply::after(normal(mean, mean * deviation, rng).max(mean / 10.0))
            })
        };
        (0..weights.len()).map(server).collect()
    };
    let lasts = match arrivals {
        Arrivals::Poisson(rate) | Arrivals::Even(rate) => 6_000.0 / rate,
        Arrivals::Closed { .. } => 600.0,
    };
    let log = Setup {
        arrivals,
        weights,
        ..Setup::new(picks, seed, 0.0, lasts, &servers)
    }
    .run();
    (0..weights.len())
        .map(|nth| log.share(|_| true, |sample| sample.server == nth))
        .collect()
}

/// S23: servers of equal speed, whose answers take about as long as each other or vary as much as they take.
///
/// Returns by how much the share of a server differs from that of its weight, for the server where it differs most:
/// 0.01 is one percentage point.
pub fn off_weight(picks: Picks, seed: u64, weights: &[u32], arrivals: Arrivals) -> f64 {
    let total: u32 = weights.iter().sum();
    let off = |deviation| {
        let shares = shares_by_weight(picks, seed, weights, |_| 1.0, deviation, arrivals);
        let fair = |weight: &u32| f64::from(*weight) / f64::from(total);
        let both = weights.iter().map(fair).zip(shares);
        both.map(|(fair, share)| (share - fair).abs())
            .fold(0.0, f64::max)
    };
    f64::max(off(0.1), off(1.0))
}

/// "polls": one request in a hundred waits ten seconds for its head, whichever server it goes to.
///
/// Returns the p99 of the latency of all others, in seconds.
pub fn long_polls(picks: Picks, seed: u64, lasts: f64) -> f64 {
    let servers = |clock: &Clock| {
        let server = |nth| {
            Server::new(nth, clock, 1, seed, |_, rng| match rng.f64() < 0.01 {
                // A long poll waits without using a core.
                true => Reply {
                    takes: 0.0,
                    head: 10.0,
                    ..Reply::after(0.0)
                },
                false => Reply::after(exponential(0.01, rng)),
            })
        };
        (0..10).map(server).collect()
    };
    let log = Setup {
        warm_up: lasts / 3.0,
        ..Setup::new(picks, seed, 500.0, lasts, &servers)
    }
    .run();
    let quick = log
        .samples
        .iter()
        .filter(|sample| sample.latency < 10.0)
        .map(|sample| sample.latency);
    crate::sim::load::quantile(quick.collect(), 0.99)
}
