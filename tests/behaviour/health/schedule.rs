//! Which endpoints are checked, when, and how many at once. In virtual time.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum_upstream::{
    Body, EndpointSpec, HealthCheck, LoadBalance, discover::from_sets, policy::RoundRobin,
};
use http::{Request, Response};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep},
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{Service, ServiceExt};

use super::{is_shut, opened, shut};

/// An endpoint in this process.
#[derive(Clone)]
struct Endpoint {
    name: String,
    world: World,
}

/// What the endpoints of a test share.
#[derive(Clone)]
struct World(Arc<Shared>);

struct Shared {
    /// The status that the checks of each endpoint receive, 200 if there is none here.
    status: Mutex<HashMap<String, u16>>,
    /// How long each check takes.
    takes: watch::Sender<Duration>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    /// When the checks of each endpoint were made.
    checks: BTreeMap<String, Vec<Instant>>,
    /// How many requests of clients each endpoint received.
    requests: BTreeMap<String, usize>,
    /// Checks in progress, and the most that were at once.
    in_progress: usize,
    most: usize,
}

impl World {
    fn new() -> Self {
        Self(Arc::new(Shared {
            status: Mutex::default(),
            takes: watch::Sender::new(Duration::ZERO),
            seen: Mutex::default(),
        }))
    }

    fn endpoint(&self, name: impl Into<String>) -> EndpointSpec<Endpoint> {
        let name = name.into();
        let world = self.clone();
        EndpointSpec::new(name.clone(), Endpoint { name, world })
    }

    fn set_status(&self, name: &str, status: u16) {
        let mut statuses = self.0.status.lock().unwrap();
        statuses.insert(name.to_owned(), status);
    }

    fn checks(&self, name: &str) -> Vec<Instant> {
        let seen = self.0.seen.lock().unwrap();
        seen.checks.get(name).cloned().unwrap_or_default()
    }

    fn requests(&self, name: &str) -> usize {
        let seen = self.0.seen.lock().unwrap();
        seen.requests.get(name).copied().unwrap_or_default()
    }

    fn in_progress(&self) -> usize {
        self.0.seen.lock().unwrap().in_progress
    }
}

/// A check in progress, until it is dropped.
struct InProgress(World);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.0.seen.lock().unwrap().in_progress -= 1;
    }
}

impl Service<Request<Body>> for Endpoint {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Self { name, world } = self.clone();
        let mut seen = world.0.seen.lock().unwrap();
        if request.uri().path() != "/healthz" {
            *seen.requests.entry(name).or_default() += 1;
            return Box::pin(async { Ok(Response::new(Body::empty())) });
        }
        seen.checks
            .entry(name.clone())
            .or_default()
            .push(Instant::now());
        seen.in_progress += 1;
        seen.most = seen.most.max(seen.in_progress);
        drop(seen);
        let in_progress = InProgress(world.clone());
        Box::pin(async move {
            let takes = *world.0.takes.borrow();
            sleep(takes).await;
            drop(in_progress);
            let status = world.0.status.lock().unwrap().get(&name).copied();
            let response = Response::builder().status(status.unwrap_or(200));
            Ok(response.body(Body::empty()).unwrap())
        })
    }
}

fn healthz() -> HealthCheck {
    HealthCheck::http("/healthz").unwrap()
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn over<const N: usize>(
    check: HealthCheck,
    specs: [EndpointSpec<Endpoint>; N],
) -> LoadBalance<Endpoint> {
    LoadBalance::builder()
        .seed(1)
        .policy(RoundRobin)
        .health_check(check)
        .endpoints(specs)
        .unwrap()
}

async fn send(balance: &LoadBalance<Endpoint>, requests: usize) {
    for _ in 0..requests {
        let request = Request::get("/").body(Body::empty()).unwrap();
        balance.clone().oneshot(request).await.unwrap();
    }
}

/// The first check at once, the second within the interval, the others an interval apart, give or take 10 %.
#[tokio::test(start_paused = true)]
async fn checks_are_an_interval_apart() {
    let (world, begun) = (World::new(), Instant::now());
    let _balance = over(healthz(), ["a", "b", "c"].map(|name| world.endpoint(name)));
    sleep(10 * MINUTE).await;
    let mut seconds = Vec::new();
    let mut gaps = Vec::new();
    for name in ["a", "b", "c"] {
        let checks = world.checks(name);
        assert_eq!(checks[0], begun);
        seconds.push(checks[1] - begun);
        assert!(seconds.iter().all(|second| *second <= 15 * SECOND));
        gaps.extend(checks[1..].windows(2).map(|pair| pair[1] - pair[0]));
    }
    seconds.dedup();
    assert_eq!(seconds.len(), 3, "spread: {seconds:?}");
    let (least, most) = (gaps.iter().min().unwrap(), gaps.iter().max().unwrap());
    assert!(*least >= Duration::from_millis(13_499) && *most <= Duration::from_millis(16_502));
    assert!(*most - *least > SECOND, "random: {least:?} to {most:?}");
}

/// The time of a check is part of the interval.
#[tokio::test(start_paused = true)]
async fn slow_checks_are_no_rarer() {
    let world = World::new();
    world.0.takes.send_replace(5 * SECOND);
    let _balance = over(healthz(), [world.endpoint("a")]);
    sleep(20 * MINUTE).await;
    let checks = world.checks("a").len();
    assert!((75..=85).contains(&checks), "{checks}");
}

/// Two failures in a row shut, three passes in a row open.
#[tokio::test(start_paused = true)]
async fn thresholds_apply_both_ways() {
    let world = World::new();
    let check = healthz().healthy_after(3).unwrap();
    let balance = over(check, [world.endpoint("a"), world.endpoint("b")]);
    let handle = balance.handle();
    sleep(MINUTE).await;
    for (status, needed) in [(503, 2), (200, 3), (404, 2)] {
        world.set_status("a", status);
        let was_shut = is_shut(&handle);
        let before = world.checks("a").len();
        while is_shut(&handle) == was_shut {
            sleep(SECOND).await;
        }
        assert_eq!(world.checks("a").len() - before, needed, "for {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shut_endpoint_gets_no_requests() {
    let world = World::new();
    world.set_status("a", 500);
    let balance = over(healthz(), ["a", "b"].map(|name| world.endpoint(name)));
    send(&balance, 10).await;
    assert_eq!(world.requests("a"), 5, "one failure is not enough");
    sleep(MINUTE).await;
    send(&balance, 10).await;
    assert_eq!((world.requests("a"), world.requests("b")), (5, 15));
    world.set_status("a", 200);
    sleep(MINUTE).await;
    send(&balance, 10).await;
    assert_eq!((world.requests("a"), world.requests("b")), (10, 20));
}

/// No request comes before the first check, not even one that is sent before the prober has run.
#[tokio::test(start_paused = true)]
async fn a_new_endpoint_waits_for_its_first_pass() {
    let world = World::new();
    let check = healthz().required_before_use().healthy_after(5).unwrap();
    let balance = over(check, [world.endpoint("a")]);
    sleep(SECOND).await;
    world.0.takes.send_replace(3 * SECOND);
    world.set_status("b", 503);
    balance.handle().insert(world.endpoint("b"));
    send(&balance, 10).await;
    sleep(MINUTE).await;
    send(&balance, 10).await;
    assert!(world.checks("b").len() > 2);
    assert_eq!((world.requests("a"), world.requests("b")), (20, 0));

    world.set_status("b", 200);
    sleep(MINUTE).await;
    send(&balance, 10).await;
    assert_eq!((world.requests("a"), world.requests("b")), (25, 5));
}

/// An endpoint that has to pass first is not even a last resort, unlike one that has passed before.
#[tokio::test(start_paused = true)]
async fn a_lone_endpoint_waits_for_its_first_pass() {
    let world = World::new();
    world.set_status("a", 503);
    let balance = over(healthz().required_before_use(), [world.endpoint("a")]);
    for _ in 0..2 {
        let request = Request::get("/").body(Body::empty()).unwrap();
        let error = balance.clone().oneshot(request).await.unwrap_err();
        assert!(error.is_no_endpoint(), "{error}");
        sleep(10 * MINUTE).await;
    }
    for status in [200, 503] {
        world.set_status("a", status);
        sleep(MINUTE).await;
        assert_eq!(is_shut(&balance.handle()), status == 503);
        send(&balance, 3).await;
    }
    assert_eq!(world.requests("a"), 6);
}

/// An endpoint that comes is checked at once; one that leaves is not checked any more, in the middle of a check even.
#[tokio::test(start_paused = true)]
async fn checks_follow_the_members() {
    let world = World::new();
    let balance = over(healthz(), [world.endpoint("a")]);
    let handle = balance.handle();
    sleep(MINUTE).await;
    let inserted = Instant::now();
    handle.insert(world.endpoint("b"));
    sleep(MINUTE).await;
    assert_eq!(world.checks("b")[0], inserted);

    world.0.takes.send_replace(9 * SECOND);
    while world.in_progress() < 2 {
        sleep(SECOND).await;
    }
    let before = [world.checks("a").len(), world.checks("b").len()];
    handle.remove("a");
    handle.remove("b");
    sleep(SECOND / 2).await;
    assert_eq!(world.in_progress(), 0, "cancelled");
    sleep(10 * MINUTE).await;
    assert_eq!([world.checks("a").len(), world.checks("b").len()], before);
}

/// An endpoint that is replaced is another one; one with another weight is the same, and keeps its schedule.
#[tokio::test(start_paused = true)]
async fn a_replaced_endpoint_is_checked_anew() {
    let world = World::new();
    let balance = over(
        healthz().interval(Duration::MAX).unwrap(),
        [world.endpoint("a")],
    );
    let handle = balance.handle();
    sleep(SECOND).await;
    handle.set_weight("a", 3);
    sleep(SECOND).await;
    assert_eq!(world.checks("a").len(), 1);
    handle.insert(world.endpoint("a"));
    sleep(SECOND).await;
    assert_eq!(world.checks("a").len(), 2);
}

/// An endpoint without weight is not checked. When it gets one again, its state is found out at once.
#[tokio::test(start_paused = true)]
async fn an_endpoint_of_weight_0_is_not_checked() {
    let world = World::new();
    let check = healthz().unhealthy_after(1).unwrap();
    let balance = over(check, ["a", "b"].map(|name| world.endpoint(name)));
    let handle = balance.handle();
    world.set_status("a", 503);
    shut(&balance).await;
    handle.set_weight("a", 0);
    sleep(MINUTE).await;
    let before = world.checks("a").len();
    sleep(10 * MINUTE).await;
    assert_eq!(world.checks("a").len(), before);

    world.set_status("a", 200);
    handle.set_weight("a", 1);
    assert!(is_shut(&handle), "as it was");
    let back = Instant::now();
    opened(&balance).await;
    assert_eq!(back.elapsed(), Duration::ZERO);
    assert_eq!(world.checks("a").len(), before + 1);
}

/// The endpoints of a discovery are checked, too.
#[tokio::test(start_paused = true)]
async fn discovered_endpoints_are_checked() {
    let world = World::new();
    let (sets, stream) = mpsc::unbounded_channel();
    let discover = from_sets(UnboundedReceiverStream::new(stream));
    let builder = LoadBalance::builder().seed(1).health_check(healthz());
    let balance = builder.discover(discover).unwrap();
    for names in [["a", "b"], ["b", "c"]] {
        let set: Vec<_> = names.map(|name| world.endpoint(name)).into();
        sets.send(set).unwrap();
        sleep(MINUTE).await;
    }
    let checks = ["a", "b", "c"].map(|name| world.checks(name).len());
    assert!(
        checks[0] >= 4 && checks[2] >= 4 && checks[1] >= 8,
        "{checks:?}"
    );
    assert_eq!(balance.handle().endpoints().len(), 2);
}

/// The checks end with the last clone of the balancer, in the middle of a check even. A handle keeps none of them.
#[tokio::test(start_paused = true)]
async fn the_checks_end_with_the_balancer() {
    let world = World::new();
    world.0.takes.send_replace(9 * SECOND);
    let balance = over(healthz(), ["a", "b"].map(|name| world.endpoint(name)));
    let (clone, handle) = (balance.clone(), balance.handle());
    sleep(SECOND).await;
    assert_eq!(world.in_progress(), 2);
    drop(balance);
    sleep(SECOND).await;
    assert_eq!(world.in_progress(), 2, "a clone is left");
    drop(clone);
    sleep(SECOND).await;
    assert_eq!(world.in_progress(), 0);
    handle.insert(world.endpoint("c"));
    sleep(10 * MINUTE).await;
    let checks = ["a", "b", "c"].map(|name| world.checks(name).len());
    assert_eq!(checks, [1, 1, 0]);
}

/// Check 74: side by side, but not all at once.
#[tokio::test(start_paused = true)]
async fn at_most_16_checks_of_a_cluster_are_in_progress() {
    let (world, begun) = (World::new(), Instant::now());
    world.0.takes.send_replace(SECOND);
    let names = (0..1_000).map(|name| world.endpoint(name.to_string()));
    let balance = LoadBalance::builder()
        .seed(1)
        .health_check(healthz().interval(10 * MINUTE).unwrap())
        .endpoints(names)
        .unwrap();
    sleep(62 * SECOND).await;
    {
        let seen = world.0.seen.lock().unwrap();
        assert_eq!((seen.checks.len(), seen.most), (992, 16));
    }
    // Checks are no load, and no client's request waits for them.
    let endpoints = balance.handle().endpoints();
    assert!(endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
    send(&balance, 100).await;
    assert_eq!(begun.elapsed(), 62 * SECOND);
    sleep(MINUTE * 11).await;
    let seen = world.0.seen.lock().unwrap();
    assert_eq!((seen.checks.len(), seen.most), (1_000, 16));
    assert!(seen.checks.values().all(|checks| checks.len() >= 2));
}

/// A panic in a check is a failure of it, and the next check is made all the same.
#[tokio::test(start_paused = true)]
async fn a_panic_does_not_end_the_checks() {
    let world = World::new();
    let broken = Arc::new(Mutex::new(true));
    let breaks = broken.clone();
    let check = healthz().accept(move |head| {
        let broken = *breaks.lock().unwrap();
        assert!(!broken, "a bug in the closure");
        head.status.is_success()
    });
    let balance = over(check.unwrap(), [world.endpoint("a")]);
    sleep(MINUTE).await;
    assert!(is_shut(&balance.handle()));
    *broken.lock().unwrap() = false;
    sleep(MINUTE).await;
    assert!(!is_shut(&balance.handle()));
}

/// There must be a runtime for the task to run on. Without checks, none is needed.
#[test]
fn building_without_a_runtime_is_an_error() {
    let urls = ["http://a"];
    let error = LoadBalance::builder()
        .health_check(healthz())
        .urls(urls)
        .unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("health_check"),
        "{error}"
    );
    assert!(LoadBalance::builder().urls(urls).is_ok());
}
