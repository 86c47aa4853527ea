//! [`ConsistentHash`]: the same endpoint for the same key.
//!
//! The algorithm is weighted rendezvous hashing. Each endpoint has a score for a key, which depends on nothing but the
//! key, the endpoint's name and its weight; the highest score wins. A change of the set therefore moves only the keys
//! of the endpoint that left, or to the one that came. A ring or a Maglev table would make a pick cheaper in large
//! clusters, but has to be built anew on each change, and spreads keys less evenly or moves more of them.
//!
//! Keys and names are hashed by [`hash()`], which is the same in every process and version; [`score`] draws the number.

use std::{fmt, sync::Arc};

use http::{HeaderName, Request};

use super::picker::{Endpoints, PickInfo, Picked, Picker, cheapest};
use crate::{
    body::Body,
    endpoint::Measure,
    hash::{hash, score},
    rewrite::cookie,
};

/// Picks the same endpoint for requests with the same key.
///
/// This is weighted rendezvous hashing (Thaler and Ravishankar 1998; Schindelhauer and Schomaker 2005): each endpoint
/// draws a number from the key and its own name, and the highest wins. When an endpoint leaves, its keys spread over
/// all others and no other key moves; when one is added, it takes its share and nothing else moves. Every process with
/// the same endpoint names makes the same choices, whatever the version of this crate.
///
/// A key moves for as long as its endpoint asks to be left alone, is full by the [bound](Self::bounded_load), or was
/// tried by the same request already: then the endpoint with the next highest number gets it.
///
/// A request without a key goes to the endpoint with the fewest requests in flight. A pick looks at all endpoints, and
/// takes no lock.
///
/// ```
/// use axum_upstream::{LoadBalance, policy::ConsistentHash};
/// use http::HeaderName;
///
/// let by_tenant = ConsistentHash::header(HeaderName::from_static("x-tenant")).bounded_load(1.25);
/// let shards = LoadBalance::builder()
///     .policy(by_tenant)
///     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone)]
pub struct ConsistentHash {
    key: HashKey,
    /// The factor of [`bounded_load`](Self::bounded_load), at least 1. `None` is no bound.
    bound: Option<f64>,
}

/// A closure that makes the key of a request.
type KeyOf = Arc<dyn Fn(&Request<Body>) -> Option<Vec<u8>> + Send + Sync>;

/// Where the key of a request comes from. The constructors of [`ConsistentHash`] document each.
#[derive(Clone)]
enum HashKey {
    Header(HeaderName),
    Cookie(Arc<str>),
    ClientAddr,
    Path,
    Of(KeyOf),
}

impl ConsistentHash {
    /// Hashes by `key`, without a bound.
    fn new(key: HashKey) -> Self {
        Self { key, bound: None }
    }

    /// Hashes by the value of a header field; if there are several lines of it, by the first.
    ///
    /// A client that sets the header itself chooses its endpoint, as far as it can guess the endpoints' names.
    #[must_use]
    pub fn header(name: HeaderName) -> Self {
        Self::new(HashKey::Header(name))
    }

    /// Hashes by the value of a cookie that the application sets. [`Sticky`](super::Sticky) sets one of its own.
    #[must_use]
    pub fn cookie(name: impl Into<Arc<str>>) -> Self {
        Self::new(HashKey::Cookie(name.into()))
    }

    /// Hashes by the client's IP address, as the [`ReverseProxy`](crate::ReverseProxy) in front knows it.
    ///
    /// Behind [trusted peers](crate::ReverseProxy::trusted_peers), that is the last address in `X-Forwarded-For` that
    /// is not one of theirs, so a client cannot choose its hash by what it writes there. Without a `ReverseProxy` in
    /// front, or if that does not know the client's address, requests have no key.
    #[must_use]
    pub fn client_addr() -> Self {
        Self::new(HashKey::ClientAddr)
    }

    /// Hashes by the path, without the query, after the rewrites of the proxy in front and before an endpoint's base
    /// path is added.
    #[must_use]
    pub fn path() -> Self {
        Self::new(HashKey::Path)
    }

    /// Hashes by the bytes that a closure makes of the request. `None` is a request without a key.
    ///
    /// The closure is called once per request, before the first attempt. No lock is held meanwhile.
    #[must_use]
    pub fn by(key: impl Fn(&Request<Body>) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        Self::new(HashKey::Of(Arc::new(key)))
    }

    /// Gives no endpoint more than `factor` times its share of all requests in flight, rounded up; the next endpoint of
    /// the key gets the request instead. Default: no bound.
    ///
    /// Without a bound, one hot key makes one hot endpoint. A lower factor evens out the load and moves more requests
    /// away from the endpoint of their key; 1.25 is a good value (Mirrokni, Thorup and Zadimoghaddam, "Consistent
    /// Hashing with Bounded Loads", 2016). A factor below 1 is taken as 1.
    #[must_use]
    pub fn bounded_load(mut self, factor: f64) -> Self {
        self.bound = Some(factor.max(1.0));
        self
    }

    /// Returns the hash of the request's key, if it has one.
    pub(super) fn key(&self, request: &Request<Body>) -> Option<u128> {
        let headers = request.headers();
        match &self.key {
            HashKey::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            HashKey::Cookie(name) => cookie(headers, name).map(hash),
            HashKey::ClientAddr => {
                // The record of the exchange, which the proxy has filled in. The header fields say what the client
                // wishes.
                let address = request.body().client().address;
                address.map(|address| hash(address.to_string().as_bytes()))
            }
            HashKey::Path => Some(hash(request.uri().path().as_bytes())),
            HashKey::Of(key) => key(request).map(|key| hash(&key)),
        }
    }

    /// Makes a picker over no endpoints yet.
    pub(super) fn picker(&self) -> ConsistentHashPicker {
        ConsistentHashPicker {
            names: Vec::new(),
            bound: self.bound,
        }
    }
}

/// The picker of [`ConsistentHash`] over one set of endpoints.
pub(super) struct ConsistentHashPicker {
    /// The hash of each member's name, in the order of the members, so that a pick hashes no names.
    names: Vec<u64>,
    bound: Option<f64>,
}

impl<S> Picker<S> for ConsistentHashPicker {
    fn updated(self: Arc<Self>, members: &Arc<Endpoints<S>>) -> Arc<dyn Picker<S>> {
        let names = members
            .iter()
            .map(|member| hash(member.name().as_bytes()) as u64);
        Arc::new(Self {
            names: names.collect(),
            bound: self.bound,
        })
    }

    fn pick(&self, members: &Endpoints<S>, info: &PickInfo<'_, S>) -> Option<Picked<S>> {
        let Some(key) = info.affinity.key else {
            let candidates = info.candidates(members).map(|(_, endpoint)| endpoint);
            return cheapest(candidates, Measure::InFlight).map(Picked::start);
        };
        // Requests in flight per unit of weight, with the request at hand. Computed only where there is a bound.
        let mean = || {
            let (mut in_flight, mut weight) = (1.0, 0.0);
            for (_, endpoint) in info.candidates(members) {
                in_flight += endpoint.load().in_flight() as f64;
                weight += f64::from(endpoint.weight());
            }
            in_flight / weight
        };
        let limit = self.bound.map_or(f64::INFINITY, |factor| factor * mean());
        let scored = info.candidates(members).map(|(nth, endpoint)| {
            let weight = f64::from(endpoint.weight());
            // Rounded up, as in the paper, which leaves room for one request at least. If all are full, the score
            // decides.
            let full = endpoint.load().in_flight() as f64 >= (limit * weight).ceil();
            (
                endpoint,
                (!full, score(key as u64, self.names[nth], weight)),
            )
        });
        let best = scored
            .max_by(|(_, (room_a, a)), (_, (room_b, b))| room_a.cmp(room_b).then(a.total_cmp(b)));
        best.map(|(endpoint, _)| Picked::start(endpoint))
    }
}

impl fmt::Debug for ConsistentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match &self.key {
            HashKey::Header(name) => name.as_str(),
            HashKey::Cookie(name) => name,
            HashKey::ClientAddr => "client address",
            HashKey::Path => "path",
            HashKey::Of(_) => "closure",
        };
        f.debug_struct("ConsistentHash")
            .field("key", &key)
            .field("bound", &self.bound)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        super::fixture::{KEY, TestCluster, keyed},
        *,
    };
    use crate::record::{ClientFacts, Record};

    /// S24: one of a hundred endpoints leaves. Only its keys move, and they spread over all others.
    #[test]
    fn consistent_hash_moves_only_the_keys_of_who_left() {
        const KEYS: usize = 20_000;
        let mut cluster = TestCluster::new(ConsistentHash::header(KEY), &[1; 100]);
        let owners = |cluster: &TestCluster| -> Vec<_> {
            (0..KEYS)
                .map(|key| {
                    cluster
                        .pick_for(&[], &keyed(key))
                        .unwrap()
                        .endpoint
                        .name()
                        .clone()
                })
                .collect()
        };
        let before = owners(&cluster);
        assert_eq!(before, owners(&cluster), "the same key, the same endpoint");
        let gone = cluster.remove(42).name().clone();
        let after = owners(&cluster);
        let moved: Vec<_> = before
            .iter()
            .zip(&after)
            .filter(|(before, after)| before != after)
            .collect();
        assert!(moved.iter().all(|(before, _)| **before == gone));
        assert!(
            moved.len() as f64 / KEYS as f64 <= 1.1 / 100.0,
            "{} keys moved",
            moved.len()
        );
        let mut heirs = BTreeMap::<_, usize>::new();
        moved
            .iter()
            .for_each(|(_, after)| *heirs.entry((*after).clone()).or_default() += 1);
        assert!(
            heirs.len() > 60 && *heirs.values().max().unwrap() < 15,
            "{heirs:?}"
        );
    }

    #[test]
    fn consistent_hash_honours_weights() {
        let cluster = TestCluster::new(ConsistentHash::header(KEY), &[1, 2]);
        let of_heavy = (0..30_000)
            .filter(|key| &**cluster.pick_for(&[], &keyed(*key)).unwrap().endpoint.name() == "1");
        let share = of_heavy.count() as f64 / 30_000.0;
        assert!((share - 2.0 / 3.0).abs() < 0.01, "{share}");
    }

    /// S24: one hot key does not make one hot endpoint.
    #[test]
    fn consistent_hash_bounds_the_load() {
        let cluster = TestCluster::new(ConsistentHash::header(KEY).bounded_load(1.25), &[1; 10]);
        let mut busy = Vec::new();
        for n in 0..1_000 {
            // Nine of ten requests have the same key.
            busy.push(
                cluster
                    .pick_for(&[], &keyed(if n % 10 == 0 { n } else { 0 }))
                    .unwrap(),
            );
        }
        let most = cluster
            .members
            .iter()
            .map(|member| member.load().in_flight())
            .max()
            .unwrap();
        assert!(most <= 125, "{most} of 1000 in flight at one of ten");
    }

    #[test]
    fn keys_come_from_where_they_should() {
        let address = Some("192.0.2.1".parse().unwrap());
        let client = ClientFacts {
            address,
            ..ClientFacts::default()
        };
        let request = Request::get("/a/b?c")
            .header("x-key", "1")
            .header("cookie", "other=2; session=3")
            .header("x-forwarded-for", "1.2.3.4, 192.0.2.1")
            .body(Body::empty().with_record(Arc::new(Record::new(client))))
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
        assert_eq!(
            ConsistentHash::client_addr().key(&request),
            of(b"192.0.2.1")
        );
        assert_eq!(ConsistentHash::path().key(&request), of(b"/a/b"));
        let bare = Request::new(Body::empty());
        assert!(ConsistentHash::header(KEY).key(&bare).is_none());
        assert!(ConsistentHash::cookie("session").key(&bare).is_none());
        assert!(ConsistentHash::client_addr().key(&bare).is_none());
    }

    /// The hash must not change from version to version: proxies of two versions stand before one set of caches.
    #[test]
    fn the_choices_are_the_same_in_every_process() {
        let cluster = TestCluster::new(ConsistentHash::header(KEY), &[1; 10]);
        let choices: String = (0..20)
            .map(|key| {
                cluster
                    .pick_for(&[], &keyed(key))
                    .unwrap()
                    .endpoint
                    .name()
                    .to_string()
            })
            .collect();
        assert_eq!(choices, "23750323988127182648");
    }
}
