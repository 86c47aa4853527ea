//! Stale responses that are used (RFC 5861).

use std::time::Duration;

use axum_upstream::cache::CacheLayer;
use tokio::sync::mpsc::{self, error::TryRecvError};

use crate::support::{Origin, cached, cached_with, get, pass, response, settle};

const WHILE: &[(&str, &str)] = &[
    ("cache-control", "max-age=10, stale-while-revalidate=10"),
    ("etag", "\"a\""),
];

/// RFC 9111 5.2.1.5: the response to a request with `no-store` is not stored, so it is not asked for in the background.
#[tokio::test(start_paused = true)]
async fn a_request_with_no_store_validates_nothing_in_the_background() {
    let origin = Origin::says(WHILE, "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    let hit = cache.get_with("/", &[("cache-control", "no-store")]).await;
    assert_eq!(hit.cache_status(), "hit");
    settle().await;
    assert_eq!(origin.count(), 1);
    cache.get("/").await;
    settle().await;
    assert_eq!(origin.count(), 2);
}

/// RFC 5861 3: the response is used at once, and validated in the background, once.
#[tokio::test(start_paused = true)]
async fn stale_while_revalidate() {
    let origin = Origin::says(WHILE, "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    origin.gate_shut();
    for _ in 0..10 {
        let stale = cache.get("/").await;
        assert_eq!((stale.text.as_str(), stale.field("age")), ("hello", "15"));
        assert_eq!(stale.field("cache-status"), "axum-upstream; hit; ttl=-5");
    }
    settle().await;
    assert_eq!(origin.count(), 2);
    assert_eq!(origin.last()["if-none-match"], "\"a\"");
    origin.open(1);
    settle().await;
    assert_eq!(
        cache.get("/").await.field("cache-status"),
        "axum-upstream; hit; ttl=10"
    );
    assert_eq!(
        (origin.count(), cache.handle.counts().served_stale),
        (2, 10)
    );
    pass(21).await;
    origin.open(1);
    assert_eq!(cache.get("/").await.cache_status(), "fwd=stale; stored");
}

/// A client that waits because the response is too old for it joins the validation in the background.
#[tokio::test(start_paused = true)]
async fn a_background_validation_may_be_joined() {
    let origin = Origin::says(WHILE, "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    origin.gate_shut();
    cache.get("/").await;
    let other = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with("/", &[("cache-control", "no-cache")]).await }
    });
    settle().await;
    assert_eq!(origin.count(), 2);
    origin.open(1);
    assert_eq!(other.await.unwrap().cache_status(), "fwd=stale; collapsed");
}

/// What goes on in the background ends with the cache.
#[tokio::test(start_paused = true)]
async fn the_background_ends_with_the_last_clone() {
    let (alive, mut ended) = mpsc::channel::<()>(1);
    let origin = Origin::says(WHILE, "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    origin.gate_shut();
    // Held by the request that is under way.
    let mut request = get("/", &[]);
    request.extensions_mut().insert(alive);
    cache.send(request).await;
    settle().await;
    assert_eq!(ended.try_recv(), Err(TryRecvError::Empty));
    let handle = cache.handle.clone();
    drop(cache);
    settle().await;
    origin.forget();
    assert_eq!(ended.recv().await, None);
    assert_eq!(
        handle.counts().stored,
        1,
        "a handle keeps the store, and no task"
    );
}

/// RFC 5861 4: for 500, 502, 503 and 504, and for an error of the service.
#[tokio::test(start_paused = true)]
async fn stale_if_error() {
    for failure in [0, 500, 502, 503, 504] {
        let origin =
            Origin::new(
                move |request, _| match (request.headers.contains_key("fail"), failure) {
                    (false, _) => Ok(response(
                        200,
                        &[("cache-control", "max-age=10, stale-if-error=10")],
                        "hello",
                    )),
                    (true, 0) => Err("broken".into()),
                    (true, status) => Ok(response(status, &[], "error")),
                },
            );
        let cache = cached(&origin);
        cache.get("/").await;
        pass(15).await;
        let stale = cache.get_with("/", &[("fail", "1")]).await;
        assert_eq!(
            (stale.status, stale.text.as_str()),
            (200, "hello"),
            "{failure}"
        );
        let said = match failure {
            0 => "fwd=stale".to_owned(),
            status => format!("fwd=stale; fwd-status={status}"),
        };
        assert_eq!(
            (stale.cache_status(), stale.field("age")),
            (said.as_str(), "15")
        );
        pass(6).await;
        let failed = cache.open(get("/", &[("fail", "1")])).await;
        assert!(
            failed.map_or(true, |response| response.status() == failure),
            "{failure}"
        );
    }
}

/// Other errors are those of the resource.
#[tokio::test(start_paused = true)]
async fn other_statuses_replace_what_is_stored() {
    let origin = Origin::in_turn(vec![
        || {
            Ok(response(
                200,
                &[("cache-control", "max-age=10, stale-if-error=10")],
                "hello",
            ))
        },
        || Ok(response(410, &[], "gone")),
        || Ok(response(503, &[], "error")),
    ]);
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    assert_eq!(cache.get("/").await.status, 410);
    assert_eq!(cache.get("/").await.status, 503);
}

/// The default of the layer, which is off, and what forbids it.
#[tokio::test(start_paused = true)]
async fn stale_if_error_by_default() {
    for (directives, setting, expected) in [
        ("max-age=10", 0, 503),
        ("max-age=10", 60, 200),
        ("max-age=10, must-revalidate", 60, 503),
        ("max-age=10, proxy-revalidate", 60, 503),
        ("s-maxage=10", 60, 503),
        ("max-age=10, stale-if-error=1", 60, 503),
    ] {
        let origin = Origin::new(move |request, _| {
            let failing = request.headers.contains_key("fail");
            Ok(response(
                if failing { 503 } else { 200 },
                &[("cache-control", directives)],
                "",
            ))
        });
        let builder = CacheLayer::in_memory(1 << 20).stale_if_error(Duration::from_secs(setting));
        let cache = cached_with(&origin, builder);
        cache.get("/").await;
        pass(15).await;
        let answer = cache.get_with("/", &[("fail", "1")]).await;
        assert_eq!(answer.status, expected, "{directives} {setting}");
    }
}
