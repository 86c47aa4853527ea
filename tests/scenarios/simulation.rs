//! Tests of the simulation itself: it must agree with queueing theory, and be exact and repeatable.

use crate::sim::{
    client::Picks,
    clock::Clock,
    load::{Arrivals, Setup},
    server::{Reply, Server},
};

/// Draws from an exponential distribution with a mean of 1.
fn exponential(rng: &mut fastrand::Rng) -> f64 {
    -(1.0 - rng.f64()).ln()
}

/// The mean time in an M/M/1 queue is `1 / (1 - load)` service times.
#[test]
fn a_queue_is_as_long_as_theory_says() {
    let servers = |clock: &Clock| {
        vec![Server::new(0, clock, 1, 1, |_, rng| {
            Reply::after(exponential(rng))
        })]
    };
    let mean = Setup {
        warm_up: 1_000.0,
        ..Setup::new(Picks::Random, 1, 0.5, 50_000.0, &servers)
    }
    .run()
    .mean();
    assert!((mean / 2.0 - 1.0).abs() < 0.05, "{mean}");
}

#[test]
fn the_clock_is_exact() {
    let servers = |clock: &Clock| {
        vec![Server::new(0, clock, 1, 1, |_, _| {
            Reply::after(0.000_123_4)
        })]
    };
    let arrivals = Arrivals::Even(1_000.0);
    let log = Setup {
        arrivals,
        ..Setup::new(Picks::RoundRobin, 1, 0.0, 1.0, &servers)
    }
    .run();
    assert!(
        log.samples
            .iter()
            .all(|sample| (sample.latency - 0.000_123_4).abs() < 1e-8)
    );
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let servers = |clock: &Clock| {
        (0..5)
            .map(|nth| Server::new(nth, clock, 1, 1, |_, rng| Reply::after(exponential(rng))))
            .collect()
    };
    for picks in Picks::ALL {
        let run = |seed| Setup::new(picks, seed, 3.0, 100.0, &servers).run().mean();
        assert_eq!(run(1), run(1), "{}", picks.name());
        assert_ne!(run(1), run(2), "{}", picks.name());
    }
}
