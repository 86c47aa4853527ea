//! Which scenarios are shown, and how.

use std::convert::identity;

use http::Method;

use crate::{
    attacks::{self, Attack, BUSY, LOW},
    cases,
    failing::{self, BACK, CAPACITY, OUT, no_retry},
    plot::{Plot, Series},
    sim::{
        client::Picks,
        load::{Arrivals, Log, Pace, quantile},
        server::{Fate, Outage},
    },
};

pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    pub published: &'static str,
    pub goal: &'static str,
    /// After the point.
    pub digits: usize,
    pub case: fn(Picks, u64) -> f64,
}

#[rustfmt::skip]
pub fn rows() -> Vec<Row> {
    let row = |name, what, published, goal, digits, case| Row { name, what, published, goal, digits, case };
    vec![
        row("S1", "one slow of 11, % under 1 s", "round robin 95, least loaded 99, peak EWMA 99.9", "≥ 99.9", 2,
            |p, s| 100.0 * cases::one_slow_of_eleven(p, s, 60.0)),
        row("S2", "tower's demo, p999 in ms", "", "≤ 105", 0, |p, s| 1e3 * cases::tower_demo(p, s)),
        row("S2", "as it was published", "round robin 988, least loaded 857, peak EWMA 105", "≤ 105", 0,
            |p, s| 1e3 * cases::tower_demo_as_published(p, s)),
        row("S3", "one of 10 answers 503 at once, % errors", "2/N: 20", "", 2,
            |p, s| 100.0 * cases::one_fails_at_once(p, s, 30.0)),
        row("S5", "one of 10 stalls, requests stuck in 10 s", "", "a few", 1, cases::one_stalls),
        row("S5", "requests lost in 30 s by clients that wait for 1 s", "", "a few", 1,
            |p, s| cases::lost_to_a_stall(p, s, 500.0, 30.0, 1.0)),
        row("S6", "cold start, most of its fair share while cold", "", "≤ 1", 2,
            |p, s| cases::cold_start(p, s)[..10].iter().copied().fold(0.0, f64::max)),
        row("S6", "and 10 s after it is warm", "starved for 34 s", "≥ 0.9", 2,
            |p, s| cases::cold_start(p, s)[20..].iter().sum::<f64>() / 15.0),
        row("S8", "unlike servers, 20 clients, load 0.7, p99 in ms", "tower 368, Prequal 309, ideal 257", "", 0,
            |p, s| 1e3 * cases::unlike_and_noisy_servers(p, s, 0.7, 20.0)),
        row("S8", "load 0.9", "tower 447, pending 1038, Prequal 323, ideal 272", "≤ 350", 0,
            |p, s| 1e3 * cases::unlike_and_noisy_servers(p, s, 0.9, 20.0)),
        row("S8", "load 1.05", "tower 662, Prequal 355, ideal 345", "", 0,
            |p, s| 1e3 * cases::unlike_and_noisy_servers(p, s, 1.05, 20.0)),
        row("S9", "two of 16 are 16 × slower, p99 in ms", "Prequal 80.6, least connections 802", "≤ 80", 1,
            |p, s| 1e3 * cases::two_very_slow_of_sixteen(p, s, 60.0)),
        row("S11", "herding: p99 in ms with 1 client", "", "", 0, |p, s| 1e3 * cases::herding(p, s, 1, 20.0)),
        row("S11", "with 20", "", "< +25 %", 0, |p, s| 1e3 * cases::herding(p, s, 20, 20.0)),
        row("S11", "with 100", "", "", 0, |p, s| 1e3 * cases::herding(p, s, 100, 20.0)),
        row("S12", "500 M/M/1, load 0.9, mean sojourn", "two choices 2.614, random 10", "in-flight ± 2 %", 3,
            |p, s| cases::queues_of_one_core(p, s, 500, 0.9, 600.0)),
        row("S12", "load 0.95", "two choices 3.383, random 20", "in-flight ± 2 %", 3,
            |p, s| cases::queues_of_one_core(p, s, 500, 0.95, 900.0)),
        row("S13", "one at a time, 3 servers, max/mean", "random ties 1.1", "≤ 1.05", 3,
            |p, s| cases::one_at_a_time(p, s, 3, 0.001)),
        row("S13", "10 servers", "", "≤ 1.05", 3, |p, s| cases::one_at_a_time(p, s, 10, 0.001)),
        row("S13", "two at once, 2 servers, % sent to the busy one", "Envoy 25", "0", 1,
            |p, s| 100.0 * cases::sent_to_the_busy_one(p, s)),
        row("S21", "one spike, seconds below half of its share", "53", "≤ 5", 0, |p, s| cases::exiled_after_one_spike(p, s, 80.0)),
        row("S22", "streams, max/mean in flight", "", "≤ 1.2", 3, |p, s| cases::long_bodies(p, s, 60.0)),
        row("S23", "weights 5:1:1, 8 at a time, most points off", "", "≤ 1", 2, |p, s| off_weight(p, s, &[5, 1, 1], 8)),
        row("S23", "weights 3:2:1, 64 at a time", "", "≤ 1", 2, |p, s| off_weight(p, s, &[3, 2, 1], 64)),
        row("polls", "1 % long polls, p99 of the others in ms", "", "", 0,
            |p, s| 1e3 * cases::long_polls(p, s, 60.0)),
        row("S3", "one of 10, without retries, errors in 30 s", "", "5 and probes", 1,
            |p, s| errors(&failing::black_hole(p, s, 10, 1, no_retry))),
        row("S3", "without ejection either", "", "", 1,
            |p, s| errors(&failing::black_hole(p, s, 10, 1, failing::bare))),
        row("S3", "two of 20, errors in 30 s", "2/N: 10 %", "0", 1,
            |p, s| errors(&failing::black_hole(p, s, 20, 2, identity))),
        row("S4", "one of 10 answers 429 above half its share, % it gets", "", "≤ 10", 1,
            |p, s| 100.0 * failing::share_of_first(&failing::rate_limited(p, s), 10.0..40.0)),
        row("S5", "errors in 30 s of clients that wait for 10 s", "", "0", 1,
            |p, s| errors(&failing::stall(p, s, identity))),
        row("S5", "requests sent to it", "", "a few", 1,
            |p, s| failing::ended(&failing::stall(p, s, identity), Fate::Unanswered) as f64),
        row("S7", "rolling restart of 4, GET errors", "", "0", 1,
            |p, s| errors(&failing::rolling_restart(p, s, &Method::GET, identity))),
        row("S7", "POST errors where the connection was refused", "", "0", 1, |p, s| {
            let log = failing::rolling_restart(p, s, &Method::POST, identity);
            errors(&log) - failing::ended(&log, Fate::Reset) as f64
        }),
        row("S7", "POSTs that more than one received", "", "0", 1, |p, s| {
            let log = failing::rolling_restart(p, s, &Method::POST, identity);
            failing::receivers(&log).values().filter(|servers| **servers > 1).count() as f64
        }),
        row("S14", "all 4 refuse, slowest error in ms", "", "ms", 1,
            |p, s| 1e3 * failing::failed_in(&failing::all_down(p, s, Outage::Refuses, 1), OUT..BACK, 1.0)),
        row("S14", "one returns, seconds to the first success", "", "≤ 1", 2,
            |p, s| failing::first_success(&failing::all_down(p, s, Outage::Refuses, 1))),
        row("S14", "all 4 hang, median error in ms, once known", "", "< 1000", 0,
            |p, s| 1e3 * failing::failed_in(&failing::all_down(p, s, Outage::Hangs, 1), OUT + 6.0..BACK, 0.5)),
        row("S14", "one returns, errors among 320 requests", "", "≤ 40", 1,
            |p, s| failing::all_down(p, s, Outage::Hangs, 1).errors(BACK..f64::INFINITY).count() as f64),
        row("S15", "one of 10 fails half, without retries, % errors after 60 s", "", "≤ 0.5", 2, |p, s| {
            let log = failing::half_broken(p, s, no_retry);
            100.0 * log.share(|sample| sample.at >= 60.0, |sample| !sample.ok)
        }),
        row("S16", "six of 10 fail, goodput in % of what the others can do", "", "", 1,
            |p, s| 100.0 * failing::succeeded_in(&failing::most_fail(p, s, 300.0)).len() as f64 / 4_000.0),
        row("S17", "one of two fails half, without retries, errors in 16 s", "", "≤ 5", 1,
            |p, s| errors(&failing::small(p, s, 2, 0.5, no_retry))),
        row("S18", "all fail, 3 retries, requests sent for each", "4", "≤ 1.2", 3,
            |p, s| failing::sent_per_request(&failing::retry_storm(p, s, failing::three_retries))),
        row("S18", "without ejection", "", "≤ 1.2", 3,
            |p, s| failing::sent_per_request(&failing::retry_storm(p, s, failing::three_retries_alone))),
        row("S19", "one of 3 fails at once, % errors", "", "0", 2, |p, s| {
            let log = failing::one_fails_others_slow(p, s, identity);
            100.0 * log.share(|_| true, |sample| !sample.ok)
        }),
        row("S20", "1 % answers 100 × slower, p999 in ms", "", "", 0,
            |p, s| 1e3 * failing::rarely_slow(p, s, identity).quantile(0.999)),
        row("S20", "hedged after 30 ms", "", "a tenth", 0,
            |p, s| 1e3 * failing::rarely_slow(p, s, failing::hedge_after).quantile(0.999)),
        row("S20", "hedged after the 95th percentile", "", "a tenth", 0,
            |p, s| 1e3 * failing::rarely_slow(p, s, failing::hedge_percentile).quantile(0.999)),
        row("S20", "% more requests for that", "2 to 5", "≤ 5", 1,
            |p, s| 100.0 * (failing::sent_per_request(&failing::rarely_slow(p, s, failing::hedge_percentile)) - 1.0)),
        row("S27", "twice the capacity, with limits, goodput in % of it", "", "≥ 90", 1,
            |p, s| 5.0 * failing::succeeded_in(&failing::overload(p, s, failing::limits)).len() as f64 / CAPACITY),
        row("S27", "p99 of what succeeds, in ms", "", "≤ 250", 0,
            |p, s| 1e3 * quantile(failing::succeeded_in(&failing::overload(p, s, failing::limits)), 0.99)),
        row("S29", "an ejected one heals, seconds from then to a request", "", "≤ 19.2", 1,
            |p, s| failing::first_after_healing(&failing::heals(p, s, identity)) - failing::HEALED),
        row("S29", "and from there to its full share", "", "≤ 10", 1, |p, s| {
            let log = failing::heals(p, s, identity);
            failing::full_share_after(&log, failing::first_after_healing(&log))
        }),
        row("attacks", "furthest from its share, %, at a load of 4 %", "", "≤ 10", 1,
            |p, s| 100.0 * steered(p, s, LOW, 600.0)),
        row("attacks", "72 %", "", "≤ 10", 1, |p, s| 100.0 * steered(p, s, BUSY, 120.0)),
        row("attacks", "by 500s and 503s, at a load of 4 %", "", "", 1, |p, s| 100.0 * failed(p, s, LOW, 600.0)),
        row("attacks", "72 %", "", "≤ 12", 1, |p, s| 100.0 * failed(p, s, BUSY, 120.0)),
    ]
}

/// Percentage points, in a closed loop.
fn off_weight(picks: Picks, seed: u64, weights: &[u32], at_once: usize) -> f64 {
    let total = 20_000;
    100.0 * cases::off_weight(picks, seed, weights, Arrivals::Closed { at_once, total })
}

/// The number of requests that did not succeed.
fn errors(log: &Log) -> f64 {
    failing::errors(log) as f64
}

/// The most that any of the attacks achieves.
fn steered(picks: Picks, seed: u64, rate: f64, lasts: f64) -> f64 {
    attacks::ALL
        .iter()
        .map(|attack| attacks::steered(picks, seed, rate, lasts, *attack))
        .fold(0.0, f64::max)
}

/// The most that a client achieves whose requests the application answers by failures.
fn failed(picks: Picks, seed: u64, rate: f64, lasts: f64) -> f64 {
    [Attack::Status(500), Attack::Status(503), Attack::LeaveAlone]
        .map(|attack| (attack, Pace::PerSecond(4.0)))
        .map(|attack| attacks::steered(picks, seed, rate, lasts, attack))
        .into_iter()
        .fold(0.0, f64::max)
}

/// The policies whose lines are worth a plot.
const SHOWN: [Picks; 5] = [
    Picks::LeastRequest,
    Picks::InFlight,
    Picks::TowerPeakEwma,
    Picks::Default,
    Picks::Ideal,
];

pub fn plots(seeds: u64) -> Vec<(&'static str, String)> {
    let mean = |case: &dyn Fn(u64) -> f64| (1..=seeds).map(case).sum::<f64>() / seeds as f64;
    let lines = |xs: &[f64], picks: &[Picks], y: &dyn Fn(Picks, u64, f64) -> f64| -> Vec<Series> {
        let line = |picks: &Picks| Series {
            name: picks.name(),
            points: xs
                .iter()
                .map(|x| (*x, mean(&|seed| y(*picks, seed, *x))))
                .collect(),
        };
        picks.iter().map(line).collect()
    };
    let per_second =
        |picks: &[Picks], shares: &dyn Fn(Picks, u64) -> Vec<f64>, from: usize| -> Vec<Series> {
            let line = |picks: &Picks| {
                let runs: Vec<_> = (1..=seeds).map(|seed| shares(*picks, seed)).collect();
                let at = |n: usize| runs.iter().map(|run| run[n]).sum::<f64>() / seeds as f64;
                let points = (0..runs[0].len())
                    .map(|n| ((from + n) as f64, at(n)))
                    .collect();
                Series {
                    name: picks.name(),
                    points,
                }
            };
            picks.iter().map(line).collect()
        };
    let own = [Picks::InFlight, Picks::TowerPeakEwma, Picks::Default];
    vec![
        (
            "s8.svg",
            Plot {
                title: "S8: unlike servers, 20 clients",
                x: "load",
                y: "p99, ms",
                log: true,
                series: lines(&[0.5, 0.6, 0.7, 0.8, 0.9, 0.95], &SHOWN, &|p, s, x| {
                    1e3 * cases::unlike_and_noisy_servers(p, s, x, 20.0)
                }),
            }
            .svg(),
        ),
        (
            "s11.svg",
            Plot {
                title: "S11: herding at load 0.9",
                x: "clients that do not know of each other",
                y: "p99, ms",
                log: true,
                series: lines(&[1.0, 5.0, 20.0, 50.0, 100.0], &SHOWN, &|p, s, x| {
                    1e3 * cases::herding(p, s, x as usize, 20.0)
                }),
            }
            .svg(),
        ),
        (
            "s6.svg",
            Plot {
                title: "S6: a server joins at 10 s and is warm at 20 s",
                x: "seconds",
                y: "its share of its fair share",
                log: false,
                series: per_second(&own, &cases::cold_start, 10),
            }
            .svg(),
        ),
        (
            "s21.svg",
            Plot {
                title: "S21: one answer of 2 s among answers of 10 ms",
                x: "seconds",
                y: "its share of its fair share",
                log: false,
                series: per_second(&own, &|p, s| cases::shares_around_one_spike(p, s, 80.0), 0),
            }
            .svg(),
        ),
    ]
}
