use std::{collections::BTreeMap, convert::Infallible, future::pending, pin::pin, sync::Arc};

use futures_util::poll;
use http::{HeaderName, Request, Response};
use tower::{ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_test::mock;

use super::*;

type Echo = BoxCloneSyncService<Request<()>, Response<String>, Infallible>;

/// A service that answers with its name.
fn echo(name: &'static str) -> Echo {
    BoxCloneSyncService::new(service_fn(move |_| async move {
        Ok(Response::new(name.to_owned()))
    }))
}

fn split(weights: &[(&'static str, u32)]) -> Split<Echo> {
    let branches = weights
        .iter()
        .map(|(name, weight)| (*name, *weight, echo(name)));
    let split = Split::new(branches).unwrap().seed(7);
    split.by_key(|head| {
        head.headers
            .get("x-user")
            .map(|user| user.as_bytes().to_vec())
    })
}

fn request() -> Request<()> {
    Request::new(())
}

fn with(name: &'static str, value: &str) -> Request<()> {
    Request::get("/").header(name, value).body(()).unwrap()
}

async fn ask(split: &Split<Echo>, request: Request<()>) -> String {
    let response = split.clone().oneshot(request).await.unwrap();
    let branch = response.extensions().get::<SplitBranch>().unwrap();
    assert_eq!(branch.name(), response.body());
    response.into_body()
}

/// The branches of the users 0 to 9999.
async fn of_users(split: &Split<Echo>) -> Vec<String> {
    let mut branches = Vec::new();
    for user in 0..10_000 {
        branches.push(ask(split, with("x-user", &user.to_string())).await);
    }
    branches
}

fn share(branches: &[String], of: &str) -> f64 {
    let count = branches.iter().filter(|branch| *branch == of).count();
    count as f64 / branches.len() as f64
}

#[tokio::test]
async fn requests_are_drawn_by_weight_and_counted() {
    let split = split(&[("a", 1), ("b", 3), ("c", 0)]);
    let mut counts = BTreeMap::<_, u64>::new();
    for _ in 0..4_000 {
        *counts.entry(ask(&split, request()).await).or_default() += 1;
    }
    let share = counts["b"] as f64 / 4_000.0;
    assert!((share - 0.75).abs() < 0.02, "{share}");
    let counted: Vec<_> = split.handle().branches();
    let counted: Vec<_> = counted
        .iter()
        .map(|status| (status.branch.name(), status.weight, status.requests))
        .collect();
    assert_eq!(
        counted,
        [("a", 1, counts["a"]), ("b", 3, counts["b"]), ("c", 0, 0)]
    );
}

#[tokio::test]
async fn the_same_seed_draws_the_same() {
    let draws = || async {
        let split = split(&[("a", 1), ("b", 1)]);
        let mut draws = String::new();
        for _ in 0..50 {
            draws += &ask(&split, request()).await;
        }
        draws
    };
    assert_eq!(draws().await, draws().await);
}

#[tokio::test]
async fn a_key_stays_and_as_few_move_as_can() {
    let split = split(&[("blue", 95), ("green", 5), ("red", 0)]);
    let (handle, before) = (split.handle(), of_users(&split).await);
    assert_eq!(before, of_users(&split).await);
    assert!((share(&before, "green") - 0.05).abs() < 0.01);
    assert_eq!(share(&before, "red"), 0.0);

    handle.set_weights([("blue", 80), ("green", 20)]).unwrap();
    let after = of_users(&split).await;
    assert!((share(&after, "green") - 0.2).abs() < 0.02);
    let moved = before
        .iter()
        .zip(&after)
        .filter(|(before, after)| before != after);
    for (_, after) in moved {
        assert_eq!(after, "green", "nothing moves the other way");
    }

    // Only ratios count.
    handle.set_weights([("blue", 4), ("green", 1)]).unwrap();
    assert_eq!(of_users(&split).await, after);
    // A third one takes its share from both.
    handle.set_weights([("red", 5)]).unwrap();
    let third = of_users(&split).await;
    assert!((share(&third, "red") - 0.5).abs() < 0.02);
    for (before, after) in after.iter().zip(&third) {
        assert!(before == after || after == "red");
    }
}

/// The hash must not change from version to version: proxies of two versions stand before the same users.
#[tokio::test]
async fn keys_have_the_same_branch_in_every_process() {
    let split = split(&[("a", 1), ("b", 1), ("c", 1)]);
    let branches = of_users(&split).await;
    assert_eq!(branches[..20].concat(), "bbbcbbaacbabbcbcaaab");
}

#[tokio::test]
async fn switching_is_one_call() {
    let split = split(&[("blue", 9), ("green", 1)]);
    let handle = split.handle();
    handle.switch_to("green").unwrap();
    for user in 0..100 {
        assert_eq!(ask(&split, request()).await, "green");
        assert_eq!(
            ask(&split, with("x-user", &user.to_string())).await,
            "green"
        );
    }
    handle.switch_to("blue").unwrap();
    assert_eq!(ask(&split, request()).await, "blue");
}

#[tokio::test]
async fn overrides_are_exact_and_reach_a_branch_of_weight_0() {
    let name = HeaderName::from_static("x-branch");
    let split = split(&[("blue", 1), ("green", 0), ("red", 0)])
        .override_by_header(name, "new", "green")
        .unwrap()
        .override_by_cookie("branch", "new", "red")
        .unwrap();
    for (request, branch) in [
        (with("x-branch", "new"), "green"),
        (with("x-branch", "New"), "blue"),
        (with("x-branch", "green"), "blue"),
        (with("x-other", "new"), "blue"),
        (with("cookie", "a=b; branch=new"), "red"),
        (with("cookie", "branch=newer"), "blue"),
        (with("cookie", "xbranch=new"), "blue"),
    ] {
        assert_eq!(ask(&split, request).await, branch);
    }
    let mut both = with("cookie", "branch=new");
    both.headers_mut()
        .insert("x-branch", "new".parse().unwrap());
    both.headers_mut().insert("x-user", "1".parse().unwrap());
    assert_eq!(ask(&split, both).await, "green", "the first that was added");
}

#[test]
fn settings_that_cannot_work_are_named() {
    let new = |branches: &[(&'static str, u32)]| {
        Split::new(branches.iter().map(|(name, weight)| (*name, *weight, ()))).map(drop)
    };
    for branches in [&[][..], &[("a", 0)], &[("a", 1), ("a", 1)]] {
        assert!(new(branches).unwrap_err().is_config());
    }
    let split = || Split::new([("a", 1, ()), ("b", 0, ())]).unwrap();
    let error = split().override_by_cookie("a", "b", "c").unwrap_err();
    assert!(error.to_string().contains("\"c\""), "{error}");
    let handle = split().handle();
    assert!(handle.switch_to("c").is_err());
    assert!(handle.set_weights([("b", 2), ("c", 1)]).is_err());
    assert!(handle.set_weights([("a", 0)]).is_err());
    let weights: Vec<_> = handle
        .branches()
        .iter()
        .map(|branch| branch.weight)
        .collect();
    assert_eq!(weights, [1, 0], "nothing was changed");
}

/// A branch that is not ready delays its own requests only.
#[tokio::test]
async fn a_busy_branch_holds_up_no_other() {
    let (busy, mut busy_handle) = mock::pair::<Request<()>, Response<()>>();
    let (free, mut free_handle) = mock::pair::<Request<()>, Response<()>>();
    busy_handle.allow(0);
    let split = Split::new([("busy", 1, busy), ("free", 0, free)]).unwrap();
    let handle = split.handle();
    let mut waiting = pin!(split.clone().oneshot(request()));
    assert!(poll!(&mut waiting).is_pending());

    handle.switch_to("free").unwrap();
    let mut sent = pin!(split.oneshot(request()));
    assert!(poll!(&mut sent).is_pending());
    let (_, respond) = free_handle.next_request().await.unwrap();
    respond.send_response(Response::new(()));
    assert!(poll!(&mut sent).is_ready());

    busy_handle.allow(1);
    assert!(poll!(&mut waiting).is_pending());
    let (_, respond) = busy_handle.next_request().await.unwrap();
    respond.send_response(Response::new(()));
    let response = waiting.await.unwrap();
    let branch = response.extensions().get::<SplitBranch>().unwrap();
    assert_eq!(branch.to_string(), "busy", "it stays where it was given to");
}

#[tokio::test]
async fn dropping_the_future_drops_that_of_the_branch() {
    let in_flight = Arc::new(());
    let held = in_flight.clone();
    let service = service_fn(move |_: Request<()>| {
        let held = held.clone();
        async move {
            pending::<()>().await;
            drop(held);
            Ok::<_, Infallible>(Response::new(()))
        }
    });
    let split = Split::new([("a", 1, service)]).unwrap();
    let handle = split.handle();
    let mut future = Box::pin(split.clone().oneshot(request()));
    assert!(poll!(&mut future).is_pending());
    let during = Arc::strong_count(&in_flight);
    drop(future);
    assert!(Arc::strong_count(&in_flight) < during);
    assert_eq!(handle.branches()[0].requests, 1);
}
