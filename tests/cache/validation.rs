//! What is stored is confirmed by the origin, or replaced.

use axum_upstream::Body;

use crate::support::{Origin, YESTERDAY, cached, get, pass, read, request, response};

fn validating() -> Origin {
    Origin::new(|request, _| {
        let conditional = request.headers.contains_key("if-none-match");
        Ok(match conditional {
            true => response(
                304,
                &[
                    ("x", "2"),
                    ("cache-control", "max-age=20"),
                    ("content-length", "9"),
                ],
                "",
            ),
            false => response(
                200,
                &[
                    ("x", "1"),
                    ("cache-control", "max-age=10"),
                    ("etag", "\"a\""),
                ],
                "hello",
            ),
        })
    })
}

/// RFC 9111 4.3.4 and 3.2: the content stays, the head is updated.
#[tokio::test(start_paused = true)]
async fn a_304_updates_the_stored_head() {
    let origin = validating();
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    let validated = cache.get("/").await;
    assert_eq!(
        (
            validated.status,
            validated.text.as_str(),
            validated.field("x")
        ),
        (200, "hello", "2")
    );
    assert_eq!(
        validated.cache_status(),
        "fwd=stale; fwd-status=304; stored"
    );
    assert_eq!(
        (validated.field("age"), validated.field("content-length")),
        ("0", "")
    );
    pass(19).await;
    let hit = cache.get("/").await;
    assert_eq!(
        (hit.text.as_str(), hit.field("x"), hit.field("age")),
        ("hello", "2", "19")
    );
    assert_eq!(origin.count(), 2);
}

/// The client's own conditions are answered after the validation.
#[tokio::test(start_paused = true)]
async fn the_conditions_of_the_client_are_answered_behind_it() {
    let origin = validating();
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    let own = cache.get_with("/", &[("if-none-match", "\"b\"")]).await;
    assert_eq!((own.status, own.text.as_str()), (200, "hello"));
    assert_eq!(origin.last()["if-none-match"], "\"a\"");
    pass(25).await;
    assert_eq!(
        cache
            .get_with("/", &[("if-none-match", "\"a\"")])
            .await
            .status,
        304
    );
    pass(25).await;
    let part = cache.get_with("/", &[("range", "bytes=1-2")]).await;
    assert_eq!((part.status, part.text.as_str()), (206, "el"));
    assert!(!origin.last().contains_key("range"));
}

/// RFC 9111 4.3.3: a 200 takes the place of what is stored.
#[tokio::test(start_paused = true)]
async fn a_200_replaces_what_is_stored() {
    let origin = Origin::in_turn(vec![
        || {
            Ok(response(
                200,
                &[
                    ("cache-control", "max-age=10"),
                    ("last-modified", YESTERDAY),
                ],
                "old",
            ))
        },
        || Ok(response(200, &[("cache-control", "max-age=10")], "new")),
    ]);
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    let new = cache.get("/").await;
    assert_eq!(
        (new.text.as_str(), new.cache_status()),
        ("new", "fwd=stale; stored")
    );
    assert_eq!(origin.last()["if-modified-since"], YESTERDAY);
    assert_eq!(cache.get("/").await.text, "new");
}

/// What may not be stored takes its place, too: nothing.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_storable_removes_what_is_stored() {
    let origin = Origin::in_turn(vec![
        || Ok(response(200, &[("cache-control", "max-age=10")], "old")),
        || Ok(response(200, &[("cache-control", "no-store")], "new")),
    ]);
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    assert_eq!(cache.get("/").await.text, "new");
    assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss");
}

/// RFC 9111 4.3.4: a 304 with another tag updates nothing.
#[tokio::test(start_paused = true)]
async fn a_304_of_something_else_updates_nothing() {
    let origin = Origin::in_turn(vec![
        || {
            Ok(response(
                200,
                &[("cache-control", "max-age=10"), ("etag", "\"a\"")],
                "old",
            ))
        },
        || {
            Ok(response(
                304,
                &[("cache-control", "max-age=60"), ("etag", "\"b\"")],
                "",
            ))
        },
        || {
            Ok(response(
                200,
                &[("cache-control", "max-age=10"), ("etag", "\"b\"")],
                "new",
            ))
        },
    ]);
    let cache = cached(&origin);
    cache.get("/").await;
    pass(15).await;
    let first = cache.get("/").await;
    assert_eq!((first.text.as_str(), first.field("etag")), ("old", "\"a\""));
    assert_eq!(cache.get("/").await.text, "new");
}

/// A 304 that nothing was asked for by the cache is the client's.
#[tokio::test(start_paused = true)]
async fn a_304_without_a_stored_response_is_passed_on() {
    let origin = Origin::says(&[("cache-control", "max-age=60")], "");
    let origin = Origin::new(move |_, _| {
        let _ = &origin;
        Ok(response(304, &[("etag", "\"a\"")], ""))
    });
    let cache = cached(&origin);
    for _ in 0..2 {
        let passed = cache
            .open(get("/", &[("if-none-match", "\"a\"")]))
            .await
            .unwrap();
        assert_eq!(read(passed).await.unwrap().status, 304);
    }
}

/// RFC 9111 4.2.2: a tenth of the time since it was modified.
#[tokio::test(start_paused = true)]
async fn a_response_that_says_nothing_is_fresh_for_a_while() {
    let origin = Origin::says(&[("last-modified", YESTERDAY)], "hello");
    let cache = cached(&origin);
    cache.get("/").await;
    pass(8639).await;
    assert_eq!(
        cache.get("/").await.field("cache-status"),
        "axum-upstream; hit; ttl=1"
    );
    pass(1).await;
    assert_eq!(cache.get("/").await.cache_status(), "fwd=stale; stored");
}

/// RFC 9111 5.2.1.5: "a cache MUST NOT store any part of either this request or any response to it."
#[tokio::test(start_paused = true)]
async fn a_head_with_no_store_updates_nothing() {
    let origin = Origin::new(|request, _| {
        let age = if request.method == "HEAD" {
            "max-age=60"
        } else {
            "max-age=1"
        };
        let fields = [("cache-control", age), ("etag", "\"a\"")];
        Ok(response(200, &fields, Body::empty()))
    });
    for (directive, left) in [("no-store", "fwd=stale; stored"), ("", "hit")] {
        let cache = cached(&origin);
        cache.get("/").await;
        pass(2).await;
        let fields = [("cache-control", directive)];
        cache
            .send(request("HEAD", "/", &fields, Body::empty()))
            .await;
        assert_eq!(cache.get("/").await.cache_status(), left);
    }
}

/// A 304 that no longer says `Vary` for a field by which its request steers the server updates nothing.
#[tokio::test(start_paused = true)]
async fn an_update_has_to_vary_by_what_steers() {
    let origin = Origin::new(|request, _| {
        let conditional = request.headers.contains_key("if-none-match");
        let vary = if conditional {
            "x-a"
        } else {
            "x-forwarded-host"
        };
        let fields = [
            ("cache-control", "max-age=1"),
            ("etag", "\"a\""),
            ("vary", vary),
        ];
        let host = request.headers.get("x-forwarded-host");
        let text = if host.is_some() { "evil" } else { "hello" };
        Ok(response(if conditional { 304 } else { 200 }, &fields, text))
    });
    let cache = cached(&origin);
    let evil = [("x-forwarded-host", "evil")];
    cache.get_with("/", &evil).await;
    pass(2).await;
    assert_eq!(cache.get_with("/", &evil).await.text, "evil");
    assert_eq!(cache.get("/").await.text, "hello");
}

/// RFC 9111 5.2.2.4: a field that is stored goes when a 304 says that it is not for everybody.
#[tokio::test(start_paused = true)]
async fn a_304_may_hide_a_field_that_is_stored() {
    let origin = Origin::new(|request, _| {
        let conditional = request.headers.contains_key("if-none-match");
        let control = if conditional {
            "max-age=9, private=\"x\""
        } else {
            "max-age=1"
        };
        let fields = [("cache-control", control), ("etag", "\"a\""), ("x", "1")];
        Ok(response(
            if conditional { 304 } else { 200 },
            &fields,
            "hello",
        ))
    });
    let cache = cached(&origin);
    assert_eq!(cache.get("/").await.field("x"), "1");
    assert_eq!(cache.get("/").await.field("x"), "1");
    pass(2).await;
    cache.get("/").await;
    let hit = cache.get("/").await;
    assert_eq!((hit.cache_status(), hit.field("x")), ("hit", ""));
}
