//! Requests whose clients leave, after each number of polls: nothing is left behind, and later ones are answered.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
};

use axum_upstream::{Body, BoxError};
use http::Request;
use http_body_util::BodyExt;

use crate::support::{Origin, TestCache, cached, get, pass, request, response, settle};

/// More than any of these requests takes.
const POLLS: usize = 24;

/// An origin that answers in two pieces, each with a pause, and what its responses hold while they are not at their end.
fn halting() -> (Origin, Arc<()>) {
    let held = Arc::new(());
    let origin = Origin::new({
        let held = held.clone();
        move |request, _| {
            let fields = [
                ("cache-control", "max-age=10, stale-while-revalidate=10"),
                ("etag", "\"a\""),
            ];
            if request.headers.contains_key("if-none-match") {
                return Ok(response(304, &fields, ""));
            }
            let held = held.clone();
            let pieces = futures_util::stream::unfold(0, move |n| {
                let held = held.clone();
                async move {
                    let _held = held;
                    tokio::task::yield_now().await;
                    let piece = *["he", "llo"].get(n)?;
                    let frame = http_body::Frame::data(piece.into());
                    Some((Ok::<_, BoxError>(frame), n + 1))
                }
            });
            let body = Body::new(http_body_util::StreamBody::new(Box::pin(pieces)));
            Ok(response(200, &fields, body))
        }
    });
    (origin, held)
}

/// Sends a request, polls it and its response so many times, with other tasks in between, and drops it. Returns whether
/// it was at its end.
async fn leave(cache: &TestCache, request: Request<Body>, polls: usize) -> bool {
    let cache = cache.clone();
    let mut exchange = pin!(async move {
        let response = cache.open(request).await.unwrap();
        response.into_body().collect().await.unwrap();
    });
    for _ in 0..polls {
        let mut context = Context::from_waker(Waker::noop());
        if exchange.as_mut().poll(&mut context).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

/// Nothing is under way, and the next request is answered.
async fn is_as_before(cache: &TestCache, held: &Arc<()>, what: &str) {
    settle().await;
    assert_eq!(Arc::strong_count(held), 2, "{what}: a response is held");
    assert_eq!(cache.handle.counts().bytes_in_flight, 0, "{what}");
    for _ in 0..2 {
        let next = tokio::time::timeout(std::time::Duration::from_secs(1), cache.get("/"));
        assert_eq!(next.await.unwrap().text, "hello", "{what}");
    }
    settle().await;
    assert_eq!(Arc::strong_count(held), 2, "{what}: a later one is held");
}

/// Tries all numbers of polls. `prepare` is what happens before.
async fn at_each_poll<F, Fut>(what: &str, request: fn() -> Request<Body>, prepare: F)
where
    F: Fn(TestCache) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut ends = 0;
    for polls in 0..POLLS {
        let (origin, held) = halting();
        let cache = cached(&origin);
        prepare(cache.clone()).await;
        ends += usize::from(leave(&cache, request(), polls).await);
        is_as_before(&cache, &held, &format!("{what} after {polls} polls")).await;
    }
    assert!(
        (1..POLLS).contains(&ends),
        "{what}: {ends} came to their end"
    );
}

fn plain() -> Request<Body> {
    get("/", &[])
}

#[tokio::test(start_paused = true)]
async fn misses() {
    at_each_poll("a miss", plain, |_| async {}).await;
}

#[tokio::test(start_paused = true)]
async fn misses_that_are_not_shared() {
    let authorized = || get("/", &[("authorization", "x")]);
    at_each_poll("a miss with credentials", authorized, |_| async {}).await;
    let head = || request("HEAD", "/", &[], Body::empty());
    at_each_poll("a HEAD", head, |_| async {}).await;
    let post = || request("POST", "/", &[], Body::from("x"));
    at_each_poll("a POST", post, |_| async {}).await;
}

#[tokio::test(start_paused = true)]
async fn validations() {
    at_each_poll("a validation", plain, |cache| async move {
        cache.get("/").await;
        pass(30).await;
    })
    .await;
    at_each_poll("one in the background", plain, |cache| async move {
        cache.get("/").await;
        pass(15).await;
    })
    .await;
}

/// One of two that share a response leaves, after each number of polls of both. The other one gets all of it.
#[tokio::test(start_paused = true)]
async fn one_of_two() {
    for leads in [true, false] {
        for polls in 0..POLLS {
            let (origin, held) = halting();
            let cache = cached(&origin);
            let what = format!("leads: {leads}, after {polls} polls");
            let stays = || {
                let cache = cache.clone();
                tokio::spawn(async move { cache.get("/").await.text })
            };
            let stays = if leads {
                let mut first = Box::pin({
                    let cache = cache.clone();
                    async move { cache.get("/").await.text }
                });
                let mut context = Context::from_waker(Waker::noop());
                assert!(first.as_mut().poll(&mut context).is_pending());
                let stays = stays();
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                    if first.as_mut().poll(&mut context).is_ready() {
                        break;
                    }
                }
                stays
            } else {
                let stays = stays();
                tokio::task::yield_now().await;
                leave(&cache, plain(), polls).await;
                stays
            };
            assert_eq!(stays.await.unwrap(), "hello", "{what}");
            assert_eq!(origin.count(), 1, "{what}");
            is_as_before(&cache, &held, &what).await;
        }
    }
}

/// The cache goes while it validates in the background: so does the request.
#[tokio::test(start_paused = true)]
async fn the_cache_itself() {
    let (origin, held) = halting();
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    origin.gate_shut();
    cache.get("/").await;
    settle().await;
    assert_eq!(origin.count(), 2);
    drop(cache);
    settle().await;
    // A request that still waited would be let in by the first of these.
    origin.open(2);
    settle().await;
    assert_eq!(Arc::strong_count(&held), 2);
}
