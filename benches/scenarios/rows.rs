//! Which scenarios are shown, and how.

use crate::{
    attacks::{self, BUSY, LOW},
    cases,
    plot::{Plot, Series},
    sim::{client::Picks, load::Arrivals},
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
        row("attacks", "furthest from its share, %, at a load of 4 %", "", "≤ 10", 1,
            |p, s| 100.0 * steered(p, s, LOW, 600.0)),
        row("attacks", "72 %", "", "≤ 10", 1, |p, s| 100.0 * steered(p, s, BUSY, 120.0)),
    ]
}

/// Percentage points, in a closed loop.
fn off_weight(picks: Picks, seed: u64, weights: &[u32], at_once: usize) -> f64 {
    let total = 20_000;
    100.0 * cases::off_weight(picks, seed, weights, Arrivals::Closed { at_once, total })
}

/// The most that any of the attacks achieves.
fn steered(picks: Picks, seed: u64, rate: f64, lasts: f64) -> f64 {
    attacks::ALL
        .iter()
        .map(|attack| attacks::steered(picks, seed, rate, lasts, *attack))
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
