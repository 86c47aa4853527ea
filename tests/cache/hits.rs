//! What is answered from the store, and how.

use axum_upstream::{Body, cache::CacheLayer};
use http::Request;
use http_body::Body as _;

use crate::support::{NOW, Origin, YESTERDAY, cached, cached_with, get, pass, request};

/// RFC 9111 4: `Age`, and everything else as it was.
#[tokio::test(start_paused = true)]
async fn a_fresh_response_is_used_with_its_age() {
    let origin = Origin::says(
        &[("cache-control", "max-age=60"), ("x", "1"), ("x", "2")],
        "hello",
    );
    let cache = cached(&origin);
    let first = cache.get("/").await;
    assert_eq!((first.status, first.text.as_str()), (200, "hello"));
    assert_eq!(first.cache_status(), "fwd=uri-miss; stored");
    pass(59).await;
    let second = cache.get("/").await;
    assert_eq!((second.text.as_str(), second.field("age")), ("hello", "59"));
    assert_eq!(second.field("cache-status"), "axum-upstream; hit; ttl=1");
    assert_eq!(second.headers.get_all("x").iter().count(), 2);
    assert_eq!(second.field("date"), NOW, "RFC 9110 6.6.1");
    assert_eq!(origin.count(), 1);
    pass(1).await;
    cache.get("/").await;
    assert_eq!(origin.count(), 2);
}

/// The length is known from the store, whatever the origin has said.
#[tokio::test(start_paused = true)]
async fn a_stored_body_has_a_length() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    let response = cache.open(get("/", &[])).await.unwrap();
    assert_eq!(response.body().size_hint().exact(), Some(5));
    assert!(!response.body().is_end_stream());
}

/// RFC 9110 9.3.2: a HEAD has the fields of a GET, and no content.
#[tokio::test(start_paused = true)]
async fn a_head_is_answered_by_a_stored_get() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    let head = cache.send(request("HEAD", "/", &[], Body::empty())).await;
    assert_eq!(
        (head.text.as_str(), head.field("content-length")),
        ("", "5")
    );
    assert_eq!((head.cache_status(), origin.count()), ("hit", 1));
}

/// RFC 9111 4.3.2.
#[tokio::test(start_paused = true)]
async fn conditions_are_answered_from_the_store() {
    let fields = &[
        ("cache-control", "max-age=60"),
        ("etag", "\"a\""),
        ("last-modified", YESTERDAY),
        ("content-type", "text/plain"),
    ];
    let origin = Origin::says(fields, "hello");
    let cache = cached(&origin);
    // The first one, too: what is stored is complete, and the client gets what it has asked for.
    let first = cache.get_with("/", &[("if-none-match", "\"a\"")]).await;
    assert_eq!((first.status, first.text.as_str()), (304, ""));
    assert!(!origin.last().contains_key("if-none-match"));
    for condition in [("if-none-match", "W/\"a\""), ("if-modified-since", NOW)] {
        let answer = cache.get_with("/", &[condition]).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (304, ""),
            "{condition:?}"
        );
        assert_eq!(
            (answer.field("etag"), answer.field("content-type")),
            ("\"a\"", "")
        );
    }
    let changed = cache.get_with("/", &[("if-none-match", "\"b\"")]).await;
    assert_eq!(
        (changed.status, changed.text.as_str(), origin.count()),
        (200, "hello", 1)
    );
}

/// RFC 9110 14 and 15.5.17.
#[tokio::test(start_paused = true)]
async fn ranges_are_parts_of_a_stored_response() {
    let origin = Origin::says(
        &[("cache-control", "max-age=60"), ("etag", "\"a\"")],
        "0123456789",
    );
    let cache = cached(&origin);
    cache.get("/").await;
    let part = cache.get_with("/", &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status, part.text.as_str()), (206, "234"));
    assert_eq!(part.field("content-range"), "bytes 2-4/10");
    assert_eq!(part.field("content-length"), "3");
    let none = cache.get_with("/", &[("range", "bytes=10-")]).await;
    assert_eq!(
        (none.status, none.field("content-range")),
        (416, "bytes */10")
    );
    let changed = cache
        .get_with("/", &[("range", "bytes=2-4"), ("if-range", "\"b\"")])
        .await;
    assert_eq!((changed.status, changed.text.as_str()), (200, "0123456789"));
    let several = cache.get_with("/", &[("range", "bytes=0-1,3-4")]).await;
    assert_eq!((several.status, origin.count()), (200, 1));
}

/// A range of what is not stored goes to the origin as it is.
#[tokio::test(start_paused = true)]
async fn a_range_on_a_miss_is_forwarded() {
    let origin = Origin::new(|_, _| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("content-range", "bytes 0-1/9"),
        ];
        Ok(crate::support::response(206, &fields, "01"))
    });
    let cache = cached(&origin);
    for _ in 0..2 {
        let part = cache.get_with("/", &[("range", "bytes=0-1")]).await;
        assert_eq!((part.status, part.cache_status()), (206, "fwd=uri-miss"));
    }
    assert_eq!(
        (origin.last()["range"].to_str().unwrap(), origin.count()),
        ("bytes=0-1", 2)
    );
}

/// RFC 9111 5.2.1.7.
#[tokio::test(start_paused = true)]
async fn only_if_cached_asks_nobody() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached(&origin);
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(cache.get_with("/", &only).await.status, 504);
    assert_eq!(origin.count(), 0);
    cache.get("/").await;
    assert_eq!(cache.get_with("/", &only).await.status, 200);
}

/// RFC 9111 5.2.1, and the setting that has the requests of others not count.
#[tokio::test(start_paused = true)]
async fn directives_of_requests() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    let again = cache.get_with("/", &[("cache-control", "no-cache")]).await;
    assert_eq!(
        (again.cache_status(), origin.count()),
        ("fwd=request; stored", 2)
    );
    cache.get_with("/b", &[("cache-control", "no-store")]).await;
    assert_eq!(cache.get("/b").await.cache_status(), "fwd=uri-miss; stored");

    let deaf = cached_with(
        &origin,
        CacheLayer::in_memory(1 << 20).ignore_request_directives(),
    );
    deaf.get("/").await;
    let hit = deaf.get_with("/", &[("cache-control", "no-cache")]).await;
    assert_eq!(hit.cache_status(), "hit");
}

/// RFC 9111 4.1: one response for each value, and no more of them than are allowed.
#[tokio::test(start_paused = true)]
async fn variants_are_told_apart_and_bounded() {
    let origin = Origin::new(|request, _| {
        let language = request.headers["accept-language"]
            .to_str()
            .unwrap()
            .to_owned();
        let fields = [
            ("cache-control", "max-age=60"),
            ("vary", "x"),
            ("vary", "Accept-Language"),
        ];
        Ok(crate::support::response(200, &fields, language))
    });
    let cache = cached_with(&origin, CacheLayer::in_memory(1 << 20).max_variants(2));
    let get = |language: &'static str| {
        let cache = cache.clone();
        async move {
            let read = cache.get_with("/", &[("accept-language", language)]).await;
            assert_eq!(read.text, language);
            read.cache_status().to_owned()
        }
    };
    assert_eq!(get("de").await, "fwd=uri-miss; stored");
    assert_eq!(get("en").await, "fwd=vary-miss; stored");
    assert_eq!(
        (get("de").await, get("en").await),
        ("hit".into(), "hit".into())
    );
    assert_eq!(get("fr").await, "fwd=vary-miss; stored");
    assert_eq!(
        get("de").await,
        "fwd=vary-miss; stored",
        "the oldest one is gone"
    );
    assert_eq!(cache.handle.counts().entries, 1);
}

/// A key may have more to it, or be none at all.
#[tokio::test(start_paused = true)]
async fn the_application_may_add_to_keys() {
    let origin = Origin::new(|request, _| {
        let tenant = request
            .headers
            .get("tenant")
            .map_or("", |t| t.to_str().unwrap())
            .to_owned();
        Ok(crate::support::response(
            200,
            &[("cache-control", "max-age=60")],
            tenant,
        ))
    });
    let builder = CacheLayer::in_memory(1 << 20)
        .key(|request, key| Some(key.with(request.headers.get("tenant")?.to_str().ok()?)));
    let cache = cached_with(&origin, builder);
    for tenant in ["a", "b", "a"] {
        assert_eq!(
            cache.get_with("/", &[("tenant", tenant)]).await.text,
            tenant
        );
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(cache.get("/").await.cache_status(), "fwd=bypass");
    assert_eq!(cache.handle.purge_url("http://a/").await.unwrap(), 2);
}

/// A WebSocket, and what only the origin can decide, go by.
#[tokio::test(start_paused = true)]
async fn upgrades_and_conditions_for_the_origin_go_by() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    for field in [
        ("upgrade", "websocket"),
        ("if-match", "\"a\""),
        ("if-unmodified-since", NOW),
    ] {
        let passed = cache.get_with("/", &[field]).await;
        assert_eq!(passed.cache_status(), "fwd=bypass", "{field:?}");
    }
    assert_eq!(origin.count(), 4);
}

/// A store that fails is a miss, and is counted.
#[tokio::test(start_paused = true)]
async fn a_broken_store_is_a_miss() {
    use std::sync::Arc;

    use axum_upstream::{
        BoxError,
        cache::{CacheKey, Purge, Store, StoreUsage, StoredResponse, StoredVariants},
    };

    struct Broken;

    impl Store for Broken {
        async fn get(&self, _: &CacheKey) -> Result<Option<StoredVariants>, BoxError> {
            Err("get".into())
        }

        async fn put(
            &self,
            _: &CacheKey,
            _: Arc<StoredResponse>,
            _: usize,
        ) -> Result<(), BoxError> {
            Err("put".into())
        }

        async fn remove(&self, _: &CacheKey) -> Result<(), BoxError> {
            Err("remove".into())
        }

        async fn purge(&self, _: &Purge) -> Result<usize, BoxError> {
            Err("purge".into())
        }

        fn usage(&self) -> StoreUsage {
            StoreUsage::default()
        }
    }

    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached_with(&origin, CacheLayer::builder(Broken));
    for _ in 0..2 {
        assert_eq!(cache.get("/").await.text, "hello");
    }
    assert!(cache.handle.clear().await.is_err());
    let counts = cache.handle.counts();
    assert_eq!(
        (counts.store_errors, counts.misses, counts.stored),
        (5, 2, 0)
    );
}

/// A store may keep bytes: a response survives being taken apart.
#[tokio::test(start_paused = true)]
async fn a_store_may_take_responses_apart() {
    use std::{
        collections::HashMap,
        sync::{Arc, Mutex},
    };

    use axum_upstream::{
        BoxError,
        cache::{CacheKey, Purge, Store, StoreUsage, StoredParts, StoredResponse, StoredVariants},
    };

    #[derive(Default)]
    struct Parted(Mutex<HashMap<CacheKey, StoredParts>>);

    impl Store for Parted {
        async fn get(&self, key: &CacheKey) -> Result<Option<StoredVariants>, BoxError> {
            let parts = self.0.lock().unwrap().get(key).cloned();
            Ok(parts.map(|parts| StoredVariants::one(Arc::new(StoredResponse::from_parts(parts)))))
        }

        async fn put(
            &self,
            key: &CacheKey,
            response: Arc<StoredResponse>,
            _: usize,
        ) -> Result<(), BoxError> {
            self.0
                .lock()
                .unwrap()
                .insert(key.clone(), response.to_parts());
            Ok(())
        }

        async fn remove(&self, key: &CacheKey) -> Result<(), BoxError> {
            self.0.lock().unwrap().remove(key);
            Ok(())
        }

        async fn purge(&self, _: &Purge) -> Result<usize, BoxError> {
            self.0.lock().unwrap().clear();
            Ok(0)
        }

        fn usage(&self) -> StoreUsage {
            StoreUsage::new(self.0.lock().unwrap().len(), 0)
        }
    }

    let origin = Origin::says(&[("cache-control", "max-age=60"), ("vary", "x")], "hello");
    let cache = cached_with(&origin, CacheLayer::builder(Parted::default()));
    cache.get_with("/", &[("x", "1,2")]).await;
    pass(7).await;
    let hit = cache.get_with("/", &[("x", "1"), ("x", "2")]).await;
    assert_eq!(
        (hit.text.as_str(), hit.field("age"), hit.cache_status()),
        ("hello", "7", "hit")
    );
    assert_eq!(
        cache.get_with("/", &[("x", "1")]).await.cache_status(),
        "fwd=vary-miss; stored"
    );
}

/// Nothing about the request is read from the target's form.
#[tokio::test(start_paused = true)]
async fn absolute_and_origin_form_are_one_resource() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached(&origin);
    cache.get("/x?y").await;
    let absolute = Request::get("http://a/x?y").body(Body::empty()).unwrap();
    assert_eq!(cache.send(absolute).await.cache_status(), "hit");
}

/// RFC 9111 4: of several that fit, the most recent one by `Date`, whatever came last.
#[tokio::test(start_paused = true)]
async fn the_most_recent_response_is_used() {
    let origin = Origin::in_turn(vec![
        || {
            Ok(crate::support::response(
                200,
                &[
                    ("cache-control", "max-age=600000"),
                    ("vary", "x"),
                    ("date", NOW),
                ],
                "new",
            ))
        },
        || {
            Ok(crate::support::response(
                200,
                &[("cache-control", "max-age=600000"), ("date", YESTERDAY)],
                "old",
            ))
        },
    ]);
    let cache = cached(&origin);
    cache.get_with("/", &[("x", "1")]).await;
    assert_eq!(cache.get_with("/", &[("x", "2")]).await.text, "old");
    assert_eq!(cache.get_with("/", &[("x", "1")]).await.text, "new");
    assert_eq!(
        cache.get_with("/", &[("x", "2")]).await.cache_status(),
        "hit"
    );
}
