//! Why a request goes where it goes.

use std::{sync::Arc, time::Duration};

use serde::{Serialize, Serializer};

/// Where a request goes and why: that of a dry run, by [`Handle::explain`](crate::balance::Handle::explain), or that of
/// an attempt, by [`Attempt::explanation`](super::Attempt::explanation).
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the cluster.
    pub cluster: Arc<str>,
    /// The name of its policy, from which [`Policy`](crate::policy::Policy) can be parsed.
    pub policy: &'static str,
    /// The endpoint that was picked, or `None` if there is none for the request.
    pub picked: Option<Arc<str>>,
    /// By which rule the endpoint was picked, or why none was.
    pub reason: String,
    /// All endpoints, with what is compared of them.
    pub endpoints: Vec<Candidate>,
}

/// What is compared of an endpoint when one is picked.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Candidate {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it may be given requests.
    pub state: EndpointState,
    /// Why it may not.
    pub cause: Option<Arc<str>>,
    /// About how long one more request would take there, in seconds per unit of weight: what
    /// [`P2c::new`](crate::policy::P2c::new) compares. `None` while nothing is known of the latencies.
    pub cost: Option<f64>,
    /// How many requests are in flight, before this one.
    pub in_flight: usize,
    /// Whether the request has been sent there before, so that it is sent elsewhere if possible.
    pub tried: bool,
    /// How long the next response head is expected to take.
    #[serde(
        rename = "latency_estimate_seconds",
        serialize_with = "optional_seconds"
    )]
    pub latency_estimate: Option<Duration>,
}

/// Whether an endpoint may be given requests: the variants of [`Availability`](crate::endpoint::Availability).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[allow(missing_docs, reason = "they are those of `Availability`")]
pub enum EndpointState {
    Usable,
    Untested,
    LeftAlone,
    Ejected,
    Probation,
    FailedCheck,
    Unchecked,
    Full,
    Draining,
}

/// Serializes a duration as seconds, or null.
pub(crate) fn optional_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    duration
        .map(|duration| duration.as_secs_f64())
        .serialize(serializer)
}
