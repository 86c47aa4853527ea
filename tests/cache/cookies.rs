//! What is for one client never goes to another one.

use axum_upstream::{Body, cache::CacheLayer};
use http::HeaderName;

use crate::support::{Origin, cached, cached_with, request, response};

/// A response with `Set-Cookie` is stored only if the origin names shared caches.
#[tokio::test(start_paused = true)]
async fn cookies_are_not_given_to_others() {
    let origin = Origin::says(
        &[("cache-control", "max-age=60"), ("set-cookie", "id=1")],
        "hello",
    );
    let cache = cached(&origin);
    for _ in 0..2 {
        let own = cache.get("/").await;
        assert_eq!(
            (own.field("set-cookie"), own.cache_status()),
            ("id=1", "fwd=uri-miss")
        );
    }
    let origin = Origin::says(
        &[
            ("cache-control", "public, max-age=60"),
            ("set-cookie", "id=1"),
        ],
        "hello",
    );
    let cache = cached(&origin);
    cache.get("/").await;
    assert_eq!(
        cache.get("/").await.field("set-cookie"),
        "id=1",
        "the origin has said so"
    );
}

/// RFC 9111 5.2.2.4: the fields that are named go to the client that has asked, and to no other.
#[tokio::test(start_paused = true)]
async fn qualified_directives_keep_fields_from_others() {
    for directive in [
        "max-age=60, no-cache=\"set-cookie\"",
        "max-age=60, private=\"set-cookie, x\"",
    ] {
        let origin = Origin::new(move |_, _| {
            let fields = [("cache-control", directive), ("set-cookie", "id=1")];
            Ok(response(200, &fields, "hello"))
        });
        let cache = cached(&origin);
        assert_eq!(cache.get("/").await.field("set-cookie"), "id=1");
        let hit = cache.get("/").await;
        assert_eq!((hit.field("set-cookie"), hit.cache_status()), ("", "hit"));
    }
}

/// A cookie in a 304 is for the client that has caused the validation, and cannot be told from those of others.
#[tokio::test(start_paused = true)]
async fn a_cookie_of_a_validation_is_not_stored() {
    let origin = Origin::in_turn(vec![
        || {
            Ok(response(
                200,
                &[("cache-control", "max-age=0"), ("etag", "\"a\"")],
                "hello",
            ))
        },
        || {
            Ok(response(
                304,
                &[("set-cookie", "id=1"), ("cache-control", "max-age=60")],
                "",
            ))
        },
    ]);
    let cache = cached(&origin);
    for _ in 0..3 {
        assert_eq!(cache.get("/").await.field("set-cookie"), "");
    }
    assert_eq!(origin.count(), 2);
}

/// A 304 that forbids what is stored to be stored is obeyed.
#[tokio::test(start_paused = true)]
async fn a_validation_may_make_a_response_private() {
    let origin = Origin::in_turn(vec![
        || {
            Ok(response(
                200,
                &[("cache-control", "max-age=0"), ("etag", "\"a\"")],
                "hello",
            ))
        },
        || {
            Ok(response(
                304,
                &[("cache-control", "private, max-age=60")],
                "",
            ))
        },
        || {
            Ok(response(
                200,
                &[("cache-control", "private, max-age=60")],
                "other",
            ))
        },
    ]);
    let cache = cached(&origin);
    assert_eq!(cache.get("/").await.text, "hello");
    assert_eq!(cache.get("/").await.text, "hello");
    assert_eq!(cache.get("/").await.text, "other");
}

/// RFC 9111 3.5, in both directions.
#[tokio::test(start_paused = true)]
async fn authorization_needs_a_directive() {
    let with = [("authorization", "Basic YTpi")];
    let origin = Origin::says(&[("cache-control", "max-age=60")], "hello");
    let cache = cached(&origin);
    cache.get_with("/", &with).await;
    assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss; stored");
    let other = cache.get_with("/", &with).await;
    assert_eq!(
        other.cache_status(),
        "fwd=request",
        "it may be answered otherwise"
    );
    for directive in [
        "public, max-age=60",
        "s-maxage=60",
        "must-revalidate, max-age=60",
    ] {
        let origin =
            Origin::new(move |_, _| Ok(response(200, &[("cache-control", directive)], "hello")));
        let cache = cached(&origin);
        cache.get_with("/", &with).await;
        assert_eq!(cache.get("/").await.cache_status(), "hit", "{directive}");
        assert_eq!(
            cache.get_with("/", &with).await.cache_status(),
            "hit",
            "{directive}"
        );
    }
}

/// Requests with credentials wait for no other request, and no other waits for them.
#[tokio::test(start_paused = true)]
async fn authorized_requests_are_not_collapsed() {
    let origin = Origin::says(&[("cache-control", "max-age=60, public")], "hello").shut();
    let cache = cached(&origin);
    for n in 1..=3 {
        let cache = cache.clone();
        tokio::spawn(async move { cache.get_with("/", &[("authorization", "x")]).await });
        crate::support::settle().await;
        assert_eq!(origin.count(), n);
    }
}

/// A request with credentials does not keep others from being collapsed, whatever its response says.
#[tokio::test(start_paused = true)]
async fn one_client_cannot_turn_the_cache_off() {
    let origin = Origin::new(|request, _| {
        let private = request.headers.contains_key("authorization");
        let directive = if private { "private" } else { "max-age=60" };
        Ok(response(200, &[("cache-control", directive)], "hello"))
    });
    let cache = cached(&origin);
    cache.get_with("/", &[("authorization", "x")]).await;
    assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss; stored");
}

/// RFC 9213: what is said to caches of this kind counts, and nothing else.
#[tokio::test(start_paused = true)]
async fn targeted_fields_take_precedence() {
    let origin = Origin::says(
        &[
            ("cache-control", "no-store"),
            ("cdn-cache-control", "max-age=60"),
            ("set-cookie", "a=b"),
        ],
        "hello",
    );
    let cache = cached(&origin);
    cache.get("/").await;
    let hit = cache.get("/").await;
    assert_eq!(
        (hit.cache_status(), hit.field("cdn-cache-control")),
        ("hit", "max-age=60")
    );
    let own = [HeaderName::from_static("gateway-cache-control")];
    let cache = cached_with(&origin, CacheLayer::in_memory(1 << 20).targeted_fields(own));
    cache.get("/").await;
    assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss");
    cache.send(request("GET", "/", &[], Body::empty())).await;
}
