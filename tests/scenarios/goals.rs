//! The goals that the default policy must reach, and, for some of them, that tower's `PeakEwma` does not: a scenario
//! that every policy passes shows nothing.

use crate::{
    attacks::{self, Attack, BUSY, LOW},
    cases,
    sim::{
        client::Picks::{self, Default, Ideal, InFlight, TowerPeakEwma},
        load::{Arrivals, Pace},
    },
};

const SEEDS: [u64; 2] = [1, 2];

/// Returns the mean over [`SEEDS`].
fn mean(case: impl Fn(u64) -> f64) -> f64 {
    SEEDS.iter().map(|seed| case(*seed)).sum::<f64>() / SEEDS.len() as f64
}

#[test]
fn s1_one_slow_of_eleven() {
    let under = |picks| mean(|seed| cases::one_slow_of_eleven(picks, seed, 60.0));
    assert!(under(Default) >= 0.999, "{}", under(Default));
    assert!(
        under(Picks::RoundRobin) < 0.96,
        "the scenario is as hard as it should be"
    );
}

#[test]
fn s2_fast_and_slow_at_once() {
    assert!(mean(|seed| cases::tower_demo(Default, seed)) <= 0.105);
    assert!(mean(|seed| cases::tower_demo_as_published(Default, seed)) <= 0.105);
}

#[test]
fn s3_a_black_hole_attracts_nothing() {
    let errors = |picks| mean(|seed| cases::one_fails_at_once(picks, seed, 15.0));
    assert!(errors(Default) <= 0.005, "{}", errors(Default));
    assert!(errors(TowerPeakEwma) > 0.15);
}

#[test]
fn s5_a_stall_is_noticed_before_any_timeout() {
    let stuck = |picks| mean(|seed| cases::one_stalls(picks, seed));
    assert!(stuck(Default) <= 4.0, "{}", stuck(Default));
    assert!(stuck(TowerPeakEwma) > 4.0);
}

#[test]
fn s5_clients_that_go_away_lose_little_to_a_stall() {
    let lost =
        |rate, patience| mean(|seed| cases::lost_to_a_stall(Default, seed, rate, 30.0, patience));
    // It gets another request now and then, since the first one may have been a long poll.
    assert!(lost(500.0, 1.0) <= 6.0, "{}", lost(500.0, 1.0));
    assert!(lost(20.0, 1.0) <= 6.0, "{}", lost(20.0, 1.0));
    assert!(lost(20.0, f64::INFINITY) <= 5.0);
}

#[test]
fn s6_a_cold_start_is_slow() {
    for seed in SEEDS {
        let shares = cases::cold_start(Default, seed);
        let (cold, warm) = (&shares[..10], &shares[20..]);
        assert!(cold.iter().all(|share| *share <= 1.0), "{shares:?}");
        assert!(
            warm.iter().sum::<f64>() / warm.len() as f64 >= 0.9,
            "{shares:?}"
        );
    }
}

#[test]
fn s8_unlike_and_noisy_servers() {
    let p99 = |picks| mean(|seed| cases::unlike_and_noisy_servers(picks, seed, 0.9, 10.0));
    let (own, towers, ideal) = (p99(Default), p99(TowerPeakEwma), p99(Ideal));
    assert!(
        own <= 0.350 && own < 0.75 * towers,
        "{own}, tower {towers}, ideal {ideal}"
    );
}

#[test]
fn s9_two_very_slow_of_sixteen() {
    let p99 = |picks| mean(|seed| cases::two_very_slow_of_sixteen(picks, seed, 20.0));
    assert!(p99(Default) <= 0.080, "{}", p99(Default));
    assert!(p99(Picks::LeastRequest) > 0.7);
}

#[test]
fn s11_many_balancers_do_not_herd() {
    let p99 = |clients| mean(|seed| cases::herding(Default, seed, clients, 20.0));
    let (one, twenty) = (p99(1), p99(20));
    assert!(twenty < 1.25 * one, "{one} to {twenty}");
}

/// Mitzenmacher's formula is for infinitely many servers, and 200 come close. Single runs of 150 s differ from each
/// other by 5 %, so a mean within 4 % takes a dozen of them.
#[test]
fn s12_the_power_of_two_choices() {
    let run = |seed| cases::queues_of_one_core(InFlight, seed, 200, 0.9, 150.0);
    let sojourn = (1..=12).map(run).sum::<f64>() / 12.0;
    assert!((sojourn / 2.614 - 1.0).abs() < 0.04, "{sojourn}");
    assert!(mean(|seed| cases::queues_of_one_core(Default, seed, 200, 0.9, 150.0)) < sojourn);
}

#[test]
fn s13_one_at_a_time_goes_round() {
    for servers in 2..=10 {
        let most = cases::one_at_a_time(Default, 1, servers, 0.001);
        assert!(most <= 1.05, "{servers} servers: {most}");
    }
}

#[test]
fn s13_the_busy_one_of_two_is_never_picked() {
    assert_eq!(cases::sent_to_the_busy_one(Default, 1), 0.0);
}

#[test]
fn s21_one_spike_is_no_exile() {
    assert!(mean(|seed| cases::exiled_after_one_spike(Default, seed, 40.0)) <= 5.0);
    assert!(mean(|seed| cases::exiled_after_one_spike(TowerPeakEwma, seed, 40.0)) > 20.0);
}

#[test]
fn s22_a_body_is_load_to_its_last_byte() {
    let unevenness = |picks| mean(|seed| cases::long_bodies(picks, seed, 30.0));
    assert!(unevenness(Default) <= 1.2, "{}", unevenness(Default));
    assert!(unevenness(TowerPeakEwma) > 1.2);
}

/// Asserts that shares are those of the weights, to within a percentage point.
fn weights_are_exact(picks: Picks) {
    let closed = |at_once| Arrivals::Closed {
        at_once,
        total: 6_000,
    };
    let open = [100.0, 1_000.0, 10_000.0].map(Arrivals::Poisson);
    let arrivals = [1, 2, 4, 8, 64].map(closed).into_iter().chain(open);
    for (nth, arrivals) in arrivals.enumerate() {
        for weights in [&[5, 1, 1][..], &[10, 1], &[3, 2, 1]] {
            for seed in SEEDS {
                let off = cases::off_weight(picks, seed, weights, arrivals);
                assert!(off <= 0.01, "{weights:?}, arrivals {nth}: {off}");
            }
        }
    }
}

#[test]
fn s23_weights_are_exact() {
    weights_are_exact(Default);
}

#[test]
fn s23_weights_are_exact_by_requests_in_flight() {
    weights_are_exact(InFlight);
}

#[test]
fn s23_weights_are_exact_with_the_fewest_requests() {
    weights_are_exact(Picks::LeastRequest);
}

/// A weight says what an endpoint should get if it is as fast as the others.
#[test]
fn s23_a_slow_one_gets_less_than_its_weight() {
    let share = |nth: usize, takes, at_once| {
        let arrivals = Arrivals::Closed {
            at_once,
            total: 10_000,
        };
        cases::shares_by_weight(Default, 1, &[5, 1, 1], takes, 0.1, arrivals)[nth]
    };
    for at_once in [1, 2, 8, 64] {
        let heavy = share(0, |nth| if nth == 0 { 3.0 } else { 1.0 }, at_once);
        let light = share(2, |nth| if nth == 2 { 3.0 } else { 1.0 }, at_once);
        assert!(heavy < 0.9 * 5.0 / 7.0, "{at_once} at once: {heavy}");
        assert!(light < 0.9 / 7.0, "{at_once} at once: {light}");
    }
}

/// Bounds the price of drawing many rivals: see `docs/BALANCING.md`.
#[test]
fn long_polls_cost_the_others_little() {
    let p99 = |picks| mean(|seed| cases::long_polls(picks, seed, 30.0));
    let (own, in_flight, ideal) = (p99(Default), p99(InFlight), p99(Ideal));
    assert!(in_flight < 1.3 * ideal, "{in_flight}, ideal {ideal}");
    assert!(own < 5.0 * ideal, "{own}, ideal {ideal}");
}

#[test]
fn one_client_steers_nobody_elses_requests_at_low_load() {
    nobody_is_steered(LOW, 600.0);
}

#[test]
fn one_client_steers_nobody_elses_requests_at_high_load() {
    nobody_is_steered(BUSY, 120.0);
}

/// Asserts that every server stays within a tenth of its share under every attack.
fn nobody_is_steered(rate: f64, lasts: f64) {
    for attack in attacks::ALL {
        let bound = match attack.0 {
            // An answer that is a little late may be the server's doing. At low load, few other answers show that it is
            // not, so it counts. Single runs come to 13 %.
            Attack::SlowAnswers => 0.15,
            _ => 0.1,
        };
        let steered = attacks::steered(Default, 1, rate, lasts, attack);
        assert!(steered <= bound, "{attack:?}: {steered}");
    }
}

/// The same attack succeeds against tower's estimate, which was not designed for it: the test is hard enough.
#[test]
fn one_client_steers_towers_balance() {
    let polls = (Attack::LongPolls, Pace::AtOnce(4));
    assert!(attacks::steered(TowerPeakEwma, 1, BUSY, 60.0, polls) > 0.1);
}
