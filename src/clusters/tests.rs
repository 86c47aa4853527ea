use std::{convert::Infallible, future::pending, pin::pin};

use bytes::Bytes;
use futures_util::{FutureExt, poll};
use http::{Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_test::mock;

use super::*;
use crate::error::{Error, ErrorKind};

type Echo = BoxCloneSyncService<Request<()>, Response<Full<Bytes>>, Infallible>;

/// A service that answers with its name.
fn echo(name: &'static str) -> Echo {
    BoxCloneSyncService::new(service_fn(move |_| async move {
        Ok(Response::new(Full::from(name)))
    }))
}

fn host(head: &Parts) -> Option<std::borrow::Cow<'_, str>> {
    Some(head.headers.get("x-tenant")?.to_str().ok()?.into())
}

fn request(tenant: &str) -> Request<()> {
    Request::get("/")
        .header("x-tenant", tenant)
        .body(())
        .unwrap()
}

#[tokio::test]
async fn clusters_come_and_go() {
    let clusters = Clusters::new();
    let select = clusters.select(host);
    let ask = async |tenant: &str| {
        let response = select.clone().oneshot(request(tenant)).await;
        match response {
            Ok(response) => response.into_body().collect().await.unwrap().to_bytes(),
            Err(error) => {
                let error = error.downcast::<Error>().unwrap();
                assert_eq!(error.kind(), ErrorKind::NoCluster);
                assert_eq!(error.status(), StatusCode::NOT_FOUND);
                "none".into()
            }
        }
    };
    assert_eq!(ask("blue").await, "none");
    assert!(clusters.insert("blue", echo("one")).is_none());
    assert!(clusters.insert("green", echo("two")).is_none());
    assert_eq!(
        (ask("blue").await, ask("green").await),
        ("one".into(), "two".into())
    );
    assert_eq!(ask("Blue").await, "none");
    assert!(clusters.insert("blue", echo("three")).is_some());
    assert_eq!(ask("blue").await, "three");
    assert!(clusters.remove("blue").is_some() && clusters.remove("blue").is_none());
    assert_eq!(ask("blue").await, "none");
    assert!(clusters.contains("green") && !clusters.contains("blue"));
    assert_eq!(clusters.names(), ["green".into()]);
    assert!(clusters.get("green").is_some() && clusters.get("blue").is_none());

    // Whatever requests name, the map stays.
    for n in 0..100 {
        assert_eq!(ask(&n.to_string()).await, "none");
    }
    let nameless = select.clone().oneshot(Request::new(())).await;
    assert!(nameless.unwrap_err().downcast::<Error>().is_ok());
    assert_eq!(clusters.names().len(), 1);
}

/// Removal is told when the last byte has been read, and not before.
#[tokio::test]
async fn a_removed_cluster_finishes_what_it_has() {
    let clusters = Clusters::new();
    let (service, mut handle) = mock::pair::<Request<()>, Response<Full<Bytes>>>();
    clusters.insert("blue", service);
    let select = clusters.select(host);
    let mut waiting = pin!(select.clone().oneshot(request("blue")));
    assert!(poll!(&mut waiting).is_pending());
    let (_, respond) = handle.next_request().await.unwrap();
    assert_eq!(clusters.in_flight("blue"), Some(1));

    let removed = clusters.remove("blue").unwrap();
    let mut finished = pin!(removed.finished());
    assert!(poll!(&mut finished).is_pending());
    respond.send_response(Response::new(Full::from("late")));
    let response = waiting.await.unwrap();
    assert!(poll!(&mut finished).is_pending());
    assert_eq!(removed.in_flight(), 1);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "late"
    );
    finished.now_or_never().unwrap();
    assert_eq!(removed.in_flight(), 0);
    // It holds nothing of the service.
    assert!(handle.next_request().await.is_none());
}

#[tokio::test]
async fn a_request_that_is_dropped_is_counted_no_more() {
    let clusters = Clusters::new();
    let hang = |_: Request<()>| pending::<Result<Response<Full<Bytes>>, Infallible>>();
    clusters.insert("a", service_fn(hang));
    let mut future = Box::pin(clusters.select(host).oneshot(request("a")));
    assert!(poll!(&mut future).is_pending());
    assert_eq!(clusters.in_flight("a"), Some(1));
    drop(future);
    assert_eq!(clusters.in_flight("a"), Some(0));

    // Before it is polled, and with a body that is dropped half way.
    clusters.insert("a", service_fn(hang));
    drop(clusters.select(host).call(request("a")));
    assert_eq!(clusters.in_flight("a"), Some(0));
    let clusters = Clusters::new();
    clusters.insert("b", echo("hello"));
    let response = clusters.select(host).oneshot(request("b")).await.unwrap();
    assert_eq!(clusters.in_flight("b"), Some(1));
    drop(response);
    assert_eq!(clusters.in_flight("b"), Some(0));
}

/// Neither an error nor an empty body keeps the count.
#[tokio::test]
async fn errors_and_empty_bodies_end_the_count() {
    let clusters = Clusters::new();
    let (service, mut handle) = mock::pair::<Request<()>, Response<Full<Bytes>>>();
    clusters.insert("a", service);
    for fails in [true, false] {
        let mut waiting = pin!(clusters.select(host).oneshot(request("a")));
        assert!(poll!(&mut waiting).is_pending());
        let (_, respond) = handle.next_request().await.unwrap();
        match fails {
            true => respond.send_error("broken"),
            false => respond.send_response(Response::new(Full::default())),
        }
        let result = waiting.await;
        assert_eq!(result.is_err(), fails);
        assert_eq!(clusters.in_flight("a"), Some(0));
    }
    // The body of a 101 is empty, too, and goes on as a tunnel.
    let mut waiting = pin!(clusters.select(host).oneshot(request("a")));
    assert!(poll!(&mut waiting).is_pending());
    let (_, respond) = handle.next_request().await.unwrap();
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    respond.send_response(response);
    let response = waiting.await.unwrap();
    assert_eq!(clusters.in_flight("a"), Some(1));
    drop(response);
    assert_eq!(clusters.in_flight("a"), Some(0));
}
