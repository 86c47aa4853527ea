//! What is left out, and what ends.

use std::{
    future::{pending, ready},
    time::Duration,
};

use http::{Request, Response, header};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};

use super::{super::*, *};

#[tokio::test]
async fn what_is_left_out_is_counted() {
    let (second, seen) = keeping();
    let layer = MirrorLayer::new(second).body_limit(4);
    let mirror = layer.layer(ok());
    let mut upgrade = get();
    upgrade
        .headers_mut()
        .insert(header::UPGRADE, "websocket".parse().unwrap());
    let connect = Request::connect("a:1").body(Body::empty()).unwrap();
    let known = Request::post("/").body("12345".into()).unwrap();
    let found_out = post(vec![data("1234"), data("5")]);
    for request in [upgrade, connect, known, found_out] {
        assert_eq!(ask(&mirror, request).await, "first");
    }
    // A client that fails, and a first one that answers before it has the body.
    let broken = post(vec![data("12"), Err("reset".into())]);
    assert!(mirror.clone().oneshot(broken).await.is_err());
    let early = layer.layer(BoxCloneSyncService::new(service_fn(|_| {
        ready(Answer::Ok(Response::new("first".into())))
    })));
    ask(&early, post(vec![data("12")])).await;
    // One that is never polled.
    drop(mirror.clone().call(get()));
    let stats = settle(&layer.handle()).await;
    let expected = MirrorStats {
        left_out_upgrade: 2,
        left_out_too_large: 2,
        left_out_incomplete: 3,
        ..MirrorStats::default()
    };
    assert_eq!(stats, expected);
    assert!(seen.try_recv().is_err());
    // At the limit.
    ask(&mirror, post(vec![data("12"), data("34")])).await;
    assert_eq!(settle(&layer.handle()).await.sent, 1);
}

#[tokio::test(start_paused = true)]
async fn copies_are_bounded_in_number_and_in_time() {
    let hangs = service_fn(|_: Request<Body>| pending::<Answer>());
    let layer = MirrorLayer::new(hangs)
        .max_in_flight(2)
        .timeout(Duration::from_secs(3));
    let mirror = layer.layer(ok());
    for _ in 0..5 {
        mirror.clone().oneshot(get()).await.unwrap();
    }
    tokio::task::yield_now().await;
    let stats = layer.handle().stats();
    assert_eq!(
        (stats.in_flight, stats.sent, stats.left_out_busy),
        (2, 2, 3)
    );
    tokio::time::sleep(Duration::from_secs(4)).await;
    let stats = layer.handle().stats();
    assert_eq!((stats.in_flight, stats.timed_out), (0, 2));
    mirror.clone().oneshot(get()).await.unwrap();
    assert_eq!(layer.handle().stats().in_flight, 1);
}

#[tokio::test]
async fn tasks_end_with_the_layer_and_its_services() {
    let hangs = service_fn(|_: Request<Body>| pending::<Answer>());
    let layer = MirrorLayer::new(hangs);
    let (handle, mirror) = (layer.handle(), layer.layer(ok()));
    mirror.clone().oneshot(get()).await.unwrap();
    drop(layer);
    tokio::task::yield_now().await;
    assert_eq!(handle.stats().in_flight, 1);
    drop(mirror);
    settle(&handle).await;
}

/// Each request that is chosen is counted, even if its task never gets to the second service.
#[tokio::test]
async fn a_copy_whose_task_ends_early_is_counted() {
    let (second, seen) = keeping();
    let layer = MirrorLayer::new(second).rewrite_request(|_| panic!("on purpose"));
    ask(&layer.layer(ok()), get()).await;
    assert_eq!(settle(&layer.handle()).await.sent, 1);
    let handle = layer.handle();
    ask(&layer.layer(ok()), get()).await;
    drop(layer);
    assert_eq!(settle(&handle).await.sent, 2);
    assert!(seen.try_recv().is_err());
}

#[tokio::test]
async fn a_share_is_drawn_and_a_closure_chooses() {
    let (second, _seen) = keeping();
    let layer = MirrorLayer::new(second.clone())
        .ratio(0.25)
        .unwrap()
        .seed(3);
    let mirror = layer.layer(ok());
    for _ in 0..1000 {
        ask(&mirror, get()).await;
        settle(&layer.handle()).await;
    }
    let sent = layer.handle().stats().sent;
    assert!((200..300).contains(&sent), "{sent}");

    let layer = MirrorLayer::new(second.clone())
        .matching(|head| head.method.is_safe() && head.extensions.get::<u8>().is_some());
    let mirror = layer.layer(ok());
    let mut marked = get();
    marked.extensions_mut().insert(1u8);
    for request in [get(), marked, post(vec![data("a")])] {
        ask(&mirror, request).await;
    }
    let expected = MirrorStats {
        sent: 1,
        answered: 1,
        ..MirrorStats::default()
    };
    assert_eq!(settle(&layer.handle()).await, expected);
    for ratio in [-0.1, 1.1, f64::NAN] {
        assert!(MirrorLayer::new(()).ratio(ratio).unwrap_err().is_config());
    }
    let none = MirrorLayer::new(second).ratio(0.0).unwrap();
    ask(&none.layer(ok()), get()).await;
    assert_eq!(none.handle().stats(), MirrorStats::default());
}
