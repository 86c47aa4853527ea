//! [`Policy`], any one of the policies, and [`Sticky`], which is laid over another one.
//!
//! Both are in one file, because each holds the other. The cookie and the picker of `Sticky` are in
//! [`sticky`](super::sticky).

use std::{str::FromStr, sync::Arc};

use http::{Request, Response};

use super::{
    consistent_hash::ConsistentHash,
    least_request::{LeastRequest, LeastRequestPicker},
    p2c::P2c,
    picker::{Affinity, Picker},
    priority::PriorityPicker,
    random::{Random, RandomPicker},
    round_robin::{RoundRobin, RoundRobinPicker},
    sticky::{SameSite, SessionCookie, StickyPicker},
};
use crate::{body::Body, error::Error};

/// Any one of the policies.
///
/// It is made from each policy by `into()`, or from a name by `parse()`. The default is [`P2c::new`]. See the
/// [module docs](super) for a comparison.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant is the policy of its name")]
pub enum Policy {
    P2c(P2c),
    RoundRobin(RoundRobin),
    LeastRequest(LeastRequest),
    Random(Random),
    ConsistentHash(ConsistentHash),
    Sticky(Sticky),
}

macro_rules! into_policy {
    ($($policy:ident),*) => {$(
        impl From<$policy> for Policy {
            fn from(policy: $policy) -> Self {
                Self::$policy(policy)
            }
        }
    )*};
}

into_policy!(
    P2c,
    RoundRobin,
    LeastRequest,
    Random,
    ConsistentHash,
    Sticky
);

impl Default for Policy {
    fn default() -> Self {
        Self::P2c(P2c::default())
    }
}

impl FromStr for Policy {
    type Err = Error;

    /// Makes a policy with default settings from its name, as in a configuration file:
    ///
    /// | name | policy |
    /// |---|---|
    /// | `p2c` | [`P2c::new`] |
    /// | `p2c-in-flight` | [`P2c::in_flight`] |
    /// | `round-robin` | [`RoundRobin`] |
    /// | `least-request` | [`LeastRequest`] |
    /// | `random` | [`Random`] |
    /// | `hash-ip` | [`ConsistentHash::client_addr`] |
    /// | `sticky` | [`Sticky::cookie`] with the name `backend` |
    ///
    /// Names are case-sensitive.
    ///
    /// # Errors
    ///
    /// A config error for any other name; or, for `sticky`, if the operating system gives no random numbers.
    fn from_str(name: &str) -> Result<Self, Error> {
        Ok(match name {
            "p2c" => P2c::new().into(),
            "p2c-in-flight" => P2c::in_flight().into(),
            "round-robin" => RoundRobin.into(),
            "least-request" => LeastRequest.into(),
            "random" => Random.into(),
            "hash-ip" => ConsistentHash::client_addr().into(),
            "sticky" => Sticky::cookie("backend")?.into(),
            _ => return Err(Error::config("policy", format!("{name:?} is no policy"))),
        })
    }
}

impl Policy {
    /// Makes the picker of a cluster, over no endpoints yet. All of its random choices come from `rng`.
    pub(in crate::balance) fn picker<S: Send + Sync + 'static>(
        &self,
        rng: fastrand::Rng,
    ) -> Arc<dyn Picker<S>> {
        match self {
            // Around the tiers and not in each of them: a client keeps its endpoint even if that is in another tier
            // than the one that is drawn.
            Self::Sticky(sticky) => sticky.picker(rng),
            // Each tier gets a picker of its own.
            other => {
                let other = other.clone();
                let make = Arc::new(move |rng| other.flat(rng));
                Arc::new(PriorityPicker::new(make, rng))
            }
        }
    }

    /// Returns the name from which a policy of this kind is parsed.
    #[cfg(feature = "status")]
    pub(in crate::balance) fn name(&self) -> &'static str {
        match self {
            Self::P2c(p2c) => p2c.name(),
            Self::RoundRobin(_) => "round-robin",
            Self::LeastRequest(_) => "least-request",
            Self::Random(_) => "random",
            Self::ConsistentHash(_) => "hash",
            Self::Sticky(_) => "sticky",
        }
    }

    /// Returns by which rule it picks for a request with this affinity, in a sentence for people.
    #[cfg(feature = "status")]
    pub(in crate::balance) fn rule(&self, affinity: Affinity) -> &'static str {
        match self {
            Self::P2c(_) => {
                "the cheaper of two drawn at random, and of up to eight more while that is dear; \
                 of a few endpoints of different weights, the cheapest; of equals, the one whose turn it is"
            }
            Self::RoundRobin(_) => "the next one by its turn",
            Self::LeastRequest(_) => "the one with the fewest requests in flight for its weight",
            Self::Random(_) => "drawn at random by weight",
            Self::ConsistentHash(_) if affinity.key.is_some() => {
                "the first usable one by the hash of the request's key"
            }
            Self::ConsistentHash(_) => "drawn at random, since the request has no key",
            Self::Sticky(_) if affinity.bound => {
                "the one that the cookie names, as long as it is usable"
            }
            Self::Sticky(sticky) => sticky.over.rule(affinity),
        }
    }

    /// Makes the picker of one tier, over no endpoints yet. [`Sticky`] does not get here: see [`picker`](Self::picker).
    fn flat<S: Send + Sync + 'static>(&self, rng: fastrand::Rng) -> Arc<dyn Picker<S>> {
        match self {
            Self::P2c(p2c) => p2c.picker(rng),
            Self::RoundRobin(_) => Arc::new(RoundRobinPicker::new()),
            Self::LeastRequest(_) => Arc::new(LeastRequestPicker::new(rng)),
            Self::Random(_) => Arc::new(RandomPicker::new(rng)),
            Self::ConsistentHash(hash) => Arc::new(hash.picker()),
            Self::Sticky(sticky) => sticky.picker(rng),
        }
    }

    /// Returns what `request` says about where it belongs.
    ///
    /// May run code of the user, the closure of [`ConsistentHash::by`].
    pub(in crate::balance) fn affinity(&self, request: &Request<Body>) -> Affinity {
        match self {
            Self::ConsistentHash(hash) => Affinity {
                key: hash.key(request),
                ..Affinity::default()
            },
            Self::Sticky(sticky) => Affinity {
                key_beneath: sticky.over.affinity(request).key,
                ..sticky.cookie.affinity(request)
            },
            _ => Affinity::default(),
        }
    }

    /// Sets the cookie of [`Sticky`] in the response of `endpoint`. Other policies change nothing.
    ///
    /// `affinity` is that of the request, with which the endpoint was picked.
    pub(in crate::balance) fn mark<B>(
        &self,
        response: &mut Response<B>,
        affinity: Affinity,
        endpoint: &Arc<str>,
    ) {
        if let Self::Sticky(sticky) = self {
            sticky.cookie.mark(response, affinity, endpoint);
        }
    }
}

/// Picks the endpoint that answered the client before, by a cookie that this proxy sets.
///
/// A client without the cookie goes where the policy [beneath](Self::over) says, and gets one. So does a client whose
/// endpoint has left the cluster, has a weight of 0, asks to be left alone, or could not be connected to by this
/// request: its new cookie binds it to the new endpoint, also when the old one comes back. Priorities do not move a
/// client.
///
/// # The cookie
///
/// The cookie holds a hash of the endpoint's name under a secret key, so it reveals no address and cannot be forged. It
/// is `HttpOnly`, has `Path=/` and no `Domain`, is `Secure` if the client came by TLS, and ends with the browser's
/// session. The request's `Cookie` field is forwarded as it is, with this cookie in it.
///
/// # Caches
///
/// A response that sets the cookie also gets `Cache-Control: private`, unless it has that or `no-store`: a shared cache
/// would give the cookie to every client, and all would go to one endpoint. Responses to clients that have their cookie
/// are left as they are. Behind a cache that removes cookies from requests, use this policy only for what is not
/// cached.
///
/// ```
/// use axum_upstream::{LoadBalance, policy::{LeastRequest, SameSite, Sticky}};
///
/// let sticky = Sticky::cookie("backend")?.same_site(SameSite::Strict).over(LeastRequest);
/// let backends = LoadBalance::builder()
///     .policy(sticky)
///     .urls(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Sticky {
    cookie: SessionCookie,
    /// The policy beneath, boxed because a `Policy` may be a `Sticky`.
    over: Box<Policy>,
}

impl Sticky {
    /// Uses a cookie of this name, with a random [key](Self::key).
    ///
    /// # Errors
    ///
    /// A config error if the name is not a token (RFC 9110 5.6.2), or if the operating system gives no random numbers.
    pub fn cookie(name: &str) -> Result<Self, Error> {
        Ok(Self {
            cookie: SessionCookie::new(name)?,
            over: Box::default(),
        })
    }

    /// Sets the secret key that the names of endpoints are hashed with. Default: drawn from the operating system's
    /// source of random numbers, so that cookies are void once the process has ended.
    ///
    /// Proxies in front of the same endpoints need the same key. Draw it from such a source, too, and keep it secret: a
    /// client that knows it can choose its endpoint.
    #[must_use]
    pub fn key(mut self, key: [u8; 16]) -> Self {
        self.cookie.key = key;
        self
    }

    /// Sets whether browsers send the cookie with requests that other sites cause. Default: [`SameSite::Lax`].
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.cookie.same_site = same_site;
        self
    }

    /// Sets the policy beneath, which picks for clients without a cookie. Default: [`P2c::new`].
    ///
    /// A [`ConsistentHash`] beneath picks by its own key, whatever the cookie says.
    #[must_use]
    pub fn over(mut self, policy: impl Into<Policy>) -> Self {
        *self.over = policy.into();
        self
    }

    /// Makes the picker, over no endpoints yet, with that of the policy beneath.
    fn picker<S: Send + Sync + 'static>(&self, rng: fastrand::Rng) -> Arc<dyn Picker<S>> {
        let over = self.over.picker(rng);
        Arc::new(StickyPicker::new(self.cookie.clone(), over))
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use http::StatusCode;

    use super::{
        super::{
            fixture::{KEY, TestCluster, keyed},
            picker::Picked,
        },
        *,
    };
    use crate::{endpoint::EndpointSpec, record::ResponseClass};

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

    #[test]
    fn tried_ones_are_not_picked_again() {
        for policy in all() {
            let cluster = TestCluster::new(policy.clone(), &[1; 10]);
            let mut tried = Vec::new();
            while let Some(picked) = cluster.pick_for(&tried, &keyed(7)) {
                tried.push(picked.endpoint);
            }
            assert_eq!(tried.len(), 10, "{policy:?}");
        }
    }

    /// S26: after the update that removed it, an endpoint is not picked, and nothing keeps it alive.
    #[test]
    fn what_left_is_neither_picked_nor_kept() {
        for policy in all() {
            let mut cluster = TestCluster::new(policy.clone(), &[1, 4, 1]);
            for n in 0..50 {
                let gone = cluster.remove(n % 3);
                let name = gone.name().clone();
                assert!((0..20).all(|key| {
                    *cluster.pick_for(&[], &keyed(key)).unwrap().endpoint.name() != name
                }));
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
        let reported = format!("{:?}", P2c::reported());
        for policy in all().into_iter().filter(weighted) {
            for weights in [
                &[1, 1, 1][..],
                &[5, 1, 1],
                &[3, 2, 1],
                &[10, 1],
                &[10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
                &[100, 100, 1],
            ] {
                let total: u32 = weights.iter().sum();
                let shares = TestCluster::new(policy.clone(), weights).shares();
                for (weight, share) in weights.iter().zip(&shares) {
                    let fair = f64::from(*weight) / f64::from(total);
                    let bound = match &policy {
                        // Four standard deviations of the draws.
                        Policy::Random(_) => 0.015,
                        // By a measure of the user's, which is not a count of requests that turns could be about.
                        Policy::P2c(p2c) if format!("{p2c:?}") == reported => 0.25 * fair,
                        _ => 0.01,
                    };
                    assert!(
                        (share - fair).abs() < bound,
                        "{policy:?}: {weights:?} gave {shares:?}"
                    );
                }
            }
        }
    }

    /// An endpoint that asked to be left alone gets no requests while there is another, and is used again afterwards.
    #[tokio::test(start_paused = true)]
    async fn retry_after_is_honoured() {
        for policy in all() {
            let cluster = TestCluster::new(policy.clone(), &[1, 1, 1, 1]);
            let Picked {
                endpoint: away,
                mut in_flight,
            } = cluster.pick(&[]).unwrap();
            in_flight.answered(
                StatusCode::SERVICE_UNAVAILABLE,
                ResponseClass::Unavailable,
                Some(Duration::from_secs(30)),
            );
            drop(in_flight);
            let share = || {
                let is_away = |key| {
                    *cluster.pick_for(&[], &keyed(key)).unwrap().endpoint.name() == *away.name()
                };
                (0..200).filter(|key| is_away(*key)).count()
            };
            assert_eq!(share(), 0, "{policy:?}");
            tokio::time::advance(Duration::from_secs(31)).await;
            // Its failure raised the latency estimate, which takes a while to decay.
            if !matches!(policy, Policy::P2c(_) | Policy::Sticky(_)) {
                assert!(share() > 0, "{policy:?} does not use it again");
            }
        }
    }

    /// S13: with one request at a time, picks go round in proportion to the weights; two idle endpoints alternate.
    #[test]
    fn one_at_a_time_goes_round() {
        for policy in [
            Policy::from(P2c::new()),
            P2c::in_flight().into(),
            LeastRequest.into(),
        ] {
            assert!(
                ["010101", "101010"]
                    .contains(&&*TestCluster::new(policy.clone(), &[1, 1]).names(6))
            );
            let heavy = TestCluster::new(policy.clone(), &[5, 1]).names(600);
            assert!(
                heavy.matches('1').count().abs_diff(100) <= 10,
                "{policy:?}: {heavy}"
            );
            for n in 3..=10 {
                let cluster = TestCluster::new(policy.clone(), &vec![1; n]);
                let mut counts = BTreeMap::<_, usize>::new();
                for _ in 0..1_000 {
                    *counts
                        .entry(cluster.pick(&[]).unwrap().endpoint.name().clone())
                        .or_default() += 1;
                }
                let most = *counts.values().max().unwrap() as f64;
                assert!(
                    most / (1_000.0 / n as f64) <= 1.05,
                    "{policy:?}: {counts:?}"
                );
            }
        }
    }
}
