//! How many requests may be in flight at one endpoint.
//!
//! A fixed number, one that follows what the endpoint can take (feature `adaptive-limit`), or the lower of both.

use std::time::Duration;

use super::siblings::SharedSettings;
#[cfg(feature = "adaptive-limit")]
use crate::limit::AdaptiveLimit;

/// The limit of one endpoint.
#[derive(Debug)]
pub(super) struct InFlightLimit {
    fixed: u64,
    #[cfg(feature = "adaptive-limit")]
    adaptive: Option<AdaptiveLimit>,
}

impl InFlightLimit {
    /// Returns the limit of a new endpoint.
    pub(super) fn new(settings: &SharedSettings) -> Self {
        Self {
            fixed: settings.max_in_flight.unwrap_or(u64::MAX),
            #[cfg(feature = "adaptive-limit")]
            adaptive: settings.adaptive.as_ref().map(AdaptiveLimit::new),
        }
    }

    /// Returns how many requests may be in flight now.
    pub(super) fn get(&self) -> u64 {
        #[cfg(feature = "adaptive-limit")]
        if let Some(adaptive) = &self.adaptive {
            return self.fixed.min(adaptive.limit() as u64);
        }
        self.fixed
    }

    /// Learns from a request that took `latency` to its response head while `in_flight` were there, itself included,
    /// and at which the endpoint may have been overloaded.
    #[cfg_attr(
        not(feature = "adaptive-limit"),
        expect(
            unused_variables,
            clippy::unused_self,
            reason = "a fixed limit learns nothing"
        )
    )]
    pub(super) fn learn(&self, latency: Duration, in_flight: u64, overloaded: bool) {
        #[cfg(feature = "adaptive-limit")]
        if let Some(adaptive) = &self.adaptive {
            let in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
            adaptive.record(latency, in_flight, overloaded);
        }
    }
}
