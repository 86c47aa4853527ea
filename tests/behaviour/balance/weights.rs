//! Weights that change while requests are served.

use std::time::Duration;

use axum::Router;
use axum_upstream::{
    EndpointSpec, LoadBalance, ReverseProxy,
    policy::{ConsistentHash, LeastRequest, P2c, Policy, Random, RoundRobin, Sticky},
};
use futures_util::future::join_all;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::ServiceExt;

use super::{Named, endpoint_of, named, over, request, session, shares};
use crate::support::{server, within};

const HASHED: http::HeaderName = http::HeaderName::from_static("x-key");

fn policies() -> [Policy; 9] {
    [
        P2c::new().into(),
        P2c::in_flight().into(),
        P2c::reported().into(),
        RoundRobin.into(),
        LeastRequest.into(),
        Random.into(),
        ConsistentHash::header(HASHED).into(),
        ConsistentHash::header(HASHED).bounded_load(1.25).into(),
        Sticky::cookie("backend").unwrap().into(),
    ]
}

/// Returns the endpoints that are reached by requests with 60 different keys.
async fn reached(balance: &LoadBalance<Named>) -> Vec<String> {
    let mut reached = Vec::new();
    for key in 0..60 {
        let mut request = request();
        request.headers_mut().insert(HASHED, key.into());
        let response = balance.clone().oneshot(request).await.unwrap();
        reached.push(endpoint_of(&response));
    }
    reached.sort();
    reached.dedup();
    reached
}

#[tokio::test(start_paused = true)]
async fn a_weight_of_0_stops_new_requests() {
    for policy in policies() {
        let balance = over(["a", "b", "c"].map(named), policy.clone());
        let handle = balance.handle();
        assert_eq!(reached(&balance).await, ["a", "b", "c"], "{policy:?}");
        assert_eq!(handle.set_weight("b", 0), Some(1));
        assert_eq!(reached(&balance).await, ["a", "c"], "{policy:?}");
        assert_eq!(handle.endpoints()[1].weight, 0);
        assert_eq!(handle.set_weight("b", 1), Some(0));
        assert_eq!(reached(&balance).await, ["a", "b", "c"], "{policy:?}");
        assert_eq!(handle.set_weight("d", 1), None);
    }
}

/// Requests fail as in an empty cluster: at once, under every policy.
#[tokio::test(start_paused = true)]
async fn when_all_weigh_0_there_is_no_endpoint() {
    for policy in policies() {
        let balance = over(["a", "b"].map(named), policy.clone());
        let handle = balance.handle();
        let start = Instant::now();
        let held = balance.clone().oneshot(request()).await.unwrap();
        for name in ["a", "b"] {
            handle.set_weight(name, 0);
        }
        let get = Request::get("http://a/").body(axum_upstream::Body::empty());
        let proxy = ReverseProxy::new(balance.clone());
        let response = proxy.oneshot(get.unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(start.elapsed(), Duration::ZERO);
        let in_flight = || {
            handle
                .endpoints()
                .iter()
                .map(|e| e.in_flight)
                .sum::<usize>()
        };
        assert_eq!(in_flight(), 1, "what was in flight goes on");
        drop(held);
        assert_eq!(in_flight(), 0);
        handle.set_weight("b", 7);
        assert_eq!(reached(&balance).await, ["b"], "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn shares_follow_a_weight_that_changes() {
    let balance = over(["a", "b"].map(named), RoundRobin);
    assert_eq!(shares(&balance, 40).await["a"], 20);
    assert_eq!(balance.handle().set_weight("a", 3), Some(1));
    assert_eq!(shares(&balance, 40).await["a"], 30);
}

/// Over real sockets, where requests end in whatever order the machine makes of them. The clock stands still, so that all
/// latencies are alike, whatever else the machine does.
#[tokio::test]
async fn shares_are_exact_at_any_concurrency() {
    let _clock = crate::failing::trial::frozen();
    for (policy, weights, clients) in [
        (Policy::default(), [5, 1, 1], 1),
        (Policy::default(), [5, 1, 1], 8),
        (Policy::default(), [3, 2, 1], 8),
        (P2c::in_flight().into(), [3, 2, 1], 8),
        (LeastRequest.into(), [5, 1, 1], 8),
    ] {
        let shares = within(live_shares(&policy, weights, clients)).await;
        let total = f64::from(weights.iter().sum::<u32>());
        for (share, weight) in shares.iter().zip(weights) {
            assert!(
                (share - f64::from(weight) / total).abs() < 0.01,
                "{policy:?}, {clients} at a time: {weights:?} gave {shares:?}"
            );
        }
    }
}

/// Returns the shares of three servers in 2 000 requests, of which `clients` are in flight at a time.
async fn live_shares(policy: &Policy, weights: [u32; 3], clients: usize) -> [f64; 3] {
    const REQUESTS: usize = 2_000;
    let (mut servers, mut specs) = (Vec::new(), Vec::new());
    for weight in weights {
        let app = Router::new().fallback(async || "hello");
        let server = server::app(app).await;
        let spec = EndpointSpec::url(&server.url()).unwrap();
        specs.push(spec.weight(weight).unwrap());
        // The server ends when it is dropped.
        servers.push(server);
    }
    let names: Vec<_> = specs.iter().map(|spec| spec.name().to_string()).collect();
    let builder = LoadBalance::builder().policy(policy.clone()).seed(1);
    let balance = builder.endpoints(specs).unwrap();
    let client = async || {
        let mut counts = [0.0; 3];
        for _ in 0..REQUESTS / clients {
            let response = balance.clone().oneshot(request()).await.unwrap();
            let name = endpoint_of(&response);
            let nth = names.iter().position(|own| *own == name).unwrap();
            counts[nth] += 1.0 / REQUESTS as f64;
            response.into_body().collect().await.unwrap();
        }
        counts
    };
    let counts = join_all((0..clients).map(|_| client())).await;
    [0, 1, 2].map(|nth| counts.iter().map(|counts| counts[nth]).sum())
}

/// A cookie does not lead to an endpoint of weight 0. It does again once the endpoint has a weight.
#[tokio::test(start_paused = true)]
async fn a_weight_of_0_ends_sessions() {
    let balance = over(["a", "b"].map(named), Sticky::cookie("backend").unwrap());
    let cookie = session(&balance, None).await.unwrap();
    let mut request = request();
    let value = cookie.parse().unwrap();
    request.headers_mut().insert("cookie", value);
    let own = endpoint_of(&balance.clone().oneshot(request).await.unwrap());
    let handle = balance.handle();
    handle.set_weight(&own, 0);
    let other = session(&balance, Some(&cookie)).await;
    assert!(other.is_some_and(|other| other != cookie));
    handle.set_weight(&own, 1);
    assert_eq!(session(&balance, Some(&cookie)).await, None);
}

/// A request that could not connect does not go on to an endpoint of weight 0.
#[tokio::test]
async fn a_weight_of_0_stops_other_attempts() {
    let (dead, live) = (server::refusing(), server::canned("").await.0);
    let balance = LoadBalance::new([dead.url(), live.url()]).unwrap();
    let handle = balance.handle();
    assert_eq!(handle.set_weight(&format!("{}/", live.url()), 0), Some(1));
    let error = within(balance.oneshot(request())).await;
    let error = error.map(drop).unwrap_err();
    assert!(error.is_connect());
    assert_eq!(error.endpoint(), Some(dead.url().as_str()));
}

/// A tier in which every endpoint has weight 0 does not count: the next one takes all requests.
#[tokio::test(start_paused = true)]
async fn a_tier_of_weight_0_is_none() {
    let balance = over([named("a"), named("b").priority(1)], RoundRobin);
    assert_eq!(reached(&balance).await, ["a"]);
    balance.handle().set_weight("a", 0);
    assert_eq!(reached(&balance).await, ["b"]);
}
