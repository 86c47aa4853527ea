//! Known ways to have a cache give a response to everybody that was made for an attacker.
//!
//! The names are those of James Kettle's "Practical Web Cache Poisoning" (2018) and "Web Cache Entanglement" (2020), of
//! Nguyen, Lo Iacono and Federrath's "Your Cache Has Fallen" (2019), and of Martin Doyhenard's "Gotta Cache 'em All"
//! (2024).

use axum_upstream::{
    Body,
    cache::{CacheLayer, STEERING_FIELDS},
};
use http::{HeaderName, uri::Scheme};

use crate::support::{Origin, cached, cached_with, get, request, response, settle};

/// An origin that answers by everything that it is asked.
fn echo() -> Origin {
    Origin::new(|request, _| {
        let text = format!("{} {:?} {:?}", request.method, request.uri, request.headers);
        Ok(response(
            200,
            &[("cache-control", "max-age=60, public")],
            text,
        ))
    })
}

/// Unkeyed header: a field that servers are steered by, in both spellings. The response is neither stored, nor is one
/// that is stored given to such a request.
#[tokio::test(start_paused = true)]
async fn steering_fields_go_by() {
    for name in STEERING_FIELDS {
        for name in [name.to_owned(), name.replace('-', "_")] {
            let cache = cached(&echo());
            let attack = cache.get_with("/", &[(&name, "evil")]).await;
            assert!(attack.text.contains("evil"));
            let victim = cache.get("/").await;
            assert!(!victim.text.contains("evil"), "{name}");
            assert_eq!(victim.cache_status(), "fwd=uri-miss; stored");
            let again = cache.get_with("/", &[(&name, "evil")]).await;
            assert_eq!(again.cache_status(), "fwd=bypass", "{name}");
        }
    }
}

/// A victim that asks while the attacker's request is under way does not get its response.
#[tokio::test(start_paused = true)]
async fn nobody_joins_a_request_with_steering_fields() {
    let origin = echo().shut();
    let cache = cached(&origin);
    let attack = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get_with("/", &[("x-forwarded-host", "evil")]).await }
    });
    settle().await;
    let victim = tokio::spawn({
        let cache = cache.clone();
        async move { cache.get("/").await }
    });
    settle().await;
    assert_eq!(origin.count(), 2);
    origin.open(2);
    assert!(attack.await.unwrap().text.contains("evil"));
    assert!(!victim.await.unwrap().text.contains("evil"));
}

/// A server that says `Vary` for the field it is steered by is cached by it.
#[tokio::test(start_paused = true)]
async fn fields_that_the_origin_varies_by_are_in_the_key() {
    let origin = Origin::new(|request, _| {
        let host = request.headers.get("x-forwarded-host");
        let text = host
            .map_or("none", |host| host.to_str().unwrap())
            .to_owned();
        let fields = [
            ("cache-control", "max-age=60"),
            ("vary", "X-Forwarded-Host"),
        ];
        Ok(response(200, &fields, text))
    });
    let cache = cached(&origin);
    for _ in 0..2 {
        for host in ["b", "c"] {
            assert_eq!(
                cache
                    .get_with("/", &[("x-forwarded-host", host)])
                    .await
                    .text,
                host
            );
        }
        assert_eq!(cache.get("/").await.text, "none");
    }
    assert_eq!(origin.count(), 3);
    // Another one beside it is still unkeyed.
    let both = [("x-forwarded-host", "b"), ("x-rewrite-url", "/evil")];
    assert_eq!(
        cache.get_with("/", &both).await.cache_status(),
        "fwd=bypass"
    );
}

/// The table is a setting.
#[tokio::test(start_paused = true)]
async fn other_fields_may_be_steering() {
    let builder = CacheLayer::in_memory(1 << 20);
    let cache = cached_with(
        &echo(),
        builder.steering_fields([HeaderName::from_static("x-own")]),
    );
    let status = |read: crate::support::Read| read.cache_status().to_owned();
    assert_eq!(
        status(cache.get_with("/", &[("x-own", "1")]).await),
        "fwd=uri-miss"
    );
    assert_eq!(
        status(cache.get_with("/", &[("x-host", "1")]).await),
        "fwd=uri-miss; stored"
    );
}

/// Fat GET: a server may answer by the content of a GET, which no key contains.
#[tokio::test(start_paused = true)]
async fn fat_gets_go_by() {
    let cache = cached(&echo());
    for body in [Body::from("evil=1"), crate::support::streamed().1] {
        let fat = cache.send(request("GET", "/", &[], body)).await;
        assert_eq!(fat.cache_status(), "fwd=bypass");
    }
    assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss; stored");
    let fat = cache
        .send(request("GET", "/", &[], Body::from("evil=1")))
        .await;
    assert_eq!(fat.cache_status(), "fwd=bypass");
}

/// Unkeyed port, query and parameters; parameter cloaking; cache key normalisation: keys are bytes.
#[tokio::test(start_paused = true)]
async fn nothing_of_the_url_is_unkeyed() {
    let cache = cached(&echo());
    let urls = [
        "http://a/",
        "http://a:80/",
        "http://A/",
        "http://a/?",
        "http://a/?utm_content=x",
        "http://a/?a=1;b=2",
        "http://a/?a=1&b=2",
        "http://a/?a=1&a=2",
        "http://a//",
        "http://a/%2e",
        "http://a/x/..%2f",
        "http://a/%3f",
        "https://a/",
        "http://b/",
    ];
    for url in urls {
        assert_eq!(
            cache.get(url).await.cache_status(),
            "fwd=uri-miss; stored",
            "{url}"
        );
    }
}

/// Web cache deception, path confusion: `/account` and `/account/x.css`, delimiters and encodings, are different
/// resources, whatever their extension is, and nothing is stored because of how a URL looks.
#[tokio::test(start_paused = true)]
async fn urls_are_not_taken_for_static_files() {
    let origin = Origin::says(&[("cache-control", "no-store")], "secret");
    let cache = cached(&origin);
    let paths = [
        "/account",
        "/account/x.css",
        "/account;x.css",
        "/account%00x.css",
        "/account%0ax.css",
        "/account%23x.css",
    ];
    for path in paths {
        cache.get(path).await;
        assert_eq!(
            cache.get(path).await.cache_status(),
            "fwd=uri-miss",
            "{path}"
        );
    }
}

/// Cache key injection: a host with a delimiter in it has no key, so that it is not the key of another URL.
#[tokio::test(start_paused = true)]
async fn hosts_do_not_reach_into_paths() {
    let cache = cached(&echo());
    for host in ["a/x", "a?x", "a#", "a@b", "a\\x"] {
        let attack = cache.get_with("/y", &[("host", host)]).await;
        assert_eq!(attack.cache_status(), "fwd=bypass", "{host}");
    }
    assert_eq!(
        cache.get("/x/y").await.cache_status(),
        "fwd=uri-miss; stored"
    );
}

/// Two hosts: a server may believe the other one.
#[tokio::test(start_paused = true)]
async fn contradictory_hosts_go_by() {
    let cache = cached(&echo());
    let attack = request("GET", "http://a/", &[("host", "evil")], Body::empty());
    assert_eq!(cache.send(attack).await.cache_status(), "fwd=bypass");
    let mut attack = get("/", &[]);
    attack.headers_mut().append("host", "evil".parse().unwrap());
    assert_eq!(cache.send(attack).await.cache_status(), "fwd=bypass");
}

/// Redirect loop: a client cannot have the response for another scheme than that of its connection be stored.
#[tokio::test(start_paused = true)]
async fn the_scheme_is_not_the_clients_to_choose() {
    let cache = cached(&echo());
    let mut attack = get("https://a/", &[]);
    attack.extensions_mut().insert(Scheme::HTTP);
    assert_eq!(cache.send(attack).await.cache_status(), "fwd=bypass");
    let mut victim = get("/", &[]);
    victim.extensions_mut().insert(Scheme::HTTPS);
    assert_eq!(
        cache.send(victim).await.cache_status(),
        "fwd=uri-miss; stored"
    );
}

/// Cache-poisoned denial of service (HHO, HMC, HMO): an error that a single request has caused is not given to others,
/// unless the origin says for how long it may be.
#[tokio::test(start_paused = true)]
async fn errors_are_not_stored_unasked() {
    for status in [400, 403, 413, 414, 431, 500, 501, 502, 503] {
        let origin = Origin::new(move |request, _| {
            let status = if request.headers.contains_key("evil") {
                status
            } else {
                200
            };
            Ok(response(status, &[], "hello"))
        });
        let cache = cached(&origin);
        cache
            .get_with("/", &[("evil", "\u{7}")].map(|(name, _)| (name, "x")))
            .await;
        assert_eq!(cache.get("/").await.status, 200, "{status}");
    }
}

/// Unkeyed conditions: those of the first client are not those of the others.
#[tokio::test(start_paused = true)]
async fn conditions_of_one_client_are_not_those_of_others() {
    let origin = Origin::new(|request, _| {
        let fields = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
        let conditional = request.headers.contains_key("if-none-match");
        Ok(response(
            if conditional { 304 } else { 200 },
            &fields,
            "hello",
        ))
    });
    let cache = cached(&origin);
    cache.get_with("/", &[("if-none-match", "\"a\"")]).await;
    let victim = cache.get("/").await;
    assert_eq!((victim.status, victim.text.as_str()), (200, "hello"));
}

/// The response to a HEAD, which has no content, is not stored as that to a GET.
#[tokio::test(start_paused = true)]
async fn a_head_is_not_stored_as_a_get() {
    let origin = Origin::new(|request, _| {
        let text = if request.method == "HEAD" {
            ""
        } else {
            "hello"
        };
        Ok(response(200, &[("cache-control", "max-age=60")], text))
    });
    let cache = cached(&origin);
    cache.send(request("HEAD", "/", &[], Body::empty())).await;
    assert_eq!(cache.get("/").await.text, "hello");
}

/// Error responses by oversized fields, meta characters and methods (HHO, HMC, HMO): with a lifetime, the origin has
/// asked for it. That of the client, in the request, is none.
#[tokio::test(start_paused = true)]
async fn lifetimes_of_requests_are_not_those_of_responses() {
    for fields in [
        ("cache-control", "max-age=60, public"),
        ("cdn-cache-control", "max-age=60"),
        ("surrogate-control", "max-age=60"),
        ("expires", "Tue, 14 Nov 2033 22:13:20 GMT"),
    ] {
        let origin = Origin::says(&[], "hello");
        let cache = cached(&origin);
        for _ in 0..2 {
            let read = cache.get_with("/", &[fields]).await;
            assert_eq!(read.cache_status(), "fwd=uri-miss", "{fields:?}");
        }
    }
}

/// Integers that overflow (as in several caches, whose sums then were negative): they are as large as they can be.
#[tokio::test(start_paused = true)]
async fn large_numbers_do_not_overflow() {
    const LARGE: &str = "99999999999999999999999999999999999999";
    for (control, age, hit) in [
        (format!("max-age={LARGE}"), "0", true),
        (format!("s-maxage={LARGE}, max-age={LARGE}"), "1", true),
        ("max-age=18446744073709551616".to_owned(), "0", true),
        ("max-age=60".to_owned(), LARGE, false),
        ("max-age=60".to_owned(), "18446744073709551615", false),
        (format!("max-age={LARGE}"), LARGE, false),
        (
            format!("max-age=0, stale-while-revalidate={LARGE}"),
            "0",
            true,
        ),
    ] {
        let origin = Origin::new(move |_, _| {
            let fields = [
                ("cache-control", &*control),
                ("age", age),
                ("etag", "\"a\""),
            ];
            Ok(response(200, &fields, "hello"))
        });
        let cache = cached(&origin);
        cache.get("/").await;
        for (name, value) in [
            ("cache-control", format!("max-stale={LARGE}, min-fresh=0")),
            ("cache-control", format!("min-fresh={LARGE}")),
            ("cache-control", format!("max-age={LARGE}")),
            ("range", format!("bytes={LARGE}-{LARGE}")),
            ("range", format!("bytes=-{LARGE}")),
            ("range", format!("bytes=0-{LARGE}")),
        ] {
            let read = cache.get_with("/", &[(name, &value)]).await;
            assert!(matches!(read.status, 200 | 206 | 416), "{value}");
        }
        settle().await;
        assert_eq!(cache.get("/").await.cache_status() == "hit", hit, "{age}");
    }
}

/// Variants of one URL by fields that the client chooses: they are bounded, and the entry of another URL stays.
#[tokio::test(start_paused = true)]
async fn one_url_does_not_fill_the_cache() {
    let origin = Origin::says(
        &[
            ("cache-control", "max-age=60"),
            ("vary", "accept-encoding, user-agent"),
        ],
        "hello",
    );
    let cache = cached_with(&origin, CacheLayer::in_memory(1 << 20).max_variants(4));
    cache.get("/other").await;
    let one = cache.handle.counts().bytes;
    for n in 0..1000 {
        let (agent, encoding) = (n.to_string(), format!("gzip;q=0.{n}"));
        let fields = [("user-agent", &*agent), ("accept-encoding", &*encoding)];
        cache.get_with("/", &fields).await;
    }
    let counts = cache.handle.counts();
    assert!(counts.entries == 2 && counts.bytes < one * 8, "{counts:?}");
    assert_eq!(cache.get("/other").await.cache_status(), "hit");
}

/// Very many fields, members and groups are read once, and each is bounded by what a server lets through.
#[tokio::test(start_paused = true)]
async fn giant_heads_are_only_large() {
    let many: Vec<_> = (0..2000).map(|n| format!("x-{n}")).collect();
    let (vary, groups) = (many.join(", "), format!("\"{}\"", many.join("\", \"")));
    let control = format!("max-age=60, private=\"{vary}\"");
    let origin = Origin::new(move |_, _| {
        let fields = [
            ("cache-control", &*control),
            ("vary", &*vary),
            ("cache-groups", &*groups),
        ];
        Ok(response(200, &fields, "hello"))
    });
    let cache = cached(&origin);
    assert_eq!(cache.get("/").await.cache_status(), "fwd=uri-miss; stored");
    assert_eq!(cache.get("/").await.cache_status(), "hit");
    assert_eq!(
        cache.get_with("/", &[("x-1999", "1")]).await.cache_status(),
        "fwd=vary-miss; stored"
    );
    let counts = cache.handle.counts();
    assert!(
        counts.bytes > 2 * 3 * many.join("").len() as u64,
        "all of it counts: {counts:?}"
    );
}

/// A part (CVE-2021-21295 and kin aside, Varnish's and Squid's range faults): a 206 is never given as the whole, and a
/// range is not kept from a request that asks for none.
#[tokio::test(start_paused = true)]
async fn parts_are_not_wholes() {
    let origin = Origin::new(|request, _| {
        let fields = [
            ("cache-control", "max-age=60"),
            ("content-range", "bytes 0-1/5"),
        ];
        Ok(match request.headers.contains_key("range") {
            true => response(206, &fields, "he"),
            false => response(200, &fields[..1], "hello"),
        })
    });
    let cache = cached(&origin);
    let part = cache.get_with("/", &[("range", "bytes=0-1")]).await;
    assert_eq!((part.status, part.cache_status()), (206, "fwd=uri-miss"));
    let whole = cache.get("/").await;
    assert_eq!((whole.status, &*whole.text), (200, "hello"));
    let part = cache.get_with("/", &[("range", "bytes=1-2")]).await;
    assert_eq!(
        (part.status, &*part.text, part.cache_status()),
        (206, "el", "hit")
    );
}
