//! Temporary.
use crate::{attacks, cases, sim::client::Picks::Default as D};

fn show(name: &str, values: &[f64]) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let list: Vec<String> = values.iter().map(|v| format!("{v:.3}")).collect();
    println!("{name:24} {mean:9.3}   {}", list.join(" "));
}

#[test]
#[ignore]
fn board() {
    let n: u64 = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3);
    let only = std::env::var("ONLY").unwrap_or_default();
    let run = |name: &str, f: &dyn Fn(u64) -> f64| {
        if (only.is_empty() || only.split(',').any(|o| name.starts_with(o))) {
            show(name, &(1..=n).map(f).collect::<Vec<_>>());
        }
    };
    let p = D;
    run("S1 %", &|s| 100.0 * cases::one_slow_of_eleven(p, s, 60.0));
    run("S2 p999", &|s| 1e3 * cases::tower_demo(p, s));
    run("S2 pub p999", &|s| 1e3 * cases::tower_demo_as_published(p, s));
    run("S3 %", &|s| 100.0 * cases::one_fails_at_once(p, s, 30.0));
    run("S5 stuck", &|s| cases::one_stalls(p, s));
    run("S5 1 s", &|s| cases::lost_to_a_stall(p, s, 500.0, 30.0, 1.0));
    run("S5 .05 s", &|s| cases::lost_to_a_stall(p, s, 500.0, 30.0, 0.05));
    run("S5 20/s", &|s| cases::lost_to_a_stall(p, s, 20.0, 30.0, f64::INFINITY));
    run("S5 20/s 1 s", &|s| cases::lost_to_a_stall(p, s, 20.0, 30.0, 1.0));
    run("S6 cold max", &|s| cases::cold_start(p, s)[..10].iter().copied().fold(0.0, f64::max));
    run("S6 warm", &|s| cases::cold_start(p, s)[20..].iter().sum::<f64>() / 15.0);
    run("S8 .7", &|s| 1e3 * cases::unlike_and_noisy_servers(p, s, 0.7, 20.0));
    run("S8 .9", &|s| 1e3 * cases::unlike_and_noisy_servers(p, s, 0.9, 20.0));
    run("S8 1.05", &|s| 1e3 * cases::unlike_and_noisy_servers(p, s, 1.05, 20.0));
    run("S9", &|s| 1e3 * cases::two_very_slow_of_sixteen(p, s, 60.0));
    run("S11 1", &|s| 1e3 * cases::herding(p, s, 1, 20.0));
    run("S11 20", &|s| 1e3 * cases::herding(p, s, 20, 20.0));
    run("S11 100", &|s| 1e3 * cases::herding(p, s, 100, 20.0));
    run("S12 .9", &|s| cases::queues_of_one_core(p, s, 500, 0.9, 300.0));
    run("S12 .95", &|s| cases::queues_of_one_core(p, s, 500, 0.95, 300.0));
    run("S13 3", &|s| cases::one_at_a_time(p, s, 3, 0.001));
    run("S13 10", &|s| cases::one_at_a_time(p, s, 10, 0.001));
    run("S13 busy", &|s| 100.0 * cases::sent_to_the_busy_one(p, s));
    run("S21", &|s| cases::exiled_after_one_spike(p, s, 80.0));
    run("S22", &|s| cases::long_bodies(p, s, 60.0));
    run("polls", &|s| 1e3 * cases::long_polls(p, s, 60.0));
}

#[test]
#[ignore]
fn attack() {
    let n: u64 = std::env::var("SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    let only = std::env::var("ONLY").unwrap_or_default();
    let rates = std::env::var("RATES").unwrap_or("5,20,360".into());
    for rate in rates.split(',').map(|r| r.parse::<f64>().unwrap()) {
        let lasts = if rate > 100.0 { 120.0 } else { 300.0 };
        let print = |name: String, attack| {
            if !(only.is_empty() || only.split(',').any(|o| name.starts_with(o))) {
                return;
            }
            let (mut worst, mut p50, mut p99, mut p999) = (0.0_f64, 0.0, 0.0, 0.0);
            let mut dev = 0.0;
            for seed in 1..=n {
                let log = attacks::under_attack(D, seed, rate, lasts, attack);
                let shares = attacks::shares(&log);
                let far = shares.iter().map(|s| (s - 1.0).abs()).fold(0.0, f64::max);
                worst = worst.max(far);
                dev += far / n as f64;
                p50 += 1e3 * log.quantile(0.5) / n as f64;
                p99 += 1e3 * log.quantile(0.99) / n as f64;
                p999 += 1e3 * log.quantile(0.999) / n as f64;
            }
            println!(
                "{rate:5.0} {name:36} off by {dev:.3}, at most {worst:.3} {} p50 {p50:5.1} p99 {p99:6.1} p999 {p999:6.1}",
                if worst > 0.1 { "BAD" } else { "   " },
            );
        };
        print("none".into(), None);
        for (attack, pace) in attacks::ALL {
            print(format!("{attack:?} {pace:?}"), Some((attack, pace)));
        }
    }
}

#[test]
#[ignore]
fn trace() {
    let rate: f64 = std::env::var("RATES").unwrap_or("20".into()).parse().unwrap();
    let nth: usize = std::env::var("NTH").unwrap_or("1".into()).parse().unwrap();
    let log = attacks::under_attack(D, 1, rate, 120.0, Some(attacks::ALL[nth]));
    for t in (10..130).step_by(2) {
        let mut c = [0; 6];
        for s in &log.samples {
            if s.at >= t as f64 && s.at < t as f64 + 2.0 {
                c[s.server.min(5)] += 1;
            }
        }
        println!("{t:4} {c:?}");
    }
}
