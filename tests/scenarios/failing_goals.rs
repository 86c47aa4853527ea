//! The goals that the default settings must reach where endpoints fail, and, for most of them, what is seen without
//! the part that reaches it: without retries, ejection, hedging or limits.

use std::{convert::identity, time::Duration};

use axum_upstream::{
    Body, EndpointSpec, Error, LoadBalance, balance::LoadBalanceBuilder, endpoint::Availability,
    health::Ejection,
};
use http::{Method, Request, Response};
use tower::{ServiceExt, service_fn};

use crate::{
    attacks::{self, Attack, BUSY, LOW},
    failing::{
        ALWAYS, BACK, CAPACITY, HEALED, OUT, SICK, all_down, bare, black_hole, ended, errors,
        failed_in, first_after_healing, first_success, full_share_after, half_broken, heals,
        hedge_after, hedge_percentile, limits, most_fail, no_retry, one_fails_others_slow,
        overload, rarely_slow, rate_limited, receivers, retry_storm, rolling_restart,
        sent_per_request, share_of_first, small, stall, succeeded_in, three_retries,
        three_retries_alone,
    },
    sim::{
        client::Picks::{Default, TowerPeakEwma},
        load::{Pace, quantile},
        server::{Fate, Hit, Outage},
    },
};

const SEEDS: [u64; 2] = [1, 2];
/// Asserts that after five failures, an endpoint is only sent one request per back-off, each at least as long as the
/// one before.
fn are_probes_after_five(hits: &[Hit]) {
    let times: Vec<_> = hits.iter().map(|hit| hit.at).collect();
    let waits = times.windows(2).skip(4).map(|pair| pair[1] - pair[0]);
    for (nth, wait) in waits.enumerate() {
        assert!(wait >= f64::from(1 << nth.min(5)), "{times:?}");
    }
}

#[test]
fn s3_a_client_sees_nothing_of_a_black_hole() {
    for seed in SEEDS {
        for count in [2, 3, 10] {
            let log = black_hole(Default, seed, count, 1, identity);
            assert_eq!(errors(&log), 0, "{count} servers");
            are_probes_after_five(&log.hits[0]);
        }
        // A request may come to both of them while neither is known.
        let log = black_hole(Default, seed, 20, 2, identity);
        assert!(errors(&log) <= 1, "{}", errors(&log));
        assert_eq!(errors(&black_hole(Default, seed, 20, 2, three_retries)), 0);
    }
}

#[test]
fn s3_without_retries_a_black_hole_costs_five_requests_and_the_probes() {
    for (count, bad) in [(2, 1), (3, 1), (10, 1), (20, 2)] {
        let log = black_hole(Default, 1, count, bad, no_retry);
        log.hits[..bad]
            .iter()
            .for_each(|hits| are_probes_after_five(hits));
        // Five, and the probes after 1, 3, 7, 15 s and what is added at random.
        assert!(errors(&log) <= 9 * bad, "{}", errors(&log));
    }
    let without = errors(&black_hole(Default, 2, 2, 1, bare));
    assert!(without > 9, "{without}");
    assert!(errors(&black_hole(TowerPeakEwma, 1, 3, 1, identity)) > 5_000);
}

#[test]
fn s4_a_server_that_turns_requests_away_attracts_none_and_is_not_ejected() {
    let shares = |picks, seed| {
        let log = rate_limited(picks, seed);
        [10.0, 20.0, 30.0].map(|from| share_of_first(&log, from..from + 10.0))
    };
    for seed in SEEDS {
        let own = shares(Default, seed);
        assert!(
            own.iter().all(|share| (0.05..=0.1).contains(share)),
            "{own:?}"
        );
    }
    assert!(shares(TowerPeakEwma, 1).iter().all(|share| *share > 0.1));
}

#[test]
fn s5_clients_see_nothing_of_a_stall() {
    for seed in SEEDS {
        let log = stall(Default, seed, identity);
        assert_eq!(errors(&log), 0);
        let stuck = ended(&log, Fate::Unanswered);
        assert!(stuck <= 8, "{stuck} in half a minute");
        assert!(log.quantile(0.999) < 0.2, "{}", log.quantile(0.999));
        assert!(log.quantile(1.0) < 1.0, "{}", log.quantile(1.0));
    }
    let without = errors(&stall(Default, 1, no_retry));
    assert!((1..=8).contains(&without), "{without}");
}

#[test]
fn s7_a_rolling_restart_costs_no_get_and_repeats_no_post() {
    for seed in SEEDS {
        let gets = rolling_restart(Default, seed, &Method::GET, identity);
        assert_eq!(errors(&gets), 0);
        // Each seed interrupts some, so that there is something to repeat.
        assert!(ended(&gets, Fate::Reset) > 0 && ended(&gets, Fate::Refused) > 0);

        let posts = rolling_restart(Default, seed, &Method::POST, identity);
        let reset = ended(&posts, Fate::Reset);
        assert!(reset > 0 && ended(&posts, Fate::Refused) > 0);
        assert_eq!(
            errors(&posts),
            reset,
            "those of which nothing was sent succeed"
        );
        let received = receivers(&posts);
        assert_eq!(received.len(), posts.samples.len());
        assert!(received.values().all(|times| *times == 1));
    }
    assert!(errors(&rolling_restart(Default, 1, &Method::GET, no_retry)) > 0);
}

#[test]
fn s14_when_all_refuse_requests_fail_at_once() {
    for back in [1, 4] {
        let log = all_down(Default, 1, Outage::Refuses, back);
        let slowest = failed_in(&log, OUT..BACK, 1.0);
        assert!(
            slowest < 0.01,
            "four connects of a millisecond, not {slowest}"
        );
        let known = || log.errors(OUT + 1.0..BACK);
        let unavailable = known().filter(|sample| sample.status == 503).count();
        assert!(unavailable * 10 >= known().count() * 9, "all but probes");
        assert!(log.errors(BACK..f64::INFINITY).count() <= 40);
        assert!(first_success(&log) <= 1.0, "{}", first_success(&log));
    }
}

#[test]
fn s14_when_all_hang_requests_fail_at_once_when_it_is_known() {
    for back in [1, 4] {
        let log = all_down(Default, 1, Outage::Hangs, back);
        // The first five at each wait for the response timeout.
        let typical = failed_in(&log, OUT + 6.0..BACK, 0.5);
        assert!(typical < 1.0, "{typical}");
        assert!(log.errors(BACK..f64::INFINITY).count() <= 40);
        assert!(first_success(&log) <= 1.0, "{}", first_success(&log));
    }
}

#[test]
fn s15_a_server_that_fails_half_of_its_requests_is_taken_out() {
    let log = half_broken(Default, 1, identity);
    assert_eq!(errors(&log), 0);
    let log = half_broken(Default, 1, no_retry);
    let (late, all) = (60.0..f64::INFINITY, errors(&log));
    let share = log.errors(late.clone()).count() as f64
        / log.share(|_| true, |sample| late.contains(&sample.at))
        / log.samples.len() as f64;
    assert!(share <= 0.005, "{share}");
    assert!(all > 0);
}

#[test]
fn s16_the_failure_of_most_does_not_spread_to_the_rest() {
    let log = most_fail(Default, 1, 160.0);
    let failed = errors(&log) as f64 / log.samples.len() as f64;
    assert!(failed <= 0.002, "until they are known: {failed}");
    // Four servers do the work of ten.
    for hits in &log.hits[6..] {
        let rate = hits.iter().filter(|hit| hit.at >= 11.0).count() as f64 / 19.0;
        assert!(rate <= 2.75 * 16.0, "{rate}");
    }
    // At half as much again as they can do, they do what they can.
    let log = most_fail(Default, 1, 300.0);
    let goodput = log.samples.iter().filter(|sample| sample.ok).count() as f64 / 20.0;
    assert!(goodput >= 0.95 * 200.0, "{goodput}");
}

#[test]
fn s17_a_lone_server_is_kept_and_the_bad_one_of_few_is_not() {
    for seed in SEEDS {
        let lone = small(Default, seed, 1, 0.5, identity);
        assert!(lone.hits[0].len() >= lone.samples.len());
        let lone = small(Default, seed, 1, 1.0, no_retry);
        assert_eq!(lone.hits[0].len(), lone.samples.len());
        for count in [2, 3, 5] {
            let half = errors(&small(Default, seed, count, 0.5, no_retry));
            assert!(half <= 5, "{count}: {half}");
            // Five in a row eject it, and a probe follows.
            let log = small(Default, seed, count, 1.0, no_retry);
            assert!(errors(&log) <= 6, "{count}: {}", errors(&log));
            are_probes_after_five(&log.hits[0]);
            assert_eq!(errors(&small(Default, seed, count, 1.0, identity)), 0);
        }
    }
}

#[test]
fn s18_retries_make_no_storm() {
    for set in [three_retries as fn(_) -> _, three_retries_alone] {
        let log = retry_storm(Default, 1, set);
        let (requests, sent) = (log.samples.len() as f64, log.sent(ALWAYS) as f64);
        assert!(sent <= 1.2 * requests + 100.0, "{sent} for {requests}");
        assert!(sent > 1.1 * requests, "the budget is used");
    }
}

#[test]
fn s19_a_retry_goes_elsewhere() {
    let alone = |builder: LoadBalanceBuilder| builder.ejection(None);
    for set in [identity as fn(_) -> _, alone] {
        let log = one_fails_others_slow(Default, 1, set);
        assert_eq!(errors(&log), 0);
        assert!(log.hits[0].len() >= 3, "there is something to repeat");
        assert!(
            log.quantile(1.0) < 0.11,
            "one retry at most: {}",
            log.quantile(1.0)
        );
    }
    assert!(errors(&one_fails_others_slow(Default, 1, no_retry)) > 0);
}

#[test]
fn s20_hedging_cuts_the_tail() {
    let without = rarely_slow(Default, 1, identity).quantile(0.999);
    for set in [hedge_after as fn(_) -> _, hedge_percentile] {
        let log = rarely_slow(Default, 1, set);
        let p999 = log.quantile(0.999);
        assert!(p999 * 10.0 <= without, "{p999}, without {without}");
        let extra = sent_per_request(&log) - 1.0;
        assert!((0.005..=0.05).contains(&extra), "{extra}");
    }
}

#[test]
fn s27_at_twice_the_capacity_all_of_it_is_used() {
    let answers = |set| succeeded_in(&overload(Default, 1, set));
    let limited = answers(limits);
    let goodput = limited.len() as f64 / 20.0 / CAPACITY;
    assert!(goodput >= 0.9, "{goodput}");
    // 100 ms in the queue, and the p99 of a request that waits for one other at a server.
    let p99 = quantile(limited, 0.99);
    assert!(p99 <= 0.25, "{p99}");
    let without = quantile(answers(identity), 0.5);
    assert!(without > 1.0, "{without}");
}

#[test]
fn s29_a_server_that_heals_has_its_share_again_soon() {
    for seed in SEEDS {
        let log = heals(Default, seed, identity);
        assert_eq!(errors(&log), 0);
        // Failures are consecutive once the last answer from before has arrived.
        let here = || log.hits[0].iter();
        let before = here().filter(|hit| hit.at < SICK).map(|hit| hit.ended);
        let answered = before.fold(SICK, f64::max);
        let failed = here().filter(|hit| hit.fate == Fate::Answered(503));
        let sick: Vec<_> = failed.filter(|hit| hit.ended > answered).copied().collect();
        are_probes_after_five(&sick);
        let healed = first_after_healing(&log);
        // The back-off is 16 s and a fifth at most by then.
        assert!(healed <= HEALED + 19.2, "{healed}");
        let ramp = full_share_after(&log, healed);
        assert!(ramp <= 10.0, "{ramp}");
    }
}

/// Where most requests are other clients', those of one do not make an endpoint look bad. At low load, retries and
/// `Retry-After` let it steer more; `cargo bench --bench scenarios -- attacks` says how much.
#[test]
fn one_clients_failures_steer_little() {
    let steered = |attack, rate, lasts| {
        let pace = Pace::PerSecond(4.0);
        attacks::steered(Default, 1, rate, lasts, (attack, pace))
    };
    for attack in [Attack::Status(500), Attack::Status(503), Attack::LeaveAlone] {
        let high = steered(attack, BUSY, 30.0);
        assert!(high <= 0.12, "{attack:?}: {high}");
    }
    let low = steered(Attack::Status(500), LOW, 600.0);
    assert!(low <= 0.15, "{low}");
}

/// Two endpoints are in probation at the same time. The request that is the probe of one must not be that of the
/// other.
#[tokio::test(start_paused = true)]
async fn a_last_attempt_is_no_probe() {
    let endpoint = |nth: usize| {
        let answer = move |_: Request<Body>| async move {
            let status = if nth < 2 { 503 } else { 200 };
            let response = Response::builder().status(status).extension(nth);
            Ok::<_, Error>(response.body(Body::empty()).unwrap())
        };
        EndpointSpec::new(nth.to_string(), service_fn(answer))
    };
    let ejection = Ejection::default().consecutive_failures(1).unwrap();
    let balance = LoadBalance::builder()
        .seed(1)
        .ejection(ejection)
        .endpoints((0..4).map(endpoint))
        .unwrap();
    for _ in 0..20 {
        let _ = balance.clone().oneshot(Request::default()).await.unwrap();
    }
    tokio::time::advance(Duration::from_millis(1_300)).await;
    let response = balance.oneshot(Request::default()).await.unwrap();
    assert_eq!(response.status(), 200);
    let info = response.extensions().get::<axum_upstream::Info>().unwrap();
    assert_eq!(info.attempts().count(), 2, "the first one was a probe");
}

/// Sends requests of this method for a second to three endpoints of which the first answers 503. Returns whether it is
/// ejected then, and how many of the answers were 503s.
async fn one_of_three_is_unavailable(method: &Method) -> (bool, usize) {
    let endpoint = |nth: usize| {
        let answer = move |_: Request<Body>| async move {
            let status = if nth == 0 { 503 } else { 200 };
            Ok::<_, Error>(
                Response::builder()
                    .status(status)
                    .body(Body::empty())
                    .unwrap(),
            )
        };
        EndpointSpec::new(nth.to_string(), service_fn(answer))
    };
    let balance = LoadBalance::builder()
        .seed(1)
        .endpoints((0..3).map(endpoint))
        .unwrap();
    let mut failed = 0;
    for _ in 0..50 {
        let request = Request::builder().method(method);
        let request = request.body(Body::empty()).unwrap();
        let response = balance.clone().oneshot(request).await.unwrap();
        failed += usize::from(response.status() == 503);
        tokio::time::advance(Duration::from_millis(20)).await;
    }
    let first = &balance.handle().endpoints()[0];
    (
        matches!(first.availability, Availability::Ejected { .. }),
        failed,
    )
}

/// An endpoint that fails is avoided for its cost. It is tried until it is known, with requests that lose nothing.
#[tokio::test(start_paused = true)]
async fn a_failing_endpoint_is_ejected_beside_others_that_are_well() {
    let seen = one_of_three_is_unavailable(&Method::GET).await;
    assert_eq!(seen, (true, 0), "no client has seen anything of it");
    let seen = one_of_three_is_unavailable(&Method::POST).await;
    assert_eq!(
        seen,
        (false, 1),
        "a request that is sent once is not for trying"
    );
}
