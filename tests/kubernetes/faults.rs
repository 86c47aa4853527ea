//! An API server that answers with something else.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    follow,
    server::{ApiServer, WatchFault, ready, respond, slice, status},
    service,
    support::{becomes, eventually, failing, fails, names},
};

/// An answer, and what the error says of it.
type Answer = (Box<dyn Fn() -> Response + Send + Sync>, &'static str);

fn text(body: &'static str) -> Response {
    body.into_response()
}

/// A page that is always followed by another one.
fn endless() -> impl Fn() -> Response + Send + Sync {
    let pages = AtomicUsize::new(0);
    move || {
        let next = (pages.fetch_add(1, Relaxed) % 7).to_string();
        respond(
            200,
            &json!({"metadata": {"resourceVersion": "7", "continue": next}, "items": []}),
        )
    }
}

/// A server whose versions expire as soon as a watch of them has begun is in error, and not asked all the time.
#[tokio::test]
async fn what_always_expires_is_an_error() {
    let api = ApiServer::start().await;
    api.put("a", slice(80, json!([ready("10.0.0.1")])));
    let expired = status(410, "Expired", "too old resource version");
    let expired = json!({"type": "ERROR", "object": expired});
    api.begins_watches_by(Some(format!("{expired}\n")));
    let balance = follow(service(&api));
    fails(&balance, "expired as soon as it had begun").await;
    assert_eq!(names(&balance), ["http://10.0.0.1:80"]);
    assert_eq!(api.lists(), 2);
    api.begins_watches_by(None);
    api.put("a", slice(80, json!([ready("10.0.0.2")])));
    becomes(&balance, &["http://10.0.0.2:80"]).await;
}

/// Times of zero are the shortest that are of use, and those without an end the longest.
#[tokio::test]
async fn times_may_be_zero() {
    for time in [Duration::ZERO, Duration::MAX] {
        let api = ApiServer::start().await;
        api.put("a", slice(80, json!([ready("10.0.0.1")])));
        let balance = follow(service(&api).timeout(time).watch_time(time));
        becomes(&balance, &["http://10.0.0.1:80"]).await;
        api.put("a", slice(80, json!([ready("10.0.0.2")])));
        becomes(&balance, &["http://10.0.0.2:80"]).await;
    }
}

/// Whatever a server answers instead of a list, the last set stays, with an error that says so.
#[tokio::test]
async fn what_is_no_list_is_an_error() {
    let denied = || {
        let message =
            "endpointslices is forbidden: User \"system:serviceaccount:default:proxy\" cannot list";
        respond(403, &status(403, "Forbidden", message))
    };
    let answers: Vec<Answer> = vec![
        (
            Box::new(denied),
            "403 Forbidden: endpointslices is forbidden",
        ),
        (Box::new(|| respond(503, &json!("busy"))), "503"),
        (Box::new(|| text("<html>")), "expected value"),
        (
            Box::new(|| text("{\"metadata\": {\"resourceVersion\": \"7\"}, \"items\": [")),
            "EOF",
        ),
        (
            Box::new(|| text("{\"kind\": \"Status\"}")),
            "missing field `metadata`",
        ),
        (
            Box::new(|| text("{\"metadata\": {}, \"items\": []}")),
            "missing field `resourceVersion`",
        ),
        (
            Box::new(|| text("{\"metadata\": {\"resourceVersion\": \"7\"}, \"items\": 7}")),
            "expected a sequence",
        ),
        (
            Box::new(|| {
                text(
                    "{\"metadata\": {\"resourceVersion\": \"7\", \"continue\": \"a b\"}, \"items\": []}",
                )
            }),
            "no valid URL",
        ),
        (
            Box::new(|| {
                text(
                    "{\"metadata\": {\"resourceVersion\": \"7\", \"continue\": \"a\"}, \"items\": []}",
                )
            }),
            "the same page of the list",
        ),
        (Box::new(endless()), "more than 1000 pages"),
        (
            Box::new(|| respond(410, &json!({}))),
            "too old as soon as it is read",
        ),
        (
            Box::new(|| {
                Response::new(Body::from_stream(tokio_stream::pending::<
                    Result<&str, std::io::Error>,
                >()))
            }),
            "no answer within",
        ),
    ];
    let mut tests = JoinSet::new();
    for (answer, why) in answers {
        tests.spawn(async move {
            let api = ApiServer::start().await;
            api.put("a", slice(80, json!([ready("10.0.0.1")])));
            let balance = follow(service(&api).timeout(Duration::from_millis(500)));
            becomes(&balance, &["http://10.0.0.1:80"]).await;
            eventually(|| api.watched().len() == 1).await;
            api.put_unseen("a", slice(80, json!([ready("10.0.0.2")])));
            api.fails(answer);
            api.end_watches(WatchFault::Broken);
            fails(&balance, why).await;
            assert_eq!(names(&balance), ["http://10.0.0.1:80"], "{why}");
            api.recovers();
            becomes(&balance, &["http://10.0.0.2:80"]).await;
            assert_eq!(failing(&balance), None);
        });
    }
    while let Some(test) = tests.join_next().await {
        test.unwrap();
    }
}

/// However a watch ends, the last set stays, and the slices are listed again.
#[tokio::test]
async fn what_is_no_event_is_an_error() {
    let failed = status(500, "InternalError", "etcdserver: no leader");
    let failed = json!({"type": "ERROR", "object": failed});
    let cases = [
        (WatchFault::Broken, "the request failed"),
        (
            WatchFault::Lines("nonsense\n".to_owned()),
            "the request failed",
        ),
        (
            WatchFault::Lines("{\"type\": \"ADDED\"}\n".to_owned()),
            "missing field `object`",
        ),
        (WatchFault::Lines("{\"type\": \"ADD".to_owned()), "cut off"),
        (
            WatchFault::Lines(format!("{failed}\n")),
            "the watch failed: etcdserver: no leader",
        ),
        (
            WatchFault::Lines("\n".to_owned()),
            "ended as soon as it had begun",
        ),
    ];
    let mut tests = JoinSet::new();
    for (fault, why) in cases {
        tests.spawn(async move {
            let api = ApiServer::start().await;
            api.put("a", slice(80, json!([ready("10.0.0.1")])));
            let balance = follow(service(&api));
            becomes(&balance, &["http://10.0.0.1:80"]).await;
            eventually(|| api.watched().len() == 1).await;
            api.put_unseen("a", slice(80, json!([ready("10.0.0.2")])));
            api.end_watches(fault);
            // It has lasted for a moment only, so this is an error, and the server is left alone for another one.
            fails(&balance, why).await;
            assert_eq!(names(&balance), ["http://10.0.0.1:80"], "{why}");
            becomes(&balance, &["http://10.0.0.2:80"]).await;
            assert_eq!((api.lists(), failing(&balance)), (2, None));
        });
    }
    while let Some(test) = tests.join_next().await {
        test.unwrap();
    }
}

/// What this version does not know of is no fault: other types of events, and fields.
#[tokio::test]
async fn what_is_new_is_passed_over() {
    let api = ApiServer::start().await;
    let mut pod = ready("10.0.0.1");
    pod["deviceTaints"] = json!({"a": 1});
    api.put("a", slice(80, json!([pod])));
    let balance = follow(service(&api));
    becomes(&balance, &["http://10.0.0.1:80"]).await;
    eventually(|| api.watched().len() == 1).await;
    let slice = slice(80, json!([ready("10.0.0.2")]));
    let (mut slice, new) = (slice, json!({"type": "SYNCED", "object": {"a": 1}}));
    slice["metadata"] = json!({"name": "b", "resourceVersion": "102"});
    let added = json!({"type": "ADDED", "object": slice});
    api.end_watches(WatchFault::Lines(format!("{new}\n\n{added}\n")));
    becomes(&balance, &["http://10.0.0.1:80", "http://10.0.0.2:80"]).await;
}
