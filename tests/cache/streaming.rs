//! Responses while they arrive.

use axum_upstream::{
    Body,
    cache::{Cache, CacheBody, CacheFuture, CacheHandle, CacheLayer},
};
use bytes::Bytes;
use futures_util::StreamExt;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, StreamBody};
use tokio::task::JoinSet;

use crate::support::{Origin, cached, cached_with, get, push, read, response, settle, streaming};

/// A response that breaks is never stored, and breaks for all who read it.
#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_breaks_for_all() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached(&origin);
    let first = cache.open(get("/", &[])).await.unwrap();
    let second = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    push(&sender, "one");
    sender.send(Err("broken".into())).unwrap();
    assert!(read(first).await.is_err() && read(second).await.is_err());
    assert_eq!(
        (
            cache.handle.counts().stored,
            cache.handle.counts().bytes_in_flight
        ),
        (0, 0)
    );
}

/// RFC 9112 8: a response that is shorter, or longer, than it says is not complete.
#[tokio::test(start_paused = true)]
async fn the_length_has_to_be_right() {
    for length in ["4", "2"] {
        let origin = Origin::new(move |_, _| {
            let fields = [("cache-control", "max-age=60"), ("content-length", length)];
            let (sender, body) = crate::support::streamed();
            push(&sender, "one");
            Ok(response(200, &fields, body))
        });
        let cache = cached(&origin);
        assert!(
            read(cache.open(get("/", &[])).await.unwrap())
                .await
                .is_err(),
            "{length}"
        );
        settle().await;
        assert_eq!(cache.handle.counts().stored, 0, "{length}");
    }
}

/// The same without any content, and with trailers.
#[tokio::test(start_paused = true)]
async fn a_length_without_content_is_wrong() {
    for trailers in [false, true] {
        let origin = Origin::new(move |_, _| {
            let fields = [("cache-control", "max-age=60"), ("content-length", "4")];
            let (sender, body) = crate::support::streamed();
            if trailers {
                sender.send(Ok(Frame::trailers(HeaderMap::new()))).unwrap();
                return Ok(response(200, &fields, body));
            }
            Ok(response(200, &fields, Body::empty()))
        });
        let cache = cached(&origin);
        assert!(
            read(cache.open(get("/", &[])).await.unwrap())
                .await
                .is_err(),
            "{trailers}"
        );
        settle().await;
        assert_eq!(cache.handle.counts().stored, 0, "{trailers}");
    }
}

/// A server asks for no more once it has the length that was announced, and drops the body.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_the_end_has_read_everything() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60"), ("content-length", "3")]);
    let cache = cached(&origin);
    let mut first = cache.open(get("/", &[])).await.unwrap();
    assert_eq!(first.body().size_hint().exact(), Some(3));
    let sender = senders.lock().unwrap().pop().unwrap();
    push(&sender, "one");
    let frame = first.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one");
    assert!(first.body().is_end_stream());
    drop(first);
    settle().await;
    assert_eq!(cache.get("/").await.cache_status(), "hit");
}

/// Trailers that the head has announced come even behind a content whose length it has announced, and are stored.
#[tokio::test(start_paused = true)]
async fn trailers_come_behind_a_content_of_known_length() {
    let fields = &[
        ("cache-control", "max-age=60"),
        ("content-length", "3"),
        ("trailer", "x-sum"),
    ];
    let (origin, senders) = streaming(fields);
    let cache = cached(&origin);
    let first = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    push(&sender, "one");
    settle().await;
    let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), "1".parse().unwrap())]);
    sender.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    let first = first.into_body().collect().await.unwrap();
    assert_eq!(first.trailers(), Some(&trailers));
    settle().await;
    let hit = cache.open(get("/", &[])).await.unwrap().into_body();
    assert_eq!(hit.collect().await.unwrap().trailers(), Some(&trailers));
    assert_eq!(origin.count(), 1);
}

/// A slow client holds nobody up, and gets everything.
#[tokio::test(start_paused = true)]
async fn a_slow_client_holds_nobody_up() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached(&origin);
    let slow = cache.open(get("/", &[])).await.unwrap();
    let fast = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    for _ in 0..100 {
        push(&sender, "x");
    }
    drop(sender);
    assert_eq!(read(fast).await.unwrap().text.len(), 100);
    assert_eq!(cache.get("/").await.cache_status(), "hit");
    assert_eq!(read(slow).await.unwrap().text.len(), 100);
}

/// Trailers are kept apart from the head (RFC 9111 3.1), and come behind the content.
#[tokio::test(start_paused = true)]
async fn trailers_are_kept() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached(&origin);
    let first = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    push(&sender, "one");
    let trailers = HeaderMap::from_iter([("x".parse().unwrap(), "1".parse().unwrap())]);
    sender.send(Ok(Frame::trailers(trailers.clone()))).unwrap();
    let first = first.into_body().collect().await.unwrap();
    assert_eq!(first.trailers(), Some(&trailers));
    let second = cache.open(get("/", &[])).await.unwrap();
    assert!(!second.headers().contains_key("x"));
    let second = second.into_body().collect().await.unwrap();
    assert_eq!(second.trailers(), Some(&trailers));
    let part = cache
        .open(get("/", &[("range", "bytes=0-0")]))
        .await
        .unwrap();
    assert_eq!(part.into_body().collect().await.unwrap().trailers(), None);
}

/// An empty response is complete at once.
#[tokio::test(start_paused = true)]
async fn empty_responses_are_stored() {
    let origin = Origin::new(|_, _| {
        Ok(response(
            204,
            &[("cache-control", "max-age=60")],
            Body::empty(),
        ))
    });
    let cache = cached(&origin);
    cache.get("/").await;
    let hit = cache.get("/").await;
    assert_eq!(
        (hit.status, hit.cache_status(), hit.text.as_str()),
        (204, "hit", "")
    );
}

/// A response of unknown length that becomes too large is passed on from there, and reaches its end.
#[tokio::test(start_paused = true)]
async fn what_turns_out_too_large_is_passed_on() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached_with(
        &origin,
        CacheLayer::in_memory(1 << 20).max_response_bytes(10),
    );
    let first = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    for _ in 0..100 {
        push(&sender, "12345");
    }
    drop(sender);
    assert_eq!(read(first).await.unwrap().text.len(), 500);
    assert_eq!(
        (
            cache.handle.counts().stored,
            cache.handle.counts().bytes_in_flight
        ),
        (0, 0)
    );
}

/// Then the fastest client sets the pace, what is kept is bounded, and a client that falls behind gets an error: never
/// a response that ends as if it was complete.
#[tokio::test(start_paused = true)]
async fn what_is_too_large_goes_at_the_pace_of_the_fastest() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached_with(
        &origin,
        CacheLayer::in_memory(1 << 20).max_response_bytes(10),
    );
    let mut fast = cache.open(get("/", &[])).await.unwrap();
    let slow = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    for _ in 0..100 {
        push(&sender, "12345");
    }
    settle().await;
    let in_flight = cache.handle.counts().bytes_in_flight;
    assert!(in_flight < 1000, "{in_flight}");
    for _ in 0..100 {
        let frame = fast.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), Bytes::from_static(b"12345"));
    }
    drop(sender);
    assert!(fast.body_mut().frame().await.is_none());
    let error = read(slow).await.unwrap_err();
    assert!(error.to_string().contains("too slow"), "{error}");
}

/// The slow one sets the pace once it is the only one left.
#[tokio::test(start_paused = true)]
async fn the_pace_is_that_of_those_who_are_left() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached_with(
        &origin,
        CacheLayer::in_memory(1 << 20).max_response_bytes(10),
    );
    let fast = cache.open(get("/", &[])).await.unwrap();
    let slow = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    for _ in 0..100 {
        push(&sender, "12345");
    }
    drop(sender);
    settle().await;
    drop(fast);
    assert_eq!(read(slow).await.unwrap().text.len(), 500);
}

/// Those who come once the beginning is gone ask for themselves.
#[tokio::test(start_paused = true)]
async fn nobody_joins_what_is_too_large() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached_with(
        &origin,
        CacheLayer::in_memory(1 << 20).max_response_bytes(4),
    );
    let _first = cache.open(get("/", &[])).await.unwrap();
    push(&senders.lock().unwrap()[0], "12345");
    settle().await;
    let second = cache.open(get("/", &[])).await.unwrap();
    assert_eq!(origin.count(), 2);
    drop(senders.lock().unwrap().pop());
    assert_eq!(read(second).await.unwrap().text, "");
}

/// Clients that come and go at random, on several threads: those who stay get everything, and nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_leaves_nothing_behind() {
    const PIECES: usize = 20;
    // Some responses are too large, some break, and some have no length.
    let origin = Origin::new(|request, _| {
        let kind = request.uri.path().as_bytes()[1];
        let frames = (0..PIECES).map(move |nth| match (kind, nth) {
            (b'b', 15) => Err(axum_upstream::BoxError::from("broken")),
            _ => Ok(Frame::data(Bytes::from_static(b"12345"))),
        });
        let frames = futures_util::stream::iter(frames).then(|frame| async {
            tokio::task::yield_now().await;
            frame
        });
        let length = (PIECES * 5).to_string();
        let mut fields = vec![("cache-control", "max-age=60")];
        fields.extend((kind == b'c').then_some(("content-length", &*length)));
        Ok(response(200, &fields, Body::new(StreamBody::new(frames))))
    });
    let builder = CacheLayer::in_memory(1 << 20).max_response_bytes(60);
    let small = cached_with(&origin, builder);
    let cache = cached(&origin);
    let mut clients = JoinSet::new();
    for seed in 0..2000_usize {
        let cache = if seed % 3 == 0 {
            small.clone()
        } else {
            cache.clone()
        };
        clients.spawn(async move {
            let path = format!("/{}{}", ["a", "b", "c"][seed % 5 % 3], seed / 200);
            let mut response = cache.open(get(&path, &[])).await.unwrap();
            let mut left = if seed % 7 == 0 { seed % 11 } else { usize::MAX };
            let mut text = 0;
            while left > 0 {
                match response.body_mut().frame().await {
                    None => return assert_eq!(text, PIECES * 5, "{path}"),
                    // It is broken, or this client is too slow for one that is too large.
                    Some(Err(_)) => return,
                    Some(Ok(frame)) => text += frame.into_data().unwrap().len(),
                }
                left -= 1;
            }
        });
    }
    // A panic of a client is one of this test.
    clients.join_all().await;
    for cache in [small, cache] {
        while cache.handle.counts().bytes_in_flight > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// The types are those that servers ask for.
#[test]
fn traits() {
    fn sent<T: Send + Sync>() {}
    fn cloned<T: Clone>() {}
    sent::<CacheLayer>();
    sent::<CacheHandle>();
    sent::<Cache<Origin>>();
    fn moved<T: Send + Unpin>() {}
    moved::<CacheBody<Body>>();
    moved::<CacheFuture<Body, std::convert::Infallible>>();
    cloned::<(CacheLayer, CacheHandle, Cache<Origin>)>();
}
