//! What becomes of pods, and of the server that tells of them.

use std::time::Duration;

use axum_upstream::LoadBalance;
use serde_json::json;

use super::{
    follow,
    server::{ApiServer, WatchFault, ready, slice, status},
    service,
    support::{Load, Servers, becomes, endpoints, eventually, failing, fails},
};

/// The name of an endpoint at port 80.
fn name(nth: u8) -> String {
    format!("http://10.0.0.{nth}:80")
}

/// Waits until these are the endpoints, by the last number of their addresses.
async fn becomes_pods(balance: &LoadBalance, pods: &[u8]) {
    let names: Vec<_> = pods.iter().map(|nth| name(*nth)).collect();
    becomes(balance, &names).await;
}

#[tokio::test]
async fn pods_come_and_go() {
    let api = ApiServer::start().await;
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let balance = follow(service(&api).port("http"));
    becomes_pods(&balance, &[1]).await;
    // Another pod, another slice, in another order.
    api.put(
        "a",
        slice(80, json!([ready("10.0.0.2"), ready("10.0.0.1")])),
    );
    becomes_pods(&balance, &[1, 2]).await;
    api.put("b", slice(80, json!([ready("10.0.0.3")])));
    becomes_pods(&balance, &[1, 2, 3]).await;
    // One is stopped, and one is not ready any more.
    let leaving = json!({"ready": false, "serving": true, "terminating": true});
    let leaving = json!({"addresses": ["10.0.0.1"], "conditions": leaving});
    let unready = json!({"addresses": ["10.0.0.2"], "conditions": {"ready": false}});
    api.put("a", slice(80, json!([leaving, unready])));
    becomes_pods(&balance, &[3]).await;
    // All are stopped, and one of them answers still.
    api.delete("b");
    becomes_pods(&balance, &[1]).await;
    api.put("a", slice(80, json!([unready])));
    becomes_pods(&balance, &[]).await;
    api.put("a", slice(80, json!([ready("10.0.0.4")])));
    becomes_pods(&balance, &[4]).await;
    assert_eq!(failing(&balance), None);
    assert_eq!(api.lists(), 1);
}

/// The watch ends with the cluster, and with nothing else.
#[tokio::test]
async fn a_watch_ends_with_its_cluster() {
    let api = ApiServer::start().await;
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let balance = follow(service(&api));
    becomes_pods(&balance, &[1]).await;
    let clone = balance.clone();
    drop(balance);
    api.put("a", slice(80, json!([ready("10.0.0.2")])));
    becomes_pods(&clone, &[2]).await;
    assert_eq!(api.ongoing(), 1);
    drop(clone);
    eventually(|| api.ongoing() == 0).await;
}

/// Hints for zones become tiers, and the settings of the URL those of all endpoints.
#[tokio::test]
async fn a_zone_is_a_tier() {
    let api = ApiServer::start().await;
    let pod = |ip: &str, zone: &str| {
        let mut pod = ready(ip);
        pod["hints"] = json!({"forZones": [{"name": zone}]});
        pod
    };
    api.put(
        "a",
        slice(80, json!([pod("10.0.0.1", "a"), pod("10.0.0.2", "b")])),
    );
    let source = service(&api).zone("b").url("https://api.example/base");
    let balance = follow(source.unwrap());
    let expected = |tiers: [u8; 2]| {
        let name = |nth: usize| format!("https://10.0.0.{nth}:80/base");
        [(name(1), 1, tiers[0]), (name(2), 1, tiers[1])]
    };
    eventually(|| endpoints(&balance) == expected([1, 0])).await;
    api.put(
        "a",
        slice(80, json!([pod("10.0.0.1", "b"), pod("10.0.0.2", "b")])),
    );
    eventually(|| endpoints(&balance) == expected([0, 0])).await;
}

/// A Service without slices is an error, and one without pods is a statement.
#[tokio::test]
async fn no_slices_are_no_set() {
    let api = ApiServer::start().await;
    let balance = follow(service(&api));
    fails(&balance, "the Service default/api has no EndpointSlices").await;
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    becomes_pods(&balance, &[1]).await;
    let believing = follow(service(&api).allow_empty());
    becomes_pods(&believing, &[1]).await;
    api.delete("a");
    fails(&balance, "has no EndpointSlices").await;
    becomes_pods(&balance, &[1]).await;
    becomes_pods(&believing, &[]).await;
    assert_eq!(failing(&believing), None);
    // As the API server writes a slice without endpoints.
    api.put(
        "a",
        json!({"addressType": "IPv4", "endpoints": null, "ports": null}),
    );
    becomes_pods(&balance, &[]).await;
    assert_eq!(failing(&balance), None);
}

/// A slice that cannot be used does not take the others along.
#[tokio::test]
async fn a_bad_slice_is_skipped() {
    let api = ApiServer::start().await;
    api.put(
        "a",
        json!({"addressType": "Carrier pigeon", "endpoints": []}),
    );
    api.put("b", slice(80, json!([ready("10.0.0.1")])));
    let balance = follow(service(&api).port("http"));
    becomes_pods(&balance, &[1]).await;
    let mut other = slice(80, json!([ready("10.0.0.2")]));
    other["ports"][0]["name"] = "metrics".into();
    api.put("c", other);
    api.put("d", slice(80, json!([ready("10.0.0.3")])));
    becomes_pods(&balance, &[1, 3]).await;
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let api = ApiServer::start().await;
    api.page(3);
    for nth in 0..250_u8 {
        let pod = ready(&format!("10.0.0.{nth}"));
        api.put(&format!("s{nth}"), slice(80, json!([pod])));
    }
    let balance = follow(service(&api));
    eventually(|| endpoints(&balance).len() == 250).await;
    assert_eq!(api.lists(), 1);
    assert_eq!(api.asked().len(), 84 + 1);
}

/// A watch that ends in time is followed by one from where it ended, bookmarks included, and not by a list.
#[tokio::test]
async fn a_watch_goes_on_from_its_version() {
    let api = ApiServer::start().await;
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let first = api.version();
    let balance = follow(service(&api).watch_time(Duration::from_secs(1)));
    becomes_pods(&balance, &[1]).await;
    eventually(|| api.watched().len() == 1).await;
    let success = || balance.status().discovery.unwrap().last_success;
    let last = success();
    api.bookmark();
    let second = api.version();
    eventually(|| success() > last).await;
    eventually(|| api.watched().len() == 2).await;
    assert_eq!(api.watched(), [first, second]);
    api.put("a", slice(80, json!([ready("10.0.0.2")])));
    becomes_pods(&balance, &[2]).await;
    let third = api.version();
    eventually(|| api.watched().len() == 3).await;
    assert_eq!(api.watched()[2], third);
    assert_eq!((api.lists(), failing(&balance)), (1, None));
}

/// If that version is not there any more, the slices are listed again at once.
#[tokio::test]
async fn an_expired_version_is_listed_again() {
    let api = ApiServer::start().await;
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let balance = follow(service(&api).watch_time(Duration::from_secs(1)));
    becomes_pods(&balance, &[1]).await;
    eventually(|| api.watched().len() == 1).await;
    // By the status of a watch that is to go on.
    api.put_unseen("a", slice(80, json!([ready("10.0.0.2")])));
    api.forget();
    becomes_pods(&balance, &[2]).await;
    assert_eq!(api.lists(), 2);
    // By an event of one that goes on.
    api.put_unseen("a", slice(80, json!([ready("10.0.0.3")])));
    let gone = status(410, "Expired", "too old resource version");
    let gone = json!({"type": "ERROR", "object": gone});
    eventually(|| api.watched().len() >= 3).await;
    api.end_watches(WatchFault::Lines(format!("{gone}\n")));
    becomes_pods(&balance, &[3]).await;
    assert_eq!((api.lists(), failing(&balance)), (3, None));
}

/// No request is lost while pods change, and while the API server is killed and started again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_go_on_whatever_becomes_of_the_server() {
    let mut api = ApiServer::start().await;
    let servers = Servers::start(3).await;
    let urls = &servers.urls;
    // Each has a port of its own, and so a slice.
    let put = |api: &ApiServer, nth: usize| {
        let port = urls[nth].rsplit(':').next().unwrap().parse().unwrap();
        api.put(&format!("s{nth}"), slice(port, json!([ready("127.0.0.1")])));
    };
    put(&api, 0);
    let balance = follow(service(&api));
    becomes(&balance, &urls[..1]).await;
    let load = Load::start(&balance);
    for _ in 0..3 {
        put(&api, 1);
        api.delete("s0");
        becomes(&balance, &urls[1..2]).await;
        put(&api, 2);
        becomes(&balance, &urls[1..]).await;
        load.go_on(50).await;
        api.kill();
        fails(&balance, "connect failed").await;
        load.go_on(50).await;
        // While nobody is told.
        put(&api, 0);
        api.delete("s1");
        api.delete("s2");
        api.start_again().await;
        becomes(&balance, &urls[..1]).await;
        eventually(|| failing(&balance).is_none()).await;
    }
    load.stop().await;
}
