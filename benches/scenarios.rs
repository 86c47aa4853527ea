//! The scenarios of `docs/BALANCING.md` for all policies. Run with `cargo bench --bench scenarios`.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
#![allow(unreachable_pub)]

#[path = "../tests/scenarios/cases.rs"]
mod cases;
#[path = "../tests/scenarios/sim/mod.rs"]
mod sim;

use sim::client::Picks;

fn main() {
    let only: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let seeds: u64 = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    type Case = Box<dyn Fn(Picks, u64) -> f64>;
    let cases: Vec<(&str, Case)> = vec![
        ("S1", Box::new(|p, s| 100.0 * cases::s1(p, s, 60.0))),
        ("S2", Box::new(|p, s| 1e3 * cases::s2(p, s, 100_000))),
        ("S3", Box::new(|p, s| 100.0 * cases::s3(p, s, 30.0))),
        ("S5", Box::new(cases::s5)),
        ("S6cold", Box::new(|p, s| cases::s6(p, s)[..10].iter().copied().fold(0.0, f64::max))),
        ("S6warm", Box::new(|p, s| cases::s6(p, s)[20..].iter().sum::<f64>() / 15.0)),
        ("S8-70", Box::new(|p, s| 1e3 * cases::s8(p, s, 0.7, 20.0))),
        ("S8-90", Box::new(|p, s| 1e3 * cases::s8(p, s, 0.9, 20.0))),
        ("S8-105", Box::new(|p, s| 1e3 * cases::s8(p, s, 1.05, 20.0))),
        ("S9", Box::new(|p, s| 1e3 * cases::s9(p, s, 60.0))),
        ("S11-1", Box::new(|p, s| 1e3 * cases::s11(p, s, 1, 20.0))),
        ("S11-5", Box::new(|p, s| 1e3 * cases::s11(p, s, 5, 20.0))),
        ("S11-20", Box::new(|p, s| 1e3 * cases::s11(p, s, 20, 20.0))),
        ("S11-100", Box::new(|p, s| 1e3 * cases::s11(p, s, 100, 20.0))),
        ("S12-90", Box::new(|p, s| cases::s12(p, s, 500, 0.9, 600.0))),
        ("S12-95", Box::new(|p, s| cases::s12(p, s, 500, 0.95, 900.0))),
        ("S13-3", Box::new(|p, s| cases::s13(p, s, 3, 0.001))),
        ("S13-10", Box::new(|p, s| cases::s13(p, s, 10, 0.001))),
        ("S21", Box::new(|p, s| cases::s21(p, s, 80.0))),
        ("S22", Box::new(|p, s| cases::s22(p, s, 60.0))),
        ("polls", Box::new(|p, s| 1e3 * cases::long_polls(p, s, 60.0))),
    ];
    print!("{:8}", "");
    for picks in Picks::ALL {
        print!(" {:>14}", picks.name());
    }
    println!();
    for (name, case) in cases.iter().filter(|(name, _)| wanted(name)) {
        print!("{name:8}");
        for picks in Picks::ALL {
            let mean = (1..=seeds).map(|seed| case(picks, seed)).sum::<f64>() / seeds as f64;
            print!(" {mean:>14.3}");
            use std::io::Write;
            std::io::stdout().flush().unwrap();
        }
        println!();
    }
}
