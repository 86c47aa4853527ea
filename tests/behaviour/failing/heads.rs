//! Endpoints that fail before their response head is whole, or instead of one.

use std::time::Duration;

use axum_upstream::{ErrorKind, Side, Stage, endpoint::Availability};

use super::{
    servers::{Fault, Faulty, faulty, good},
    trial::{Trial, answer_from, get, in_turn, skip},
};
use crate::support::{eventually, server::refusing};

/// A failing server, a good one, and a proxy over both that asks the failing one first.
async fn beside_a_good_one(fault: Fault) -> (Faulty, Faulty, Trial) {
    let (bad, good) = (faulty(fault).await, good().await);
    let trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
    (bad, good, trial)
}

/// Nothing was sent to it, so everything can be sent elsewhere.
#[tokio::test]
async fn one_that_refuses_connections_costs_no_request() {
    let (bad, good) = (refusing(), good().await);
    let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
    let mut failures = 0;
    for nth in 0..12 {
        let seen = match nth % 2 {
            0 => trial.get().await,
            _ => trial.post("order").await,
        };
        seen.is_ok();
        if seen.attempts.len() == 2 {
            let first = seen.first();
            assert_eq!(seen.path(), [0, 1]);
            assert_eq!(
                (first.stage(), first.error(), first.is_sent(), first.fault()),
                (
                    Stage::Connect,
                    Some(ErrorKind::Connect),
                    false,
                    Some(Side::Upstream)
                )
            );
            failures += 1;
        }
    }
    assert_eq!((failures, good.requests(), good.posts()), (5, 12, 6));
    assert!(trial.is_ejected(0));
}

/// A GET is answered by the other endpoint. A POST may have been processed, so it is sent once.
#[tokio::test]
async fn a_connection_that_breaks_before_the_head_costs_a_post() {
    for fault in [
        Fault::CloseBeforeHead,
        Fault::ResetBeforeHead,
        Fault::ResetInHead,
        Fault::Garbage,
    ] {
        let (bad, good, mut trial) = beside_a_good_one(fault).await;
        let seen = trial.get().await;
        seen.is_ok();
        assert_eq!(seen.path(), [0, 1], "{fault:?}");
        let first = seen.first();
        assert_eq!(
            (first.stage(), first.error(), first.is_sent(), first.fault()),
            (
                Stage::Head,
                Some(ErrorKind::Connection),
                true,
                Some(Side::Upstream)
            ),
            "{fault:?}"
        );
        // The good one has had a turn by then.
        let mut lost = 0;
        for _ in 0..4 {
            let seen = trial.post("order").await;
            if seen.status == 502 {
                assert_eq!(seen.path(), [0], "{fault:?}");
                lost += 1;
            } else {
                seen.is_ok();
                assert_eq!(seen.path(), [1], "{fault:?}");
            }
        }
        assert_eq!((bad.posts(), good.posts()), (lost, 4 - lost), "{fault:?}");
        assert!(lost > 0, "{fault:?}");
    }
}

/// Whether the request was sent before the connection was found to be closed depends on the moment. What follows does
/// not: a POST is sent elsewhere if, and only if, nothing of it was sent.
#[tokio::test]
async fn a_connection_that_is_closed_at_once_costs_a_post_that_was_sent() {
    let (bad, good, mut trial) = beside_a_good_one(Fault::CloseAtOnce).await;
    let mut answered = 0;
    for nth in 0..20 {
        if nth % 2 == 0 {
            let seen = trial.get().await;
            seen.is_ok();
            answered += 1;
            continue;
        }
        let seen = trial.post("order").await;
        let (last, outcome) = seen.attempts.last().unwrap();
        match seen.status {
            200 => assert_eq!((*last, outcome.is_success()), (1, true)),
            _ => {
                assert_eq!((seen.status, *last), (502, 0), "{seen:?}");
                assert!(outcome.is_sent() && outcome.error() == Some(ErrorKind::Connection));
            }
        }
        answered += usize::from(seen.status == 200);
    }
    assert_eq!(good.requests(), answered);
    assert_eq!(bad.requests(), 0);
}

/// What is answered with 503 was not processed, says the server; but only an idempotent request is sent again.
#[tokio::test]
async fn one_that_answers_503_costs_a_post() {
    let (bad, good, mut trial) = beside_a_good_one(Fault::Unavailable).await;
    let seen = trial.get().await;
    seen.is_ok();
    assert_eq!(seen.path(), [0, 1]);
    let first = seen.first();
    assert_eq!((first.error(), first.is_unavailable()), (None, true));
    let mut passed_on = 0;
    for _ in 0..4 {
        let seen = trial.post("order").await;
        if seen.status == 503 {
            assert_eq!((seen.path(), seen.body.as_str()), (vec![0], "busy"));
            passed_on += 1;
        }
    }
    assert_eq!((bad.posts(), good.posts()), (passed_on, 4 - passed_on));
    assert!(passed_on > 0);
}

/// While no other endpoint is asked meanwhile, nothing is known to compare it with, and the response timeout decides.
#[tokio::test]
async fn one_that_says_nothing_is_a_504_after_the_response_timeout() {
    let (bad, good, mut trial) = beside_a_good_one(Fault::Silent).await;
    let pending = tokio::spawn(answer_from(trial.proxy.address, get()));
    eventually(|| bad.requests() == 1).await;
    skip(Duration::from_secs(59)).await;
    assert!(!pending.is_finished());
    skip(Duration::from_secs(2)).await;
    let seen = trial.seen(pending.await.unwrap()).await;
    assert_eq!((seen.status, seen.path()), (504, vec![0]));
    let first = seen.first();
    assert_eq!(first.error(), Some(ErrorKind::ResponseTimeout));
    assert!(first.is_silent() && first.is_failure());
    eventually(|| bad.closed() == 1).await;
    assert_eq!(good.requests(), 0);
}

/// Bytes of a head that does not end do not prolong its deadline.
#[tokio::test]
async fn a_head_that_trickles_is_a_504_after_the_response_timeout() {
    let (bad, _good, mut trial) = beside_a_good_one(Fault::TricklingHead).await;
    let pending = tokio::spawn(answer_from(trial.proxy.address, get()));
    eventually(|| bad.requests() == 1).await;
    for second in 1..60 {
        skip(Duration::from_secs(1)).await;
        eventually(|| bad.sent() == second).await;
        assert!(!pending.is_finished(), "after {second} s");
    }
    skip(Duration::from_secs(2)).await;
    let seen = trial.seen(pending.await.unwrap()).await;
    assert_eq!((seen.status, seen.path()), (504, vec![0]));
    assert_eq!(seen.first().error(), Some(ErrorKind::ResponseTimeout));
}

/// The others show what is usual, so that the one that hangs is found out, and its requests are asked for elsewhere.
#[tokio::test]
async fn requests_that_hang_are_answered_elsewhere_while_others_are_answered() {
    let bad = faulty(Fault::Silent).await;
    let good = good().await;
    bad.mend();
    let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
    for _ in 0..4 {
        trial.get().await.is_ok();
    }
    bad.break_again();
    let before = bad.requests();
    let mut sent = Vec::new();
    for nth in 0.. {
        let asked = bad.requests();
        sent.push(tokio::spawn(answer_from(trial.proxy.address, get())));
        eventually(|| sent[nth].is_finished() || bad.requests() > asked).await;
        if nth > 3 && sent.iter().all(tokio::task::JoinHandle::is_finished) {
            break;
        }
        assert!(nth < 100, "requests are stuck after 10 s");
        skip(Duration::from_millis(100)).await;
    }
    for request in sent {
        let (status, _, body, _) = request.await.unwrap();
        assert_eq!((status, body.as_str()), (200, "ok"));
    }
    assert!(bad.requests() - before <= 5, "{}", bad.requests() - before);
    assert!(matches!(
        trial.availability(0),
        Availability::Ejected { silent: true, .. } | Availability::Probation { silent: true }
    ));
}
