//! What all policies have in common, and what each of them promises.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    task::Waker,
    time::Duration,
};

use http::{HeaderName, Request};

use super::*;
use crate::endpoint::{EndpointSpec, Latency, Outcome, Peers};

/// A cluster without the way to it.
struct Cluster {
    policy: Policy,
    picker: Box<dyn Picker<()>>,
    members: Vec<Arc<Endpoint<()>>>,
    peers: Arc<Peers>,
}

impl Cluster {
    fn new(policy: impl Into<Policy>, weights: &[u32]) -> Self {
        let policy = policy.into();
        let picker = policy.picker(Means { rng: fastrand::Rng::with_seed(1), waker: Waker::noop().clone() });
        let mut cluster = Self { policy, picker, members: Vec::new(), peers: Arc::default() };
        for weight in weights {
            let spec = EndpointSpec::new(cluster.members.len().to_string(), ());
            cluster.add(spec.weight(*weight).unwrap());
        }
        cluster
    }

    fn add(&mut self, spec: EndpointSpec<()>) {
        self.members.push(Arc::new(Endpoint::new(spec, &self.peers, Arc::<Latency>::default())));
        self.picker.update(&self.members);
    }

    fn remove(&mut self, nth: usize) -> Arc<Endpoint<()>> {
        let gone = self.members.remove(nth);
        self.picker.update(&self.members);
        gone
    }

    fn pick_for(&self, tried: &[Arc<Endpoint<()>>], request: &Request<Body>) -> Option<Picked<()>> {
        self.peers.tick(&self.members);
        self.picker.pick(&self.members, &Ask { tried, affinity: self.policy.affinity(request) })
    }

    fn pick(&self, tried: &[Arc<Endpoint<()>>]) -> Option<Picked<()>> {
        self.pick_for(tried, &Request::new(Body::empty()))
    }

    /// Names of `n` picks, one at a time, as one string.
    fn names(&self, n: usize) -> String {
        (0..n).map(|_| self.pick(&[]).unwrap().endpoint.name().to_string()).collect()
    }

    /// How often each was picked of 20 000 times, with twice as many in flight as there is weight, so that load and
    /// not the turn decides.
    fn shares(&self) -> Vec<f64> {
        let total: u32 = self.members.iter().map(|member| member.weight()).sum();
        let mut counts = vec![0.0; self.members.len()];
        let mut busy = VecDeque::new();
        for _ in 0..20_000 {
            let picked = self.pick(&[]).unwrap();
            counts[picked.endpoint.name().parse::<usize>().unwrap()] += 1.0 / 20_000.0;
            busy.push_back(picked);
            if busy.len() > 2 * total as usize {
                busy.pop_front();
            }
        }
        counts
    }
}

fn all() -> Vec<Policy> {
    vec![
        P2c::new().into(),
        P2c::in_flight().into(),
        P2c::reported().into(),
        RoundRobin.into(),
        LeastRequest.into(),
        Random.into(),
        ConsistentHash::header(KEY).into(),
        ConsistentHash::header(KEY).bounded_load(1.25).into(),
        Sticky::cookie("backend").unwrap().into(),
    ]
}

const KEY: HeaderName = HeaderName::from_static("x-key");

fn keyed(key: usize) -> Request<Body> {
    Request::get("/").header(KEY, key).body(Body::empty()).unwrap()
}

#[test]
fn tried_ones_are_not_picked_again() {
    for policy in all() {
        let cluster = Cluster::new(policy.clone(), &[1; 10]);
        let mut tried = Vec::new();
        while let Some(picked) = cluster.pick_for(&tried, &keyed(7)) {
            tried.push(picked.endpoint);
        }
        assert_eq!(tried.len(), 10, "{policy:?}");
    }
}

/// S26: after the update that removed it, nobody gets it, and nothing keeps it.
#[test]
fn what_left_is_neither_picked_nor_kept() {
    for policy in all() {
        let mut cluster = Cluster::new(policy.clone(), &[1, 4, 1]);
        for n in 0..50 {
            let gone = cluster.remove(n % 3);
            let name = gone.name().clone();
            assert!((0..20).all(|key| *cluster.pick_for(&[], &keyed(key)).unwrap().endpoint.name() != name));
            assert_eq!(Arc::strong_count(&gone), 1, "{policy:?} keeps {gone:?}");
            cluster.add(EndpointSpec::new(name, ()));
        }
        while !cluster.members.is_empty() {
            cluster.remove(0);
        }
        assert!(cluster.pick(&[]).is_none());
    }
}

#[test]
fn shares_follow_weights() {
    let weighted = |policy: &Policy| !matches!(policy, Policy::ConsistentHash(_));
    for policy in all().into_iter().filter(weighted) {
        for weights in [&[1, 1, 1][..], &[5, 1, 1], &[10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[100, 100, 1]] {
            let total: u32 = weights.iter().sum();
            let shares = Cluster::new(policy.clone(), weights).shares();
            for (weight, share) in weights.iter().zip(&shares) {
                let fair = f64::from(*weight) / f64::from(total);
                assert!((share / fair - 1.0).abs() < 0.25, "{policy:?}: {weights:?} gave {shares:?}");
            }
        }
    }
}

/// Who asked to be left alone is, as long as there is another; when more than half ask, all are used.
#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured() {
    for policy in all() {
        let cluster = Cluster::new(policy.clone(), &[1, 1, 1, 1]);
        let Picked { endpoint: away, mut in_flight } = cluster.pick(&[]).unwrap();
        in_flight.answered(Outcome::Failure { retry_after: Some(Duration::from_secs(30)) });
        drop(in_flight);
        let share = || {
            let is_away = |key| *cluster.pick_for(&[], &keyed(key)).unwrap().endpoint.name() == *away.name();
            (0..200).filter(|key| is_away(*key)).count()
        };
        assert_eq!(share(), 0, "{policy:?}");
        tokio::time::advance(Duration::from_secs(31)).await;
        // What latency and failures make of it takes a while to be forgotten.
        if !matches!(policy, Policy::P2c(_) | Policy::Sticky(_)) {
            assert!(share() > 0, "{policy:?} does not use it again");
        }
    }
}

/// S23, as nginx has it.
#[test]
fn round_robin_is_smooth_and_exact() {
    assert_eq!(Cluster::new(RoundRobin, &[5, 1, 1]).names(14), "00102000010200");
    let hundred = Cluster::new(RoundRobin, &[100, 1]).names(101 * 3);
    assert_eq!(hundred.matches('1').count(), 3);
}

/// S13, and the turns that two idle endpoints take.
#[test]
fn one_at_a_time_goes_round() {
    for policy in [Policy::from(P2c::new()), P2c::in_flight().into(), LeastRequest.into()] {
        assert!(["010101", "101010"].contains(&&*Cluster::new(policy.clone(), &[1, 1]).names(6)));
        let heavy = Cluster::new(policy.clone(), &[5, 1]).names(600);
        assert!(heavy.matches('1').count().abs_diff(100) <= 10, "{policy:?}: {heavy}");
        for n in 3..=10 {
            let cluster = Cluster::new(policy.clone(), &vec![1; n]);
            let mut counts = BTreeMap::<_, usize>::new();
            for _ in 0..1_000 {
                *counts.entry(cluster.pick(&[]).unwrap().endpoint.name().clone()).or_default() += 1;
            }
            let most = *counts.values().max().unwrap() as f64;
            assert!(most / (1_000.0 / n as f64) <= 1.05, "{policy:?}: {counts:?}");
        }
    }
}

/// S24: of a hundred endpoints one leaves; only its keys move, and they go everywhere.
#[test]
fn consistent_hash_moves_only_the_keys_of_who_left() {
    const KEYS: usize = 20_000;
    let mut cluster = Cluster::new(ConsistentHash::header(KEY), &[1; 100]);
    let owners = |cluster: &Cluster| -> Vec<_> {
        (0..KEYS).map(|key| cluster.pick_for(&[], &keyed(key)).unwrap().endpoint.name().clone()).collect()
    };
    let before = owners(&cluster);
    assert_eq!(before, owners(&cluster), "the same key, the same endpoint");
    let gone = cluster.remove(42).name().clone();
    let after = owners(&cluster);
    let moved: Vec<_> = before.iter().zip(&after).filter(|(before, after)| before != after).collect();
    assert!(moved.iter().all(|(before, _)| **before == gone));
    assert!(moved.len() as f64 / KEYS as f64 <= 1.1 / 100.0, "{} keys moved", moved.len());
    let mut heirs = BTreeMap::<_, usize>::new();
    moved.iter().for_each(|(_, after)| *heirs.entry((*after).clone()).or_default() += 1);
    assert!(heirs.len() > 60 && *heirs.values().max().unwrap() < 15, "{heirs:?}");
}

#[test]
fn consistent_hash_honours_weights() {
    let cluster = Cluster::new(ConsistentHash::header(KEY), &[1, 2]);
    let of_heavy =
        (0..30_000).filter(|key| &**cluster.pick_for(&[], &keyed(*key)).unwrap().endpoint.name() == "1");
    let share = of_heavy.count() as f64 / 30_000.0;
    assert!((share - 2.0 / 3.0).abs() < 0.01, "{share}");
}

/// S24: one hot key does not make one hot endpoint.
#[test]
fn consistent_hash_bounds_the_load() {
    let cluster = Cluster::new(ConsistentHash::header(KEY).bounded_load(1.25), &[1; 10]);
    let mut busy = Vec::new();
    for n in 0..1_000 {
        // Nine of ten requests have the same key.
        busy.push(cluster.pick_for(&[], &keyed(if n % 10 == 0 { n } else { 0 })).unwrap());
    }
    let most = cluster.members.iter().map(|member| member.load().in_flight()).max().unwrap();
    assert!(most <= 125, "{most} of 1000 in flight at one of ten");
}

#[test]
fn keys_come_from_where_they_should() {
    let request = Request::get("/a/b?c")
        .header("x-key", "1")
        .header("cookie", "other=2; session=3")
        .header("x-forwarded-for", "192.0.2.1, 10.0.0.1")
        .body(Body::empty())
        .unwrap();
    let of = |bytes: &[u8]| {
        ConsistentHash::by({
            let bytes = bytes.to_vec();
            move |_| Some(bytes.clone())
        })
        .key(&request)
    };
    assert_eq!(ConsistentHash::header(KEY).key(&request), of(b"1"));
    assert_eq!(ConsistentHash::cookie("session").key(&request), of(b"3"));
    assert_eq!(ConsistentHash::client_addr().key(&request), of(b"192.0.2.1"));
    assert_eq!(ConsistentHash::path().key(&request), of(b"/a/b"));
    let bare = Request::new(Body::empty());
    assert!(ConsistentHash::header(KEY).key(&bare).is_none());
    assert!(ConsistentHash::cookie("session").key(&bare).is_none());
    assert!(ConsistentHash::client_addr().key(&bare).is_none());
}

/// The hash must not change from version to version: proxies of two versions stand before one set of caches.
#[test]
fn the_choices_are_the_same_in_every_process() {
    let cluster = Cluster::new(ConsistentHash::header(KEY), &[1; 10]);
    let choices: String =
        (0..20).map(|key| cluster.pick_for(&[], &keyed(key)).unwrap().endpoint.name().to_string()).collect();
    assert_eq!(choices, "23750323988127182648");
}

#[test]
fn reported_load_decides() {
    struct Gauge(f64);
    impl tower::load::Load for Gauge {
        type Metric = f64;
        fn load(&self) -> f64 {
            self.0
        }
    }
    let mut cluster = Cluster::new(P2c::reported(), &[]);
    for (name, load) in [("0", 3.0), ("1", 1.0), ("2", 2.0)] {
        cluster.add(EndpointSpec::new(name, ()).load(Gauge(load)));
    }
    let picks = cluster.names(300);
    assert_eq!(picks.matches('0').count(), 0);
    assert!(picks.matches('1').count() > picks.matches('2').count());
}

/// S28 end to end: half of the first tier asks to be left alone.
#[tokio::test(start_paused = true)]
async fn the_next_tier_takes_what_the_first_cannot() {
    let mut cluster = Cluster::new(RoundRobin, &[1; 10]);
    for name in 10..20 {
        cluster.add(EndpointSpec::new(name.to_string(), ()).priority(1));
    }
    let second = |cluster: &Cluster| {
        let is_second = |_: &i32| cluster.pick(&[]).unwrap().endpoint.priority() == 1;
        (0..10_000).filter(is_second).count() as f64 / 10_000.0
    };
    assert_eq!(second(&cluster), 0.0);
    for member in &cluster.members[..5] {
        let retry_after = Some(Duration::from_secs(30));
        member.start().answered(Outcome::Failure { retry_after });
    }
    assert!((second(&cluster) - 0.3).abs() < 0.02, "{}", second(&cluster));
}

mod sticky {
    use http::Response;

    use super::*;

    fn with_cookie(cookie: &str) -> Request<Body> {
        let request = Request::get("/").header("cookie", format!("a=b; {cookie}; c=d"));
        request.header("x-forwarded-proto", "https").body(Body::empty()).unwrap()
    }

    /// The cookie a client gets that sends this request, and the endpoint.
    fn visit(cluster: &Cluster, request: &Request<Body>) -> (Option<String>, Arc<str>) {
        let endpoint = cluster.pick_for(&[], request).unwrap().endpoint.name().clone();
        let mut response = Response::new(());
        cluster.policy.mark(&mut response, cluster.policy.affinity(request), &endpoint);
        let set = response.headers().get("set-cookie").map(|value| value.to_str().unwrap().to_owned());
        (set, endpoint)
    }

    #[test]
    fn a_client_comes_back_to_its_endpoint() {
        let mut cluster = Cluster::new(Sticky::cookie("backend").unwrap(), &[1; 10]);
        let (set, first) = visit(&cluster, &with_cookie("x=y"));
        let set = set.unwrap();
        let (pair, attributes) = set.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax; Secure");
        for _ in 0..20 {
            assert_eq!(visit(&cluster, &with_cookie(pair)), (None, first.clone()), "no new cookie, either");
        }
        let at = cluster.members.iter().position(|member| *member.name() == first).unwrap();
        cluster.remove(at);
        let (set, second) = visit(&cluster, &with_cookie(pair));
        assert!(second != first && set.is_some(), "its endpoint is gone: another, and a new cookie");
    }

    #[test]
    fn the_cookie_reveals_nothing_and_cannot_be_made_up() {
        let cluster = Cluster::new(Sticky::cookie("backend").unwrap(), &[1; 3]);
        for forged in ["backend=0", "backend=", "backend=zzz", "backend=00000000000000000000000000000001"] {
            assert!(visit(&cluster, &with_cookie(forged)).0.is_some(), "{forged}");
        }
        let other = Cluster::new(Sticky::cookie("backend").unwrap(), &[1; 3]);
        let cookie = visit(&cluster, &with_cookie("x=y")).0.unwrap();
        let pair = cookie.split(';').next().unwrap();
        assert!(visit(&other, &with_cookie(pair)).0.is_some(), "another process has another key");
    }

    #[test]
    fn attributes_follow_the_settings() {
        let attributes = |sticky: Sticky, proto: &str| {
            let request = Request::get("/").header("x-forwarded-proto", proto).body(Body::empty()).unwrap();
            let cookie = visit(&Cluster::new(sticky, &[1]), &request).0.unwrap();
            cookie.split_once("; ").unwrap().1.to_owned()
        };
        let sticky = || Sticky::cookie("backend").unwrap();
        assert_eq!(attributes(sticky(), "http"), "Path=/; HttpOnly; SameSite=Lax");
        let none = || sticky().same_site(SameSite::None);
        assert_eq!(attributes(none(), "https"), "Path=/; HttpOnly; SameSite=None; Secure");
        assert_eq!(
            attributes(none(), "http"),
            "Path=/; HttpOnly; SameSite=Lax",
            "None without Secure is dropped"
        );
        assert!(Sticky::cookie("no name").unwrap_err().to_string().contains("sticky cookie"));
    }
}
