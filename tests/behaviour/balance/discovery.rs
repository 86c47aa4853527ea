//! How a cluster follows its discovery.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock},
    task::Poll,
    time::Duration,
};

use axum_upstream::{
    EndpointSpec, LoadBalance,
    balance::Handle,
    discover::{Change, from_sets},
};
use http::StatusCode;
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    time::Instant,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::ServiceExt;

use super::{Named, named, request, shares};
use crate::support::{eventually, within};

/// Returns the names and weights of the members.
fn members(balance: &LoadBalance<Named>) -> Vec<(String, u32)> {
    let endpoints = balance.handle().endpoints();
    let member = |endpoint: &axum_upstream::balance::EndpointStatus| {
        (endpoint.name.to_string(), endpoint.weight)
    };
    endpoints.iter().map(member).collect()
}

/// A discovery that reports many endpoints one by one changes the set once, and not once per endpoint: each change
/// takes time that grows with the size of the set.
#[tokio::test(start_paused = true)]
async fn changes_that_are_there_together_are_taken_in_together() {
    const ENDPOINTS: usize = 1_000;
    let handle = Arc::new(OnceLock::<Handle<Named>>::new());
    let sizes = Arc::new(Mutex::new(Vec::new()));
    let (seen, told) = (sizes.clone(), handle.clone());
    let mut names = 0..ENDPOINTS;
    let changes = futures_util::stream::poll_fn(move |_| {
        if let Some(handle) = told.get() {
            seen.lock().unwrap().push(handle.endpoints().len());
        }
        let change = names.next().map(|name| {
            let spec = EndpointSpec::new(name.to_string(), Named("x"));
            Ok::<_, Infallible>(Change::Insert(name, spec))
        });
        // After the last one, the stream is pending for good.
        change.map_or(Poll::Pending, |change| Poll::Ready(Some(change)))
    });
    let balance = LoadBalance::from_discover(changes).unwrap();
    handle.set(balance.handle()).ok().unwrap();
    let waiting = balance.clone().oneshot(request());
    assert_eq!(waiting.await.unwrap().status(), StatusCode::OK);
    assert_eq!(members(&balance).len(), ENDPOINTS);
    let mut sizes = sizes.lock().unwrap().clone();
    assert!(
        sizes.len() > ENDPOINTS,
        "it was asked until there was no more"
    );
    sizes.dedup();
    assert_eq!(sizes, [0, ENDPOINTS]);
}

/// A tokio channel yields 128 messages before the task's cooperative budget is used up. The driver is not bound by
/// that.
#[tokio::test(start_paused = true)]
async fn a_channel_that_is_full_is_taken_in_together() {
    let (feed, balance) = super::discovered();
    let names = (0..1_000).map(|name: u32| name.to_string().leak());
    for (key, name) in (0..).zip(names) {
        feed.send(Ok(Change::Insert(key, named(name)))).unwrap();
    }
    balance.clone().oneshot(request()).await.unwrap();
    assert_eq!(members(&balance).len(), 1_000);
}

/// As `LoadBalance::from_discover(..)?.oneshot(request)`: nothing but the request is left of the balancer.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_keeps_discovery_going() {
    let (feed, balance) = super::discovered();
    let waiting = tokio::spawn(balance.oneshot(request()));
    tokio::time::advance(Duration::from_millis(10)).await;
    feed.send(Ok(Change::Insert(0, named("a")))).unwrap();
    let response = waiting.await.unwrap().unwrap();
    assert_eq!(super::endpoint_of(&response), "a");
}

type Sets = UnboundedSender<Vec<EndpointSpec<Named>>>;

fn by_sets() -> (Sets, LoadBalance<Named>) {
    let (sets, stream) = mpsc::unbounded_channel();
    let discover = from_sets(UnboundedReceiverStream::new(stream));
    (sets, LoadBalance::from_discover(discover).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_set_replaces_the_one_before() {
    let (sets, balance) = by_sets();
    sets.send(vec![named("a"), named("b")]).unwrap();
    eventually(|| members(&balance) == [("a".into(), 1), ("b".into(), 1)]).await;
    let held = balance.clone().oneshot(request()).await.unwrap();
    let busy = super::endpoint_of(&held);

    // One endpoint leaves, one is added, and the other, with a response in flight, gets another weight.
    let busy: &'static str = if busy == "a" { "a" } else { "b" };
    let new = named(busy).weight(3).unwrap();
    sets.send(vec![named("c"), named(busy), new]).unwrap();
    let expected = [(busy.to_owned(), 3), ("c".to_owned(), 1)];
    eventually(|| members(&balance) == expected).await;
    let busy = balance.handle().endpoints().swap_remove(0);
    assert_eq!(busy.in_flight, 1, "it is the same endpoint");
    drop(held);

    sets.send(Vec::new()).unwrap();
    eventually(|| members(&balance).is_empty()).await;
    drop(sets);
}

/// What a `Handle` has changed holds until a set says otherwise.
#[tokio::test(start_paused = true)]
async fn a_set_that_is_the_same_changes_nothing() {
    let (sets, balance) = by_sets();
    sets.send(vec![named("a"), named("b")]).unwrap();
    eventually(|| members(&balance).len() == 2).await;
    assert_eq!(balance.handle().set_weight("a", 0), Some(1));
    sets.send(vec![named("b"), named("a")]).unwrap();
    sets.send(vec![named("b"), named("a"), named("c")]).unwrap();
    eventually(|| members(&balance).len() == 3).await;
    assert_eq!(members(&balance)[0], ("a".to_owned(), 0));
    assert!(!shares(&balance, 20).await.contains_key("a"));
    sets.send(vec![named("a").weight(2).unwrap()]).unwrap();
    eventually(|| members(&balance) == [("a".to_owned(), 2)]).await;
    assert_eq!(shares(&balance, 20).await["a"], 20);
}

/// An empty set is a report, so requests do not wait for another one.
#[tokio::test(start_paused = true)]
async fn an_empty_set_is_not_waited_for() {
    let (sets, balance) = by_sets();
    let start = Instant::now();
    let waiting = tokio::spawn(balance.clone().oneshot(request()));
    tokio::time::advance(Duration::from_millis(10)).await;
    sets.send(Vec::new()).unwrap();
    assert!(waiting.await.unwrap().unwrap_err().is_no_endpoint());
    assert_eq!(start.elapsed(), Duration::from_millis(10));
    let again = balance.clone().oneshot(request()).await;
    assert!(again.unwrap_err().is_no_endpoint());
    assert_eq!(start.elapsed(), Duration::from_millis(10));
}

/// A source that is down is asked less and less often, and at once as often as ever after it has answered.
#[tokio::test(start_paused = true)]
async fn a_discovery_that_fails_is_left_alone_for_longer_and_longer() {
    let polls = Arc::new(Mutex::new(Vec::new()));
    let seen = polls.clone();
    let start = Instant::now();
    let changes = futures_util::stream::poll_fn(move |_| {
        let mut seen = seen.lock().unwrap();
        seen.push(start.elapsed().as_secs_f64());
        Poll::Ready(Some(match seen.len() {
            5 => Ok(Change::Insert(1, named("a"))),
            _ => Err("down"),
        }))
    });
    let _balance = LoadBalance::from_discover(changes).unwrap();
    eventually_in_time(|| polls.lock().unwrap().len() >= 8).await;
    let polls = polls.lock().unwrap().clone();
    let pauses: Vec<_> = polls.windows(2).map(|polls| polls[1] - polls[0]).collect();
    // The fifth poll succeeds, and the sixth follows at once.
    let bounds = [1.0, 2.0, 4.0, 8.0, 0.0, 1.0, 2.0];
    for (pause, bound) in pauses.iter().zip(bounds) {
        assert!((bound / 2.0..=bound + 0.01).contains(pause), "{pauses:?}");
    }
}

/// Waits for what comes to be as time passes.
async fn eventually_in_time(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}
