//! What one byte from the network may cost: memory is bounded by what was sent, and nothing is allocated for each
//! member of a list.
//!
//! A binary of its own, because it counts every allocation of its process.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use allocation_counter::{AllocationInfo, measure};
use axum_upstream::{Body, ReverseProxy};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use tower::ServiceExt;

/// What one exchange comes to.
struct Spent {
    status: StatusCode,
    /// What the endpoint got, if anything reached it.
    sent: Option<HeaderMap>,
    info: AllocationInfo,
}

impl Spent {
    /// Bytes that were allocated at once, at most.
    fn peak(&self) -> usize {
        usize::try_from(self.info.bytes_max).unwrap()
    }

    fn allocations(&self) -> usize {
        usize::try_from(self.info.count_total).unwrap()
    }
}

/// Sends a request with these fields to an endpoint that answers with those. Both heads exist before the counting
/// begins.
fn spend(mut up: HeaderMap, down: HeaderMap) -> Spent {
    let mut answer = Response::new(Body::empty());
    *answer.headers_mut() = down;
    let answer = Arc::new(Mutex::new(Some(answer)));
    let sent = Arc::new(Mutex::new(None));
    let heard = sent.clone();
    let endpoint = tower::service_fn(move |request: Request<Body>| {
        *heard.lock().unwrap() = Some(request.into_parts().0.headers);
        std::future::ready(Ok::<_, Infallible>(answer.lock().unwrap().take().unwrap()))
    });
    let proxy = ReverseProxy::new(endpoint)
        .trusted_peers(["192.0.2.0/24"])
        .unwrap();
    let is_trusted = up.remove("trusted").is_some();
    let proxy = proxy.client_addr(([192, 0, if is_trusted { 2 } else { 3 }, 1], 1).into());
    let mut request = Request::get("/").body(Body::empty()).unwrap();
    *request.headers_mut() = up;
    let host = HeaderValue::from_static("example.com");
    request.headers_mut().insert(header::HOST, host);

    let mut response = None;
    let info = measure(|| response = proxy.oneshot(request).now_or_never());
    let sent = sent.lock().unwrap().take();
    Spent {
        status: response.expect("nothing to wait for").unwrap().status(),
        sent,
        info,
    }
}

/// A head with one field.
fn one(name: &'static str, value: String) -> HeaderMap {
    lines(name, [value])
}

/// A head with one field of many lines.
fn lines(name: &'static str, values: impl IntoIterator<Item = String>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for value in values {
        map.append(name, value.try_into().unwrap());
    }
    map
}

/// The bytes of a head, as HTTP/1 sends it.
fn size(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum()
}

/// The bytes of a long field.
const LONG: usize = 200_000;

/// An exchange that asks for nothing special allocates so much, and less than so many times.
const USUAL: usize = 4096;

#[test]
fn an_ordinary_exchange_is_cheap() {
    let spent = spend(HeaderMap::new(), HeaderMap::new());
    assert_eq!(spent.status, StatusCode::OK);
    assert!(spent.peak() < USUAL, "{}", spent.peak());
}

#[test]
fn a_long_list_of_names_is_refused_and_copied_nowhere() {
    for name in ["connection", "trailer"] {
        for value in [
            "a,".repeat(LONG / 2),
            ",".repeat(LONG),
            "x".repeat(LONG) + &",a".repeat(64),
        ] {
            let spent = spend(one(name, value), HeaderMap::new());
            assert_eq!(spent.status, StatusCode::BAD_REQUEST, "{name}");
            assert!(spent.sent.is_none());
            assert!(spent.peak() < USUAL, "{name}: {}", spent.peak());
        }
        let many = lines(name, (0..1000).map(|n| format!("x-{n}")));
        assert_eq!(
            spend(many, HeaderMap::new()).status,
            StatusCode::BAD_REQUEST
        );
    }
}

#[test]
fn an_endpoints_long_list_of_names_is_a_502() {
    for name in ["connection", "trailer"] {
        let spent = spend(HeaderMap::new(), one(name, "a,".repeat(LONG / 2)));
        assert_eq!(spent.status, StatusCode::BAD_GATEWAY, "{name}");
        assert!(spent.peak() < USUAL, "{name}: {}", spent.peak());
    }
}

/// As many options as are allowed cost no more allocations than two.
#[test]
fn connection_options_are_not_allocated_one_by_one() {
    let options = |count: usize| {
        let names: Vec<_> = (0..count).map(|n| format!("x-option-{n}")).collect();
        spend(one("connection", names.join(", ")), HeaderMap::new())
    };
    let (few, many) = (options(2), options(64));
    assert_eq!(many.status, StatusCode::OK);
    // Their names are in one string, which grows by doubling.
    let more = many.allocations() - few.allocations();
    assert!(more <= 8, "{more}");
}

/// A list of one and the same length.
#[test]
fn lengths_are_not_collected() {
    let spent = spend(
        HeaderMap::new(),
        one("content-length", "5,".repeat(LONG / 2) + "5"),
    );
    assert_eq!(spent.status, StatusCode::OK);
    assert!(spent.peak() < USUAL, "{}", spent.peak());
}

/// Lists that are only looked at, or that go.
#[test]
fn other_lists_are_read_where_they_are() {
    for name in [
        "te",
        "upgrade",
        "forwarded",
        "x-forwarded-for",
        "expect",
        "cookie",
        "accept",
    ] {
        let spent = spend(one(name, "a,".repeat(LONG / 2)), HeaderMap::new());
        assert_eq!(spent.status, StatusCode::OK, "{name}");
        assert!(spent.peak() < USUAL, "{name}: {}", spent.peak());
    }
}

/// What becomes one line is copied once.
#[test]
fn lines_are_joined_in_one_copy() {
    let mut trusted = lines("x-forwarded-for", (0..1000).map(|_| "192.0.2.7".into()));
    trusted.insert("trusted", HeaderValue::from_static("1"));
    for (name, head) in [
        (
            "cookie",
            lines("cookie", (0..2000).map(|n| format!("c{n}=1"))),
        ),
        ("via", lines("via", (0..2000).map(|_| "1.1 a".into()))),
        ("x-forwarded-for", trusted),
    ] {
        let bytes = size(&head);
        let spent = spend(head, HeaderMap::new());
        assert_eq!(spent.status, StatusCode::OK);
        assert_eq!(spent.sent.as_ref().unwrap().get_all(name).iter().count(), 1);
        assert!(
            spent.peak() < USUAL + bytes,
            "{name}: {} for {bytes}",
            spent.peak()
        );
    }
}

/// Fields that go are dropped, not copied.
#[test]
fn removed_fields_cost_less_than_they_are_long() {
    let head: HeaderMap = (0..2000)
        .map(|n| {
            let name = HeaderName::try_from(format!("x-forwarded-number-{n}")).unwrap();
            (
                name,
                HeaderValue::from_static("a value of some length, as such fields have"),
            )
        })
        .collect();
    let bytes = size(&head);
    let spent = spend(head, HeaderMap::new());
    assert_eq!(
        spent.sent.unwrap().len(),
        5,
        "host, x-forwarded-for, -host, -proto and via"
    );
    assert!(
        spent.info.bytes_max < (USUAL + 2 * bytes) as u64,
        "{}",
        spent.info.bytes_max
    );
}
