//! Services, load measures, hash keys and discoveries are code of the user. It runs while no lock is held, so it may
//! read the cluster that it belongs to, and change it.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use axum_upstream::{
    Body, EndpointSpec, LoadBalance,
    balance::Handle,
    policy::{ConsistentHash, LeastRequest, P2c, Policy, Random, RoundRobin, Sticky},
};
use http::{Request, Response};
use tokio::runtime;
use tower::{Service, ServiceExt, load::Load};

use super::{Named, named, request, shares};

/// A handle to a cluster, for code of the user that is part of it. Empty until the cluster has been built.
struct Known<S>(Arc<OnceLock<Handle<S>>>);

impl<S> Default for Known<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S> Known<S> {
    fn share(&self) -> Self {
        Self(self.0.clone())
    }

    fn set(&self, balance: &LoadBalance<S>) {
        assert!(self.0.set(balance.handle()).is_ok());
    }
}

/// A service that reads and changes its cluster whenever any of its code runs: in calls, clones and drops.
struct Meddler(Known<Meddler>);

thread_local! {
    /// Ends the recursion: the endpoints that a `Meddler` inserts are `Meddler`s, too.
    static MEDDLING: Cell<bool> = const { Cell::new(false) };
}

impl Known<Meddler> {
    fn meddle(&self) {
        if MEDDLING.replace(true) {
            return;
        }
        if let Some(handle) = self.0.get() {
            assert!(!handle.endpoints().is_empty());
            handle.insert(self.spec("guest"));
            handle.insert(self.spec("guest"));
            assert_eq!(handle.set_weight("guest", 0), Some(1));
            handle.remove("guest");
        }
        MEDDLING.set(false);
    }

    fn spec(&self, name: &str) -> EndpointSpec<Meddler> {
        EndpointSpec::new(name, Meddler(self.share())).load(MeddlingLoad(self.share()))
    }
}

impl Clone for Meddler {
    fn clone(&self) -> Self {
        self.0.meddle();
        Self(self.0.share())
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        self.0.meddle();
    }
}

impl Service<Request<Body>> for Meddler {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.meddle();
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        self.0.meddle();
        ready(Ok(Response::new(Body::empty())))
    }
}

struct MeddlingLoad(Known<Meddler>);

impl Load for MeddlingLoad {
    type Metric = f64;

    fn load(&self) -> f64 {
        self.0.meddle();
        0.0
    }
}

impl Drop for MeddlingLoad {
    fn drop(&mut self) {
        self.0.meddle();
    }
}

/// Runs a test that may deadlock on a thread of its own, and fails if it does not end.
fn not_for_ever(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel::<()>();
    let test = thread::spawn(move || {
        test();
        drop(done);
    });
    let timeout = Duration::from_secs(20);
    let stopped = ended.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout);
    assert!(!stopped, "stopped for good");
    test.join().unwrap();
}

fn current_thread() -> runtime::Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

#[test]
fn it_may_change_the_cluster_whenever_it_runs() {
    let known = Known::<Meddler>::default();
    let key = known.share();
    let by_closure = ConsistentHash::by(move |request| {
        key.meddle();
        Some(request.uri().path().into())
    });
    let policies: [Policy; 8] = [
        P2c::new().into(),
        P2c::in_flight().into(),
        P2c::reported().into(),
        RoundRobin.into(),
        LeastRequest.into(),
        Random.into(),
        Sticky::cookie("backend")
            .unwrap()
            .over(P2c::reported())
            .into(),
        by_closure.into(),
    ];
    for policy in policies {
        let is_last = matches!(policy, Policy::ConsistentHash(_));
        let known = match is_last {
            true => known.share(),
            false => Known::default(),
        };
        not_for_ever(move || {
            let specs = ["a", "b", "c"].map(|name| known.spec(name));
            let builder = LoadBalance::builder().policy(policy);
            let balance = builder.endpoints(specs).unwrap();
            known.set(&balance);
            let handle = balance.handle();
            current_thread().block_on(async {
                for _ in 0..20 {
                    balance.clone().oneshot(request()).await.unwrap();
                }
            });
            handle.insert(known.spec("a"));
            handle.replace([
                known.spec("a").weight(2).unwrap(),
                known.spec("c"),
                known.spec("c"),
            ]);
            assert_eq!(handle.set_weight("a", 5), Some(2));
            handle.remove("c");
            assert_eq!(handle.endpoints().len(), 1);
        });
    }
}

/// A `tracing` subscriber is code of the user, too, and tower's balancer logs on each pick.
#[test]
fn a_subscriber_may_change_the_cluster() {
    struct MeddlingSubscriber(Known<Meddler>);
    impl tracing::Subscriber for MeddlingSubscriber {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, _: &tracing::Event<'_>) {
            self.0.meddle();
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }
    not_for_ever(|| {
        let known = Known::<Meddler>::default();
        let subscriber = MeddlingSubscriber(known.share());
        tracing::subscriber::with_default(subscriber, || {
            let specs = ["a", "b", "c"].map(|name| known.spec(name));
            let balance = LoadBalance::builder().endpoints(specs).unwrap();
            known.set(&balance);
            let requests = async {
                for _ in 0..20 {
                    balance.clone().oneshot(request()).await.unwrap();
                }
            };
            current_thread().block_on(requests);
            balance.handle().remove("a");
        });
    });
}

/// A discovery stream may read and change the cluster that it feeds.
#[test]
fn a_discovery_may_change_the_cluster() {
    not_for_ever(|| {
        current_thread().block_on(async {
            let known = Known::<Meddler>::default();
            let meddles = known.share();
            let mut names = ["a", "b", "c"].into_iter();
            let changes = futures_util::stream::poll_fn(move |_| {
                meddles.meddle();
                let change = names
                    .next()
                    .map(|name| tower::discover::Change::Insert(name, meddles.spec(name)));
                Poll::Ready(change.map(Ok::<_, Infallible>))
            });
            let balance = LoadBalance::from_discover(changes).unwrap();
            balance.handle().insert(known.spec("there"));
            known.set(&balance);
            crate::support::eventually(|| balance.handle().endpoints().len() == 4).await;
        });
    });
}

/// A load measure removes the endpoint that it measures. That endpoint is not picked, although it was the cheaper one.
#[tokio::test(start_paused = true)]
async fn an_endpoint_removed_during_the_pick_is_not_picked() {
    struct Leaves(Known<Named>);
    impl Load for Leaves {
        type Metric = f64;
        fn load(&self) -> f64 {
            if let Some(handle) = self.0.0.get() {
                handle.remove("a");
            }
            0.0
        }
    }
    let known = Known::default();
    let specs = [named("a").load(Leaves(known.share())), named("b")];
    let builder = LoadBalance::builder().policy(P2c::reported());
    let balance = builder.endpoints(specs).unwrap();
    known.set(&balance);
    assert_eq!(shares(&balance, 3).await["b"], 3);
    assert_eq!(balance.handle().endpoints().len(), 1);
}

/// A measure of "busy of total" is 0.0 / 0.0 while the total is 0. That NaN has its sign bit set on x86, so in the
/// total order it is less than any number.
#[tokio::test(start_paused = true)]
async fn a_measure_that_is_no_number_attracts_nothing() {
    struct Share(f64, f64);
    impl Load for Share {
        type Metric = f64;
        fn load(&self) -> f64 {
            self.0 / self.1
        }
    }
    let specs = [
        named("a").load(Share(0.0, 0.0)),
        named("b").load(Share(1.0, 10.0)),
        named("c").load(Share(1.0, 10.0)),
    ];
    let builder = LoadBalance::builder().seed(1).policy(P2c::reported());
    let balance = builder.endpoints(specs).unwrap();
    let shares = shares(&balance, 300).await;
    assert_eq!(shares.get("a"), None, "{shares:?}");
}

/// Check 65, S26: under load from several threads, an endpoint that has left and has finished is never called again.
#[test]
fn nothing_reaches_an_endpoint_that_has_finished() {
    #[derive(Clone, Default)]
    struct Mortal(Arc<AtomicBool>);
    impl Service<Request<Body>> for Mortal {
        type Response = Response<Body>;
        type Error = Infallible;
        type Future = Ready<Result<Response<Body>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<Body>) -> Self::Future {
            assert!(!self.0.load(SeqCst), "it has finished");
            ready(Ok(Response::new(Body::empty())))
        }
    }
    const PICKS: usize = 20_000;
    for policy in [
        Policy::from(P2c::new()),
        P2c::reported().into(),
        RoundRobin.into(),
    ] {
        let always = EndpointSpec::new("always", Mortal::default());
        let builder = LoadBalance::builder().policy(policy);
        let balance = builder.endpoints([always]).unwrap();
        let picks = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    current_thread().block_on(async {
                        while picks.fetch_add(1, SeqCst) < PICKS {
                            balance.clone().oneshot(request()).await.unwrap();
                        }
                    });
                });
            }
            let handle = balance.handle();
            current_thread().block_on(async {
                while picks.load(SeqCst) < PICKS {
                    let mortal = Mortal::default();
                    handle.insert(EndpointSpec::new("mortal", mortal.clone()));
                    tokio::task::yield_now().await;
                    let draining = handle.remove("mortal").unwrap();
                    draining.finished().await;
                    mortal.0.store(true, SeqCst);
                }
            });
        });
        assert!(handle_is_idle(&balance.handle()));
    }
}

fn handle_is_idle<S>(handle: &Handle<S>) -> bool {
    handle
        .endpoints()
        .iter()
        .all(|endpoint| endpoint.in_flight == 0)
}
