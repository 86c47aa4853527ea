//! Requests that share a response.

use std::time::Duration;

use axum_upstream::cache::CacheLayer;
use tokio::task::JoinSet;

use crate::support::{
    Origin, TestCache, cached, cached_with, get, pass, push, read, response, settle, streaming,
};

/// Sends this many GETs at once.
fn many(
    cache: &TestCache,
    count: usize,
    fields: &'static [(&'static str, &'static str)],
) -> JoinSet<String> {
    let mut requests = JoinSet::new();
    for _ in 0..count {
        let cache = cache.clone();
        requests.spawn(async move {
            let read = cache.get_with("/", fields).await;
            format!("{} {}", read.text, read.cache_status())
        });
    }
    requests
}

/// A hundred clients that miss at once make one request.
#[tokio::test(start_paused = true)]
async fn misses_at_once_are_one_request() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello").shut();
    let cache = cached(&origin);
    let requests = many(&cache, 100, &[]);
    settle().await;
    assert_eq!(origin.count(), 1);
    origin.open(1);
    let answers = requests.join_all().await;
    let collapsed = answers
        .iter()
        .filter(|answer| *answer == "hello fwd=uri-miss; collapsed");
    assert_eq!(collapsed.count(), 99);
    assert_eq!((origin.count(), cache.handle.counts().collapsed), (1, 99));
}

/// The response is passed on as it comes, to those who come later, too.
#[tokio::test(start_paused = true)]
async fn those_who_join_get_the_stream_as_it_comes() {
    use http_body_util::BodyExt;

    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached(&origin);
    let mut first = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap()[0].clone();
    assert!(push(&sender, "one"));
    let frame = first.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");
    let mut second = cache.open(get("/", &[])).await.unwrap();
    let frame = second.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");
    push(&sender, "two");
    drop((sender, senders.lock().unwrap().pop()));
    assert_eq!(read(first).await.unwrap().text, "two");
    assert_eq!(read(second).await.unwrap().text, "two");
    assert_eq!(cache.get("/").await.text, "onetwo");
    assert_eq!(origin.count(), 1);
}

/// If the head says that it is not storable, those who wait go on their own, all at once, and nobody waits for a while.
#[tokio::test(start_paused = true)]
async fn what_is_not_storable_is_asked_for_by_each() {
    let origin = Origin::says(&[("cache-control", "no-store")], "hello").shut();
    let cache = cached(&origin);
    let requests = many(&cache, 10, &[]);
    settle().await;
    assert_eq!(origin.count(), 1);
    origin.open(1);
    settle().await;
    assert_eq!(origin.count(), 10, "all at once");
    let more = many(&cache, 10, &[]);
    settle().await;
    assert_eq!(origin.count(), 20, "no one waits");
    origin.open(100);
    requests.join_all().await;
    more.join_all().await;
    pass(11).await;
    origin.gate_shut();
    let later = many(&cache, 10, &[]);
    settle().await;
    assert_eq!(origin.count(), 21, "after ten seconds one is asked again");
    origin.open(100);
    later.join_all().await;
}

/// Clients that get responses of their own do not keep others from a stored one, nor from collapsing.
#[tokio::test(start_paused = true)]
async fn one_that_can_be_stored_ends_it() {
    let origin = Origin::new(|request, _| {
        let own = request.headers.contains_key("cookie");
        let fields = [("cache-control", if own { "private" } else { "max-age=60" })];
        Ok(response(200, &fields, "hello"))
    });
    let cache = cached(&origin);
    cache
        .get_with("/", &[("cookie", "a=b"), ("if-none-match", "\"a\"")])
        .await;
    let own = cache
        .get_with("/", &[("cookie", "a=b"), ("if-none-match", "\"a\"")])
        .await;
    assert_eq!(own.cache_status(), "fwd=uri-miss");
    assert!(
        origin.last().contains_key("if-none-match"),
        "the origin may answer it"
    );
    assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(cache.get("/").await.cache_status(), "hit");
    cache.handle.clear().await.unwrap();
    origin.gate_shut();
    let requests = many(&cache, 10, &[]);
    settle().await;
    assert_eq!(origin.count(), 4);
    origin.open(1);
    requests.join_all().await;
}

/// A response for other requests is of no use to those who wait.
#[tokio::test(start_paused = true)]
async fn those_that_it_is_not_for_go_on_their_own() {
    let origin = Origin::new(|request, _| {
        let x = request.headers["x"].to_str().unwrap().to_owned();
        Ok(response(
            200,
            &[("cache-control", "max-age=60"), ("vary", "x")],
            x,
        ))
    });
    let origin = origin.shut();
    let cache = cached(&origin);
    let one = many(&cache, 5, &[("x", "1")]);
    let two = many(&cache, 5, &[("x", "2")]);
    settle().await;
    assert_eq!(origin.count(), 1);
    origin.open(100);
    let (one, two) = (one.join_all().await, two.join_all().await);
    assert!(one.iter().all(|answer| answer.starts_with("1 ")), "{one:?}");
    assert!(
        two.iter().all(|answer| answer == "2 fwd=uri-miss"),
        "{two:?}"
    );
    assert_eq!(origin.count(), 6);
}

/// The one that has begun it may leave.
#[tokio::test(start_paused = true)]
async fn the_first_may_leave() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello").shut();
    let cache = cached(&origin);
    let mut first = many(&cache, 1, &[]);
    settle().await;
    let others = many(&cache, 3, &[]);
    settle().await;
    first.shutdown().await;
    settle().await;
    origin.open(1);
    assert_eq!(others.join_all().await.len(), 3);
    assert_eq!(origin.count(), 1);
}

/// When all have left, the request is cancelled, and the next one begins anew.
#[tokio::test(start_paused = true)]
async fn when_all_leave_the_request_is_cancelled() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached(&origin);
    let first = cache.open(get("/", &[])).await.unwrap();
    let second = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap()[0].clone();
    push(&sender, "one");
    settle().await;
    drop(first);
    settle().await;
    assert!(push(&sender, "two"), "the second one reads");
    drop(second);
    settle().await;
    assert!(!push(&sender, "three"), "nobody reads");
    assert_eq!(
        (
            cache.handle.counts().stored,
            cache.handle.counts().bytes_in_flight
        ),
        (0, 0)
    );
    cache.open(get("/", &[])).await.unwrap();
    assert_eq!(origin.count(), 2);
}

/// The same before the head has come.
#[tokio::test(start_paused = true)]
async fn when_all_leave_before_the_head_the_request_is_cancelled() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello").shut();
    let cache = cached(&origin);
    let mut requests = many(&cache, 3, &[]);
    settle().await;
    requests.shutdown().await;
    settle().await;
    origin.open(1);
    settle().await;
    assert_eq!(cache.handle.counts().stored, 0);
    assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(origin.count(), 2);
}

/// By a setting, a response is fetched to its end although nobody reads it.
#[tokio::test(start_paused = true)]
async fn an_abandoned_response_may_be_fetched_to_its_end() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached_with(&origin, CacheLayer::in_memory(1 << 20).fetch_abandoned());
    let first = cache.open(get("/", &[])).await.unwrap();
    drop(first);
    settle().await;
    let sender = senders.lock().unwrap().pop().unwrap();
    assert!(push(&sender, "hello"));
    drop(sender);
    settle().await;
    let hit = cache.get("/").await;
    assert_eq!((hit.text.as_str(), hit.cache_status()), ("hello", "hit"));
}

/// The error is that of the one who has begun it. The others ask for themselves.
#[tokio::test(start_paused = true)]
async fn an_error_is_not_shared() {
    let origin = Origin::in_turn(vec![|| Err("broken".into()), || {
        Ok(response(200, &[("cache-control", "max-age=60")], "hello"))
    }]);
    let origin = origin.shut();
    let cache = cached(&origin);
    let first = tokio::spawn({
        let cache = cache.clone();
        async move { cache.open(get("/", &[])).await.map(drop) }
    });
    settle().await;
    let others = many(&cache, 3, &[]);
    settle().await;
    origin.open(100);
    assert_eq!(first.await.unwrap().unwrap_err().to_string(), "broken");
    assert_eq!(others.join_all().await, ["hello fwd=uri-miss"; 3]);
}

/// A service that panics is an error of the server, and not a request without an end.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_service_is_a_500() {
    let origin = Origin::new(|_, _| panic!("of the test"));
    let cache = cached(&origin);
    let answers = many(&cache, 1, &[]);
    settle().await;
    let answers = tokio::time::timeout(Duration::from_secs(1), answers.join_all()).await;
    assert_eq!(answers.unwrap(), [" "]);
}

/// Validations of one response are one request, too.
#[tokio::test(start_paused = true)]
async fn validations_at_once_are_one_request() {
    let origin = Origin::new(|request, _| {
        let fields = [("cache-control", "max-age=1"), ("etag", "\"a\"")];
        Ok(match request.headers.contains_key("if-none-match") {
            true => response(304, &fields, ""),
            false => response(200, &fields, "hello"),
        })
    });
    let cache = cached(&origin);
    cache.get("/").await;
    pass(2).await;
    origin.gate_shut();
    let requests = many(&cache, 10, &[]);
    settle().await;
    assert_eq!(origin.count(), 2);
    origin.open(1);
    let answers = requests.join_all().await;
    assert!(
        answers.iter().all(|answer| answer.starts_with("hello ")),
        "{answers:?}"
    );
    assert_eq!((origin.count(), cache.handle.counts().validated), (2, 1));
}

/// RFC 9111 4 and 5.2.2.4: what has to be validated for each request is for the one that has asked.
#[tokio::test(start_paused = true)]
async fn what_needs_validation_is_asked_for_by_each() {
    for directives in ["no-cache", "max-age=0", "max-age=60, no-cache"] {
        let origin = Origin::new(move |request, _| {
            let fields = [("cache-control", directives), ("etag", "\"a\"")];
            let conditional = request.headers.contains_key("if-none-match");
            Ok(response(
                if conditional { 304 } else { 200 },
                &fields,
                "hello",
            ))
        });
        let origin = origin.shut();
        let cache = cached(&origin);
        let requests = many(&cache, 5, &[]);
        settle().await;
        assert_eq!(origin.count(), 1, "nothing is known yet");
        origin.open(5);
        requests.join_all().await;
        assert_eq!(origin.count(), 5, "{directives}");
        let requests = many(&cache, 5, &[]);
        settle().await;
        assert_eq!(origin.count(), 10, "{directives}: no one waits");
        origin.open(5);
        let answers = requests.join_all().await;
        let expected = "hello fwd=stale; fwd-status=304; stored";
        let expected = if directives.contains("60") {
            expected.replace("stale", "request")
        } else {
            expected.to_owned()
        };
        assert!(
            answers.iter().all(|answer| *answer == expected),
            "{answers:?}"
        );
    }
}

/// A response that takes longer than it is fresh is not for those who come later.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_stale_before_its_end_is_not_joined() {
    let (origin, _senders) = streaming(&[("cache-control", "max-age=10")]);
    let cache = cached(&origin);
    let _first = cache.open(get("/", &[])).await.unwrap();
    pass(9).await;
    let second = cache.open(get("/", &[])).await.unwrap();
    assert_eq!(origin.count(), 1);
    // RFC 9111 4.
    assert_eq!(second.headers()["age"], "9");
    pass(1).await;
    let _third = cache.open(get("/", &[])).await.unwrap();
    assert_eq!(origin.count(), 2);
}

/// RFC 9111 5.2.1: what a request asks for holds for a response that came before it, also if that is still arriving.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_too_old_for_a_request_is_not_joined() {
    for directive in ["no-cache", "max-age=4", "min-fresh=6"] {
        let (origin, _senders) = streaming(&[("cache-control", "max-age=10")]);
        let origin = origin.shut();
        let cache = cached(&origin);
        let fields = [("cache-control", directive)];
        let open = |fields| {
            let (cache, request) = (cache.clone(), get("/", fields));
            tokio::spawn(async move { cache.open(request).await.unwrap() })
        };
        let first = open(&[]);
        settle().await;
        let second = open(&fields);
        settle().await;
        origin.open(1);
        let _bodies = (first.await.unwrap(), second.await.unwrap());
        assert_eq!(
            origin.count(),
            1,
            "{directive}: it has come after the request"
        );
        pass(5).await;
        origin.open(1);
        let _third = open(&fields).await.unwrap();
        assert_eq!(origin.count(), 2, "{directive}");
    }
}

/// A client that has the response already is told so, and the response is stored although nobody reads it.
#[tokio::test(start_paused = true)]
async fn a_304_to_the_first_does_not_end_the_request() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]);
    let cache = cached(&origin);
    let first = cache.get_with("/", &[("if-none-match", "\"a\"")]).await;
    assert_eq!(first.status, 304);
    settle().await;
    let sender = senders.lock().unwrap().pop().unwrap();
    assert!(push(&sender, "hello"));
    drop(sender);
    settle().await;
    assert_eq!(cache.get("/").await.text, "hello");
    assert_eq!(origin.count(), 1);
}
