//! Endpoints that are slow: the per-try timeout, and hedging.

use std::time::Duration;

use axum_upstream::{
    Body, ErrorKind,
    balance::LoadBalanceBuilder,
    endpoint::Availability,
    retry::{Hedge, Retry},
};
use http::Request;
use tokio::sync::mpsc;

use super::{
    servers::{Fault, Held, faulty, good},
    trial::{Trial, answer_from, get, in_turn, post, skip},
};
use crate::support::{Conn, Http, eventually, proxy::OK, server, within};

const SECOND: Duration = Duration::from_secs(1);

fn per_try() -> LoadBalanceBuilder {
    in_turn().retry(Retry::default().per_try_timeout(SECOND).unwrap())
}

fn hedged() -> LoadBalanceBuilder {
    in_turn().hedge(Hedge::after(SECOND).unwrap())
}

/// The attempt ends, and its connection with it. That is a failure of its endpoint, and the other one answers.
#[tokio::test]
async fn an_attempt_that_takes_too_long_is_made_elsewhere() {
    let (bad, good) = (faulty(Fault::Silent).await, good().await);
    let mut trial = Trial::new(per_try(), &[bad.url(), good.url()]).await;
    let sent = tokio::spawn(answer_from(trial.proxy.address, get()));
    eventually(|| bad.requests() == 1).await;
    assert_eq!(good.requests(), 0);
    skip(SECOND).await;
    let seen = trial.seen(within(sent).await.unwrap()).await;
    seen.is_ok();
    assert_eq!(seen.path(), [0, 1]);
    let first = seen.first();
    assert_eq!(first.error(), Some(ErrorKind::PerTryTimeout));
    assert!(first.is_failure() && first.is_silent());
    eventually(|| bad.closed() == 1).await;
}

/// Without another endpoint, or for a request that cannot be repeated, it is a 504.
#[tokio::test]
async fn an_attempt_that_takes_too_long_is_a_504_if_it_is_the_last() {
    let bad = faulty(Fault::Silent).await;
    let mut trial = Trial::new(per_try(), &[bad.url()]).await;
    let sent = tokio::spawn(answer_from(trial.proxy.address, get()));
    // The lone endpoint is asked once more, on another connection.
    for nth in 1..=2 {
        eventually(|| bad.requests() == nth).await;
        assert!(!sent.is_finished());
        skip(SECOND).await;
    }
    let seen = trial.seen(within(sent).await.unwrap()).await;
    assert_eq!((seen.status, seen.path()), (504, vec![0, 0]));

    let (bad, good) = (faulty(Fault::Silent).await, good().await);
    let mut trial = Trial::new(per_try(), &[bad.url(), good.url()]).await;
    let sent = tokio::spawn(answer_from(trial.proxy.address, post("order")));
    eventually(|| bad.requests() == 1).await;
    skip(SECOND).await;
    let seen = trial.seen(within(sent).await.unwrap()).await;
    assert_eq!((seen.status, seen.path()), (504, vec![0]));
    assert_eq!(seen.first().error(), Some(ErrorKind::PerTryTimeout));
    assert_eq!(good.requests(), 0);
}

/// How long a client takes to send says nothing about the endpoint.
#[tokio::test]
async fn a_slow_upload_is_no_slow_attempt() {
    let (tell, mut received) = mpsc::unbounded_channel();
    let slow = server::raw(move |mut conn| {
        let tell = tell.clone();
        async move {
            conn.head().await;
            for _ in 0..4 {
                conn.take(1).await;
                let _ = tell.send(());
            }
            conn.send(OK).await;
        }
    })
    .await;
    let good = good().await;
    let mut trial = Trial::new(per_try(), &[slow.url(), good.url()]).await;
    let mut client = Conn::connect(trial.proxy.address).await;
    client
        .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n")
        .await;
    for _ in 0..4 {
        skip(10 * SECOND).await;
        client.send("x").await;
        within(received.recv()).await.unwrap();
    }
    assert_eq!(within(client.response()).await.unwrap().status(), 200);
    assert_eq!(trial.path().await, [0]);
    assert_eq!(good.requests(), 0);
    assert_eq!(trial.availability(0), Availability::Usable);
}

/// The second endpoint is asked after the delay, and not before; the slow attempt is cancelled, which is no failure.
#[tokio::test]
async fn a_slow_endpoint_is_overtaken_by_another() {
    let (slow, good) = (faulty(Fault::Silent).await, good().await);
    let mut trial = Trial::new(hedged(), &[slow.url(), good.url()]).await;
    let sent = tokio::spawn(answer_from(trial.proxy.address, get()));
    eventually(|| slow.requests() == 1).await;
    skip(SECOND * 9 / 10).await;
    assert!(!sent.is_finished() && good.requests() == 0);
    skip(SECOND / 10).await;
    let seen = trial.seen(within(sent).await.unwrap()).await;
    seen.is_ok();
    assert_eq!(seen.path(), [0, 1]);
    let first = seen.first();
    assert_eq!(first.error(), Some(ErrorKind::Superseded));
    assert!(!first.is_failure() && !first.is_success());
    eventually(|| slow.closed() == 1).await;
    assert_eq!((slow.requests(), good.requests()), (1, 1));
    assert_eq!(trial.in_flight(0), 0);
}

/// The first attempt may still be answered first. Then the second one is cancelled.
#[tokio::test]
async fn the_slow_one_may_still_win() {
    let (mut slow, mut slower) = (Held::new().await, Held::new().await);
    let mut trial = Trial::new(hedged(), &[slow.url(), slower.url()]).await;
    let sent = tokio::spawn(answer_from(trial.proxy.address, get()));
    slow.next().await;
    skip(SECOND).await;
    slower.next().await;
    slow.answer(1);
    let seen = trial.seen(within(sent).await.unwrap()).await;
    seen.is_ok();
    assert!(seen.first().is_success());
    assert_eq!(seen.attempts[1].1.error(), Some(ErrorKind::Superseded));
    eventually(|| slower.count.open() == 0).await;
}

/// An answer that is a failure does not win: the other attempt goes on, and its head is the only one that the client gets.
#[tokio::test]
async fn a_failure_does_not_overtake() {
    let mut slow = Held::new().await;
    let bad = "HTTP/1.1 503 Busy\r\nX-From: bad\r\nContent-Length: 4\r\n\r\nbusy";
    let (bad, mut asked) = server::canned(bad).await;
    let mut trial = Trial::new(hedged(), &[slow.url(), bad.url()]).await;
    let sent = tokio::spawn(answer_from(trial.proxy.address, get()));
    slow.next().await;
    skip(SECOND).await;
    within(asked.recv()).await.unwrap();
    eventually(|| trial.in_flight(1) == 0).await;
    assert!(!sent.is_finished());
    slow.answer(1);
    let seen = trial.seen(within(sent).await.unwrap()).await;
    seen.is_ok();
    assert!(!seen.headers.contains_key("x-from"));
    assert_eq!(seen.path(), [0, 1]);
}

/// A POST may not be processed twice, and a PUT only once its whole body is there.
#[tokio::test]
async fn a_post_is_never_hedged() {
    let (mut slow, good) = (Held::new().await, good().await);
    let mut trial = Trial::new(hedged(), &[slow.url(), good.url()]).await;
    let sent = tokio::spawn(answer_from(trial.proxy.address, post("order")));
    slow.next().await;
    skip(10 * SECOND).await;
    assert!(!sent.is_finished());
    slow.answer(1);
    let seen = trial.seen(within(sent).await.unwrap()).await;
    seen.is_ok();
    assert_eq!((seen.path(), good.requests()), (vec![0], 0));

    let (mut slow, good) = (Held::new().await, super::servers::good().await);
    let mut trial = Trial::new(hedged(), &[slow.url(), good.url()]).await;
    let put = Request::put("/").body(Body::from("order")).unwrap();
    let sent = tokio::spawn(answer_from(trial.proxy.address, put));
    slow.next().await;
    skip(SECOND).await;
    let seen = trial.seen(within(sent).await.unwrap()).await;
    seen.is_ok();
    assert_eq!(seen.path(), [0, 1]);
}

/// Over HTTP/2, the stream of the loser is reset, and its connection stays.
#[tokio::test]
async fn the_stream_of_the_loser_is_reset() {
    let (tell, mut reset) = mpsc::unbounded_channel();
    let slow = server::raw(move |conn| {
        let tell = tell.clone();
        async move {
            let mut connection = h2::server::handshake(conn.into_stream()).await.unwrap();
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                let tell = tell.clone();
                tokio::spawn(async move {
                    let _ = tell.send(None);
                    let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                    let _ = tell.send(Some(reason.unwrap()));
                });
            }
        }
    })
    .await;
    let good = good().await;
    let mut trial = Trial::new(hedged(), &[slow.url_for(Http::Two), good.url()]).await;
    let sent = tokio::spawn(answer_from(trial.proxy.address, get()));
    assert_eq!(within(reset.recv()).await.unwrap(), None);
    skip(SECOND).await;
    let seen = trial.seen(within(sent).await.unwrap()).await;
    seen.is_ok();
    assert_eq!(seen.path(), [0, 1]);
    assert_eq!(
        within(reset.recv()).await.unwrap(),
        Some(h2::Reason::CANCEL)
    );
}
