//! Endpoints that have failed too often: ejected, tried again by one request, and back.

use std::time::Duration;

use axum_upstream::endpoint::Availability;

use super::{
    servers::{Fault, faulty, good},
    trial::{Trial, answer_from, get, in_turn, skip},
};
use crate::support::{Conn, proxy::OK, server::refusing, within};

/// The whole circle with the default settings: five failures eject the endpoint, one request a back-off later tries it,
/// a failure doubles the back-off, and a success brings it back.
#[tokio::test]
async fn five_failures_eject_and_one_success_brings_back() {
    for fault in [
        Fault::CloseBeforeHead,
        Fault::ResetBeforeHead,
        Fault::ResetInHead,
        Fault::Garbage,
        Fault::Unavailable,
    ] {
        let (bad, good) = (faulty(fault).await, good().await);
        let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
        while bad.requests() < 5 {
            assert!(!trial.is_ejected(0), "{fault:?} after {}", bad.requests());
            trial.get().await;
        }
        for _ in 0..6 {
            trial.get().await.is_ok();
        }
        assert_eq!(bad.requests(), 5, "{fault:?}");
        assert!(
            trial.is_ejected(0),
            "{fault:?}: {:?}",
            trial.availability(0)
        );

        // From 1 s to 1.2 s, then twice that: one request finds out.
        skip(Duration::from_millis(900)).await;
        trial.get().await.is_ok();
        assert_eq!(bad.requests(), 5, "{fault:?}");
        skip(Duration::from_millis(300)).await;
        assert!(
            matches!(trial.availability(0), Availability::Probation { .. }),
            "{fault:?}"
        );
        for _ in 0..4 {
            trial.get().await;
        }
        assert_eq!(bad.requests(), 6, "{fault:?}");
        assert!(trial.is_ejected(0), "{fault:?}");

        bad.mend();
        skip(Duration::from_millis(1_900)).await;
        trial.get().await.is_ok();
        assert_eq!(bad.requests(), 6, "{fault:?}");
        skip(Duration::from_millis(500)).await;
        for _ in 0..4 {
            trial.get().await.is_ok();
        }
        assert_eq!(trial.availability(0), Availability::Usable, "{fault:?}");
        skip(Duration::from_secs(30)).await;
        let before = bad.requests();
        for _ in 0..8 {
            trial.get().await.is_ok();
        }
        assert_eq!(bad.requests(), before + 4, "{fault:?}");
    }
}

/// As above, for bodies that break: a head is no success then, neither before the ejection nor of the request that tries.
#[tokio::test]
async fn five_bodies_that_break_eject() {
    for fault in [Fault::ResetInBody, Fault::CloseInChunks, Fault::TooShort] {
        let (bad, good) = (faulty(fault).await, good().await);
        let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
        for _ in 0..20 {
            trial.get().await;
        }
        assert_eq!(bad.requests(), 5, "{fault:?}");
        assert!(trial.is_ejected(0), "{fault:?}");
        skip(Duration::from_millis(1_300)).await;
        for _ in 0..20 {
            trial.get().await;
        }
        let tried = bad.requests() - 5;
        assert_eq!(tried, 1, "{fault:?}");
        assert!(trial.is_ejected(0), "{fault:?}");
    }
}

/// One that refuses connections is silent: it is out even if it is the last one, and found again.
#[tokio::test]
async fn one_that_refuses_comes_back_once_it_listens() {
    let (bad, good) = (refusing(), good().await);
    let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
    for _ in 0..12 {
        trial.get().await.is_ok();
    }
    assert!(matches!(
        trial.availability(0),
        Availability::Ejected { silent: true, .. }
    ));
    skip(Duration::from_millis(1_300)).await;
    assert_eq!(
        trial.availability(0),
        Availability::Probation { silent: true }
    );
    let listener = tokio::net::TcpListener::from_std(bad.listen()).unwrap();
    let server = tokio::spawn(async move {
        let mut served = 0;
        while let Ok((stream, _)) = listener.accept().await {
            let mut conn = Conn::new(stream);
            while conn.request().await.is_some() {
                conn.send(OK).await;
                served += 1;
                if served == 3 {
                    return served;
                }
            }
        }
        served
    });
    let seen = trial.get().await;
    seen.is_ok();
    assert_eq!(seen.path(), [0], "the probe is given time to connect");
    for _ in 0..5 {
        trial.get().await.is_ok();
    }
    assert_eq!(trial.availability(0), Availability::Usable);
    assert_eq!(server.await.unwrap(), 3);
}

/// A request that tries a silent endpoint again does not wait for it for long, and the next one has to wait for another
/// back-off.
#[tokio::test]
async fn one_that_hangs_costs_one_probe_per_back_off() {
    let (bad, good) = (refusing(), good().await);
    let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
    for _ in 0..12 {
        trial.get().await.is_ok();
    }
    skip(Duration::from_millis(1_300)).await;
    // It takes connections now, and says nothing.
    let listener = tokio::net::TcpListener::from_std(bad.listen()).unwrap();
    let (probe, answer) = (trial.proxy.address, good.requests());
    let probe = tokio::spawn(answer_from(probe, get()));
    let mut silent = Conn::new(within(listener.accept()).await.unwrap().0);
    within(silent.head()).await.unwrap();
    for _ in 0..5 {
        answer_from(trial.proxy.address, get()).await;
    }
    assert!(!probe.is_finished());
    assert_eq!(good.requests(), answer + 5);
    skip(Duration::from_millis(100)).await;
    assert_eq!(within(probe).await.unwrap().0, 200);
    assert!(within(silent.closed()).await);
    for _ in 0..5 {
        answer_from(trial.proxy.address, get()).await;
    }
    assert!(trial.is_ejected(0));
    assert_eq!(good.requests(), answer + 11);
}

/// An endpoint that answers is used, however badly it does, when there is no other.
#[tokio::test]
async fn a_lone_one_is_ejected_only_if_it_does_not_answer() {
    let bad = faulty(Fault::Unavailable).await;
    let mut trial = Trial::new(in_turn(), &[bad.url()]).await;
    for nth in 1..=10 {
        let seen = trial.get().await;
        assert_eq!((seen.status, seen.body.as_str()), (503, "busy"));
        assert_eq!(bad.requests(), nth);
    }
    assert_eq!(trial.availability(0), Availability::Usable);

    let bad = refusing();
    let mut trial = Trial::new(in_turn(), &[bad.url()]).await;
    for _ in 0..5 {
        assert_eq!(trial.get().await.status, 502);
    }
    let seen = trial.get().await;
    assert_eq!((seen.status, seen.path()), (503, vec![]));
    assert!(seen.headers.contains_key("retry-after"));
}
