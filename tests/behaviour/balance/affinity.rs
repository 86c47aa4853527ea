//! Requests that belong together: the same client, the same session.

use std::collections::BTreeSet;

use axum_upstream::{
    Body, EndpointSpec, LoadBalance, ReverseProxy,
    policy::{ConsistentHash, Sticky},
};
use http::{HeaderMap, Request, Response};
use tower::{ServiceExt, service_fn};

use super::{Named, Reply, endpoint_of, named, over};

/// Returns the header of a response that the endpoint sent with this `Cache-Control`, to a client with this cookie.
async fn answer(cache_control: &'static [&'static str], cookie: Option<&str>) -> HeaderMap {
    let service = service_fn(move |_: Request<Body>| async move {
        let mut response = Response::new(Body::empty());
        for value in cache_control {
            let value = http::HeaderValue::from_static(value);
            response.headers_mut().append("cache-control", value);
        }
        Reply::Ok(response)
    });
    let sticky = Sticky::cookie("backend").unwrap().key([1; 16]);
    let builder = LoadBalance::builder().policy(sticky);
    let spec = EndpointSpec::new("a", service);
    let balance = builder.endpoints([spec]).unwrap();
    let mut request = super::request();
    if let Some(cookie) = cookie {
        let cookie = cookie.parse().unwrap();
        request.headers_mut().insert("cookie", cookie);
    }
    balance.oneshot(request).await.unwrap().headers().clone()
}

fn cache_control(fields: &HeaderMap) -> Vec<&str> {
    let values = fields.get_all("cache-control").into_iter();
    values.map(|value| value.to_str().unwrap()).collect()
}

/// RFC 9111 7.3: `Set-Cookie` does not inhibit caching. A cache would give the cookie to other clients, and all of them
/// would go to one endpoint.
#[tokio::test(start_paused = true)]
async fn a_cookie_is_for_no_shared_cache() {
    for (sent, received) in [
        (&[][..], &["private"][..]),
        (&["max-age=60"], &["max-age=60", "private"]),
        (
            &["public, s-maxage=60"],
            &["public, s-maxage=60", "private"],
        ),
        (&["no-cache"], &["no-cache", "private"]),
        (
            &["private=\"x-field, private\""],
            &["private=\"x-field, private\"", "private"],
        ),
        (
            &["private=\"a, private, b\""],
            &["private=\"a, private, b\"", "private"],
        ),
        // No shared cache may store these as they are.
        (&["max-age=60, Private"], &["max-age=60, Private"]),
        (&["max-age=60", "no-store"], &["max-age=60", "no-store"]),
    ] {
        let fields = answer(sent, None).await;
        assert!(fields.contains_key("set-cookie"));
        assert_eq!(cache_control(&fields), received);
    }
}

/// A response to a client that has its cookie sets none, so any cache may store it.
#[tokio::test(start_paused = true)]
async fn an_answer_without_a_cookie_is_as_it_was() {
    let first = answer(&["public"], None).await;
    let cookie = first["set-cookie"].to_str().unwrap().split(';').next();
    let fields = answer(&["public"], cookie).await;
    assert!(!fields.contains_key("set-cookie"));
    assert_eq!(cache_control(&fields), ["public"]);
}

/// Returns the endpoints that are reached by requests of a trusted proxy at 10.0.0.1, with these values of
/// `X-Forwarded-For`.
async fn reached(
    balance: &LoadBalance<Named>,
    said: impl Iterator<Item = String>,
) -> BTreeSet<String> {
    let edge = "10.0.0.1:1".parse().unwrap();
    let proxy = ReverseProxy::new(balance.clone());
    let proxy = proxy.trusted_peers(["10.0.0.0/8"]).unwrap();
    let proxy = proxy.client_addr(edge);
    let mut reached = BTreeSet::new();
    for said in said {
        let request = Request::get("http://a/").header("x-forwarded-for", said);
        let request = request.body(Body::empty()).unwrap();
        let response = proxy.clone().oneshot(request).await.unwrap();
        reached.insert(endpoint_of(&response));
    }
    reached
}

/// A trusted proxy that appends to `X-Forwarded-For`, as nginx's `$proxy_add_x_forwarded_for` does, puts the client's
/// address after what the client wrote there. Only the appended address counts.
#[tokio::test(start_paused = true)]
async fn a_client_cannot_choose_its_hash() {
    let names = ["a", "b", "c", "d", "e"].map(named);
    let balance = over(names, ConsistentHash::client_addr());
    let one = (0..50).map(|n| format!("1.2.3.{n}, 192.0.2.7"));
    assert_eq!(reached(&balance, one).await.len(), 1, "one client");
    let many = (0..50).map(|n| format!("1.2.3.4, 192.0.2.{n}"));
    assert_eq!(reached(&balance, many).await.len(), 5, "fifty clients");
    let by_proxies = (0..50).map(|n| format!("192.0.2.7, 10.0.0.{n}"));
    assert_eq!(
        reached(&balance, by_proxies).await.len(),
        1,
        "by trusted proxies"
    );
}

/// A session is not moved to find out whether an ejected endpoint works again, unless nothing else does for long.
#[tokio::test(start_paused = true)]
async fn a_session_is_the_last_to_probe() {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        time::Duration,
    };

    use axum_upstream::endpoint::Availability;

    let works = Arc::new(AtomicBool::new(true));
    let service = |name: &'static str, works: Arc<AtomicBool>| {
        service_fn(move |_: Request<Body>| {
            let status = if works.load(Relaxed) { 200 } else { 503 };
            let body = Body::from(name);
            let response = Response::builder().status(status).body(body);
            async move { response }
        })
    };
    let always = Arc::new(AtomicBool::new(true));
    let specs = [
        EndpointSpec::new("a", service("a", works.clone())),
        EndpointSpec::new("b", service("b", always)),
    ];
    let sticky = Sticky::cookie("backend").unwrap().key([1; 16]);
    let balance = LoadBalance::builder()
        .policy(sticky)
        .retry(axum_upstream::retry::Retry::never())
        .ejection(
            axum_upstream::health::Ejection::default()
                .consecutive_failures(1)
                .unwrap(),
        )
        .endpoints(specs)
        .unwrap();
    let visit = async |cookie: Option<&http::HeaderValue>| {
        let mut request = super::request();
        if let Some(cookie) = cookie {
            request.headers_mut().insert("cookie", cookie.clone());
        }
        let response = balance.clone().oneshot(request).await.unwrap();
        let info = response.extensions().get::<axum_upstream::Info>();
        let endpoint = info.unwrap().endpoint().unwrap().to_owned();
        (endpoint, response.headers().get("set-cookie").cloned())
    };
    // A client that is bound to `b`.
    let cookie = loop {
        if let (endpoint, Some(cookie)) = visit(None).await {
            if endpoint == "b" {
                break cookie;
            }
        }
    };
    works.store(false, Relaxed);
    for _ in 0..4 {
        visit(None).await;
    }
    let ejected = |endpoint: &axum_upstream::balance::EndpointStatus| {
        matches!(endpoint.availability, Availability::Ejected { .. })
    };
    assert!(ejected(&balance.handle().endpoints()[0]));
    works.store(true, Relaxed);
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(visit(Some(&cookie)).await.0, "b");
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(visit(Some(&cookie)).await.0, "a");
}
