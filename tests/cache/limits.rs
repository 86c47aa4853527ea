//! Memory is bounded, whatever clients and the origin do.

use axum_upstream::cache::CacheLayer;

use crate::support::{Origin, cached_with, get, push, read, response, settle, streaming};

/// Heads, keys and content count, and the least used go.
#[tokio::test(start_paused = true)]
async fn the_store_stays_within_its_bytes() {
    let origin = Origin::new(|_, _| {
        let large = "x".repeat(1000);
        let fields = [("cache-control", "max-age=60"), ("a", &*large), ("b", "1")];
        Ok(response(200, &fields, "y".repeat(1000)))
    });
    let max = 1 << 20;
    let cache = cached_with(&origin, CacheLayer::in_memory(max));
    for n in 0..2000 {
        cache.get(&format!("/{n}?{}", "z".repeat(500))).await;
    }
    let counts = cache.handle.counts();
    assert_eq!(counts.stored, 2000);
    assert!(counts.bytes <= max * 3 / 4, "{counts:?}");
    // Each has 2500 bytes of its own.
    let least = counts.entries as u64 * 2500;
    assert!(
        (200..300).contains(&counts.entries) && counts.bytes > least,
        "{counts:?}"
    );
}

/// A response that says it is too large is not stored, nor does anything wait for it.
#[tokio::test(start_paused = true)]
async fn what_says_that_it_is_too_large_is_not_stored() {
    let origin = Origin::says(
        &[("cache-control", "max-age=60"), ("content-length", "5")],
        "hello",
    );
    let cache = cached_with(
        &origin,
        CacheLayer::in_memory(1 << 20).max_response_bytes(4),
    );
    for _ in 0..2 {
        assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss");
    }
}

/// Without room for one more response in flight, it is passed on.
#[tokio::test(start_paused = true)]
async fn responses_in_flight_are_bounded_together() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached_with(
        &origin,
        CacheLayer::in_memory(1 << 20).max_bytes_in_flight(150),
    );
    let mut bodies = Vec::new();
    for n in 0..4 {
        bodies.push(cache.open(get(&format!("/{n}"), &[])).await.unwrap());
        push(&senders.lock().unwrap()[n], "hello");
        settle().await;
        assert!(cache.handle.counts().bytes_in_flight <= 150);
    }
    senders.lock().unwrap().clear();
    for body in bodies {
        assert_eq!(read(body).await.unwrap().text, "hello");
    }
    let counts = cache.handle.counts();
    assert_eq!((counts.stored, counts.bytes_in_flight), (2, 0));
}

/// A key that is too long is none.
#[tokio::test(start_paused = true)]
async fn long_urls_go_by() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached_with(&origin, CacheLayer::in_memory(1 << 20));
    let long = format!("/{}", "x".repeat(8192));
    for _ in 0..2 {
        assert_eq!(cache.get(&long).await.cache_status(), "fwd=bypass");
    }
}

/// Many small pieces are one when they are stored.
#[tokio::test(start_paused = true)]
async fn small_pieces_are_joined() {
    let (origin, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached_with(&origin, CacheLayer::in_memory(1 << 20));
    let response = cache.open(get("/", &[])).await.unwrap();
    let sender = senders.lock().unwrap().pop().unwrap();
    for _ in 0..1000 {
        push(&sender, "x");
    }
    drop(sender);
    read(response).await.unwrap();
    let bytes = cache.handle.counts().bytes;
    assert!((1000..3000).contains(&bytes), "{bytes}");
    assert_eq!(cache.get("/").await.text.len(), 1000);
}

/// Variants that are too large together are kept as far as there is room.
#[tokio::test(start_paused = true)]
async fn large_variants_leave_room_for_each_other() {
    let origin = Origin::new(|_, _| {
        Ok(response(
            200,
            &[("cache-control", "max-age=60"), ("vary", "x")],
            "y".repeat(100_000),
        ))
    });
    let cache = cached_with(&origin, CacheLayer::in_memory(1 << 20));
    for x in ["1", "2", "3", "4", "5", "6", "7", "8", "9"] {
        cache.get_with("/", &[("x", x)]).await;
    }
    let kept = |x| {
        let cache = cache.clone();
        async move {
            let only = [("x", x), ("cache-control", "only-if-cached")];
            cache.get_with("/", &only).await.status == 200
        }
    };
    assert!(kept("9").await && kept("8").await && !kept("1").await);
}

/// Random URLs, sizes about the limits, and readers that stand still: what is stored and what is in flight stay within
/// the bytes of the cache, and nothing is left in flight when the readers have gone.
#[tokio::test(start_paused = true)]
async fn all_of_it_stays_within_its_bytes() {
    use http_body_util::BodyExt;

    const MAX: u64 = 1 << 20;
    const LARGEST: usize = 100_000;
    let random = std::sync::Mutex::new(fastrand::Rng::with_seed(1));
    let origin = Origin::new(move |_, _| {
        let mut random = random.lock().unwrap();
        let near = LARGEST - 2 + random.usize(..4);
        let size = [near, random.usize(..LARGEST), 10][random.usize(..3)];
        let (sender, body) = crate::support::streamed();
        let text = "x".repeat(size);
        let (one, two) = text.split_at(size / 2);
        for piece in [one, two] {
            let frame = http_body::Frame::data(bytes::Bytes::copy_from_slice(piece.as_bytes()));
            sender.send(Ok(frame)).unwrap();
        }
        Ok(response(200, &[("cache-control", "max-age=60")], body))
    });
    let layer = CacheLayer::in_memory(MAX).max_response_bytes(LARGEST as u64);
    let cache = cached_with(&origin, layer);
    let mut random = fastrand::Rng::with_seed(2);
    let mut standing = std::collections::VecDeque::new();
    let mut fullest = 0;
    for n in 0..1500 {
        let path = format!("/{}?{}", random.u32(..400), "z".repeat(random.usize(..300)));
        let mut response = cache.open(get(&path, &[])).await.unwrap();
        if random.bool() {
            response.body_mut().frame().await.unwrap().unwrap();
        }
        standing.push_back(response);
        if standing.len() > 20 {
            let left = standing.swap_remove_back(random.usize(..20)).unwrap();
            if random.bool() {
                // One that stood still for long may have fallen behind.
                let _ = read(left).await;
            }
        }
        let counts = cache.handle.counts();
        let all = counts.bytes + counts.bytes_in_flight as u64;
        assert!(counts.bytes <= MAX * 3 / 4 && all <= MAX, "{n}: {counts:?}");
        fullest = fullest.max(all);
        origin.forget();
    }
    assert!(fullest > MAX * 3 / 4, "{fullest}");
    drop(standing);
    settle().await;
    let counts = cache.handle.counts();
    assert_eq!(counts.bytes_in_flight, 0);
    assert!(counts.stored > 500, "{counts:?}");
}
