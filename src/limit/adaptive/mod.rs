//! Limits of requests in flight that follow what an endpoint can take.
//!
//! An [`AdaptiveLimit`] is told how long each request took, and says how many may be in flight at once. The samples
//! of a [`SampleWindow`] become one, and the controller makes a new limit of it, about once in a round trip:
//!
//! ```text
//! record(latency, in flight, overloaded) ─► SampleWindow ─► Gradient or Aimd ─► limit()
//! ```
//!
//! The algorithms are those of [tower-acc], which implements the limits of Netflix's [concurrency-limits]. They are
//! plain state machines over samples: no clock, no task, no lock and no allocation, which is what a limit needs that
//! is shared by threads and tested in virtual time. `congestion-limiter` has the same algorithms, but its samples can
//! be made by its own limiter alone, with its own clock, and each update boxes a future. `tower-resilience-adaptive`
//! and `throttle-net` can be driven like this one, but bring more dependencies, and their Vegas grows while the limit
//! is not used.
//!
//! Of the algorithms of tower-acc, `Vegas` is not used: it compares with the *shortest* latency that it has seen, and
//! where latencies vary, as those of requests do, the limit settles far below what the endpoint can take. Simulated
//! as in the tests, with exponential service times and a capacity of 100, it settled at 15.
//!
//! [tower-acc]: https://docs.rs/tower-acc
//! [concurrency-limits]: https://github.com/Netflix/concurrency-limits

mod gradient;
mod settings;
mod window;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tower_acc::{Aimd, Algorithm};

pub use self::settings::AdaptiveConcurrency;
use self::{
    gradient::Gradient,
    settings::Signal,
    window::{SampleWindow, WindowSample},
};

/// How many requests an endpoint may have in flight, by how it does with them.
///
/// It counts none itself: the limit is compared with a count that is kept elsewhere.
#[derive(Debug)]
pub(crate) struct AdaptiveLimit {
    /// What `state` came to last.
    limit: AtomicUsize,
    state: Mutex<Adapting>,
}

#[derive(Debug)]
struct Adapting {
    window: SampleWindow,
    controller: Controller,
}

/// Makes limits of samples.
#[derive(Debug)]
enum Controller {
    Gradient(Gradient),
    Aimd(Aimd),
}

impl AdaptiveLimit {
    /// Returns a limit that begins at [`AdaptiveConcurrency::initial`].
    pub(crate) fn new(settings: &AdaptiveConcurrency) -> Self {
        let initial = settings.first();
        let controller = match settings.signal {
            Signal::Gradient => Controller::Gradient(Gradient::new(settings)),
            Signal::Slower(than) => Controller::Aimd(
                Aimd::builder()
                    .initial_limit(initial)
                    .min_limit(settings.min)
                    .max_limit(settings.max)
                    .timeout(than)
                    .build(),
            ),
        };
        Self {
            limit: AtomicUsize::new(initial),
            state: Mutex::new(Adapting {
                window: SampleWindow::default(),
                controller,
            }),
        }
    }

    /// Returns how many requests may be in flight now: 1 or more. One atomic load.
    pub(crate) fn limit(&self) -> usize {
        self.limit.load(Relaxed)
    }

    /// Records a request that has ended, and changes the limit if that completes a window.
    ///
    /// - `latency`: from the request to the response head. A body takes as long as its client likes.
    /// - `in_flight`: the requests that were in flight at the endpoint, this one included.
    /// - `overloaded`: the endpoint had too many: it said so (429, 503), or did not answer in time. The latency of
    ///   such a request is not looked at. An error that has another cause, and a request that was given up, are not
    ///   to be recorded.
    ///
    /// Takes a lock that only `record` takes: to add a number, and at the end of a window to select among at most
    /// 1000.
    pub(crate) fn record(&self, latency: Duration, in_flight: usize, overloaded: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Adapting { window, controller } = &mut *state;
        window.record(latency, in_flight, overloaded);
        let limit = self.limit();
        let needed = match controller {
            Controller::Gradient(gradient) => gradient.samples(limit),
            Controller::Aimd(_) => window::size(limit),
        };
        if let Some(sample) = window.end(needed) {
            self.limit.store(controller.next(limit, &sample), Relaxed);
        }
    }
}

impl Controller {
    /// Returns the limit that follows `limit`.
    fn next(&mut self, limit: usize, sample: &WindowSample) -> usize {
        match self {
            Self::Gradient(gradient) => gradient.next(limit, sample),
            Self::Aimd(aimd) => {
                // Of an overloaded endpoint, it does not look at the latency.
                let latency = sample.latency.unwrap_or_default();
                aimd.update(latency, sample.in_flight, sample.overloaded, false);
                aimd.max_concurrency()
            }
        }
    }
}

#[cfg(test)]
mod tests;
