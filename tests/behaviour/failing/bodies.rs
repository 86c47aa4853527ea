//! Endpoints that fail after their response head, which has been passed on by then.

use std::{sync::Arc, time::Duration};

use axum_upstream::{ErrorKind, Side, Stage, endpoint::Availability};
use http_body_util::BodyExt;
use tokio::sync::Notify;

use super::{
    servers::{Fault, faulty, good},
    trial::{Trial, answer_from, get, in_turn, skip},
};
use crate::support::{Client, Http, eventually, server, within};

/// The client has a part of the response, so its body is cut, and nothing of another response is appended to it.
#[tokio::test]
async fn a_body_that_breaks_is_cut_and_never_merged() {
    for fault in [
        Fault::ResetInBody,
        Fault::ResetInChunks,
        Fault::CloseInChunks,
        Fault::TooShort,
    ] {
        let (bad, good) = (faulty(fault).await, good().await);
        let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
        let mut cut = 0;
        for nth in 0..4 {
            let seen = match nth % 2 {
                0 => trial.get().await,
                _ => trial.post("order").await,
            };
            assert_eq!(seen.path().len(), 1, "{fault:?}");
            if seen.path() == [1] {
                seen.is_ok();
                continue;
            }
            cut += 1;
            // Where all of it comes at once, hyper's server closes the connection before it has sent the head.
            assert!(matches!(seen.status, 0 | 200), "{seen:?}");
            assert!(!seen.is_whole && "half".starts_with(&seen.body), "{seen:?}");
            let first = seen.first();
            assert_eq!(
                (first.stage(), first.error(), first.fault()),
                (
                    Stage::Body,
                    Some(ErrorKind::ResponseBody),
                    Some(Side::Upstream)
                ),
                "{fault:?}"
            );
            assert!(!first.is_unavailable(), "{fault:?}");
        }
        assert_eq!(
            (cut, bad.requests(), good.requests()),
            (2, 2, 2),
            "{fault:?}"
        );
    }
}

/// As above, where the first half has reached the client before the body breaks.
#[tokio::test]
async fn what_came_before_the_break_has_arrived() {
    for (head, is_reset) in [
        ("Content-Length: 10\r\n\r\nhalf", true),
        ("Content-Length: 10\r\n\r\nhalf", false),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", true),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false),
    ] {
        let arrived = Arc::new(Notify::new());
        let breaks = arrived.clone();
        let bad = server::raw(move |mut conn| {
            let breaks = breaks.clone();
            async move {
                conn.request().await.unwrap();
                conn.send(format!("HTTP/1.1 200 OK\r\n{head}")).await;
                breaks.notified().await;
                if is_reset {
                    conn.abort();
                }
            }
        });
        let (bad, good) = (bad.await, good().await);
        let trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
        let mut client = Client::connect(Http::One, trial.proxy.address).await;
        let response = within(client.get("/")).await;
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let half = within(body.frame()).await.unwrap().unwrap();
        assert_eq!(half.into_data().unwrap(), "half");
        arrived.notify_one();
        assert!(within(body.frame()).await.unwrap().is_err());
        assert_eq!(good.requests(), 0);
    }
}

/// What comes after the end belongs to no request. The connection is not used again.
#[tokio::test]
async fn what_is_sent_beyond_the_length_reaches_no_client() {
    let (bad, good) = (faulty(Fault::TooLong).await, good().await);
    let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
    for _ in 0..10 {
        let seen = trial.get().await;
        seen.is_ok();
        assert!(
            seen.attempts
                .iter()
                .all(|(_, outcome)| outcome.is_success())
        );
    }
    assert_eq!(trial.availability(0), Availability::Usable);
}

/// A connection that ends after a whole response is none that failed.
#[tokio::test]
async fn one_that_closes_after_each_response_fails_nothing() {
    let bad = faulty(Fault::CloseAfterResponse).await;
    let mut trial = Trial::new(in_turn(), &[bad.url()]).await;
    for nth in 0..20 {
        let seen = match nth % 2 {
            0 => trial.get().await,
            _ => trial.post("order").await,
        };
        seen.is_ok();
    }
    assert_eq!(bad.requests(), 20);
    assert_eq!(trial.availability(0), Availability::Usable);
}

/// A slow body is no failure as long as it moves.
#[tokio::test]
async fn a_body_that_trickles_arrives_whole() {
    let bad = faulty(Fault::TricklingBody).await;
    let mut trial = Trial::new(in_turn(), &[bad.url()]).await;
    let pending = tokio::spawn(answer_from(trial.proxy.address, get()));
    eventually(|| bad.requests() == 1).await;
    for second in 1..=5 {
        skip(Duration::from_secs(1)).await;
        eventually(|| bad.sent() == second).await;
    }
    let seen = trial.seen(pending.await.unwrap()).await;
    assert_eq!(
        (seen.status, seen.body.as_str(), seen.is_whole),
        (200, "slow!", true)
    );
    assert!(seen.first().is_success());
    assert_eq!(trial.availability(0), Availability::Usable);
}
