//! What is removed from the store, and when.

use axum_upstream::Body;

use crate::support::{Origin, TestCache, cached, get, request, response, settle, streaming};

/// An origin whose GETs are fresh, and whose other requests are answered like this.
fn changing(status: u16, fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |request, _| {
        Ok(match request.method.as_str() {
            "GET" => response(
                200,
                &[("cache-control", "max-age=60"), ("cache-groups", "\"g\"")],
                "hello",
            ),
            _ => response(status, fields, ""),
        })
    })
}

async fn send(cache: &TestCache, method: &str, path: &str) {
    let answer = cache
        .send(request(method, path, &[], Body::from("x")))
        .await;
    assert_eq!(answer.cache_status(), "fwd=method");
}

async fn is_hit(cache: &TestCache, path: &str) -> bool {
    let request = request(
        "GET",
        path,
        &[("cache-control", "only-if-cached")],
        Body::empty(),
    );
    cache.send(request).await.status == 200
}

/// RFC 9111 4.4: the target URI, if the response is no error.
#[tokio::test(start_paused = true)]
async fn unsafe_methods_invalidate_their_target() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
        let cache = cached(&changing(204, &[]));
        cache.get("/x").await;
        cache.get("/y").await;
        send(&cache, method, "/x").await;
        assert!(
            !is_hit(&cache, "/x").await && is_hit(&cache, "/y").await,
            "{method}"
        );
    }
    for (method, status) in [("POST", 404), ("POST", 500), ("OPTIONS", 200)] {
        let cache = cached(&changing(status, &[]));
        cache.get("/x").await;
        send(&cache, method, "/x").await;
        assert!(is_hit(&cache, "/x").await, "{method} {status}");
    }
}

/// RFC 9111 4.4: `Location` and `Content-Location`, of the same origin only.
#[tokio::test(start_paused = true)]
async fn locations_are_invalidated() {
    let cache = cached(&changing(
        201,
        &[("location", "/y"), ("content-location", "http://a/z")],
    ));
    for path in ["/x", "/y", "/z"] {
        cache.get(path).await;
    }
    send(&cache, "POST", "/x").await;
    for path in ["/x", "/y", "/z"] {
        assert!(!is_hit(&cache, path).await, "{path}");
    }
    let cache = cached(&changing(201, &[("location", "http://b/y")]));
    cache.get("http://b/y").await;
    send(&cache, "POST", "/x").await;
    assert!(is_hit(&cache, "http://b/y").await);
}

/// RFC 9875 3: groups of the same origin.
#[tokio::test(start_paused = true)]
async fn groups_are_invalidated() {
    let cache = cached(&changing(
        200,
        &[("cache-group-invalidation", "\"f\", \"g\"")],
    ));
    cache.get("/y").await;
    cache.get("http://b/y").await;
    send(&cache, "POST", "/x").await;
    assert!(!is_hit(&cache, "/y").await && is_hit(&cache, "http://b/y").await);
}

/// RFC 9875 3: "MUST be ignored on responses to requests that have a safe method".
#[tokio::test(start_paused = true)]
async fn safe_methods_invalidate_no_group() {
    let fields = &[
        ("cache-control", "max-age=60"),
        ("cache-groups", "\"g\""),
        ("cache-group-invalidation", "\"g\""),
    ];
    let cache = cached(&Origin::says(fields, "hello"));
    cache.get("/y").await;
    cache.get("/x").await;
    assert!(is_hit(&cache, "/y").await);
}

/// A response that was asked for before something changed is not stored after it.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_not_stored() {
    let (streams, senders) = streaming(&[("cache-control", "max-age=60")]);
    let cache = cached(&streams);
    let first = cache.open(get("/x", &[])).await.unwrap();
    let post = request("POST", "/x", &[], Body::empty());
    let _post = cache.open(post).await.unwrap();
    // A request that comes now does not get what is older than the change.
    let second = cache.open(get("/x", &[])).await.unwrap();
    assert_eq!(streams.count(), 3);
    drop((std::mem::take(&mut *senders.lock().unwrap()), first));
    settle().await;
    drop(second);
    assert!(is_hit(&cache, "/x").await, "the second one is stored");
    assert_eq!(cache.handle.counts().stored, 1);
}

/// The application removes by URL, prefix and group, and everything.
#[tokio::test(start_paused = true)]
async fn purges() {
    let cache = cached(&changing(200, &[]));
    let all = ["/x", "/x?y", "/x/y", "/z"];
    let fill = || async {
        for path in all {
            cache.get(path).await;
        }
        assert_eq!(cache.handle.counts().entries, 4);
    };
    fill().await;
    assert_eq!(cache.handle.purge_url("http://a/x").await.unwrap(), 1);
    assert!(!is_hit(&cache, "/x").await && is_hit(&cache, "/x?y").await);
    assert_eq!(cache.handle.purge_prefix("http://a/x").await.unwrap(), 2);
    assert!(is_hit(&cache, "/z").await);
    fill().await;
    assert_eq!(cache.handle.purge_group("f").await.unwrap(), 0);
    assert_eq!(cache.handle.purge_group("g").await.unwrap(), 4);
    fill().await;
    assert_eq!(cache.handle.clear().await.unwrap(), 4);
    let counts = cache.handle.counts();
    assert_eq!((counts.entries, counts.bytes), (0, 0));
}

/// RFC 9111 4.3.5: a HEAD updates what is stored, or shows that it is outdated.
#[tokio::test(start_paused = true)]
async fn a_head_updates_or_invalidates() {
    for (etag, expected) in [("\"a\"", "hit"), ("\"b\"", "fwd=uri-miss; stored")] {
        let origin = Origin::new(move |request, _| {
            let head = request.method == "HEAD";
            let lifetime = if head { "max-age=60" } else { "max-age=0" };
            let etag = if head { etag } else { "\"a\"" };
            let fields = [("cache-control", lifetime), ("etag", etag), ("x", lifetime)];
            Ok(response(200, &fields, if head { "" } else { "hello" }))
        });
        let cache = cached(&origin);
        cache.get("/").await;
        let head = cache.send(request("HEAD", "/", &[], Body::empty())).await;
        assert_eq!(head.cache_status(), "fwd=stale");
        let after = cache.get("/").await;
        assert_eq!(
            (after.cache_status(), after.text.as_str()),
            (expected, "hello"),
            "{etag}"
        );
    }
}
