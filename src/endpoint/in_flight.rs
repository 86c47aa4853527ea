//! A request in flight at an endpoint.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire},
    },
    time::Duration,
};

use http::HeaderMap;

use super::{load::Load, siblings::Micros};
use crate::{
    body::{Body, Guard},
    error::{Error, ErrorKind},
    record::{AttemptGuard, OnSent, Outcome, Verdict, grpc_verdict},
};

/// One request in flight at an endpoint: it counts as load until this is dropped.
///
/// It tells the load what becomes of the request: that its head is there, and the [`Outcome`] of the attempt, decided
/// when the attempt ends.
#[derive(Debug)]
pub(crate) struct InFlight {
    load: Arc<Load>,
    picked: Micros,
    attempt: Option<AttemptGuard>,
    wait: HeadWait,
    /// What the response has said so far.
    verdict: Verdict,
    /// The endpoint's failure has been told to the load.
    booked: bool,
}

/// The wait for the response head.
#[derive(Debug)]
enum HeadWait {
    /// The endpoint has had the whole request since then.
    Since(Micros),
    /// The request has a body, which is on its way.
    AfterUpload(Arc<UploadClock>),
    /// The wait is over.
    Over,
}

impl InFlight {
    /// Counts a request that was picked at `picked`, as [`Load::start`] says.
    pub(super) fn new(load: Arc<Load>, picked: Micros) -> Self {
        let (wait, verdict) = (HeadWait::Since(picked), Verdict::Success);
        Self {
            load,
            picked,
            attempt: None,
            wait,
            verdict,
            booked: false,
        }
    }

    /// The request is sent as this attempt. The time that a client takes to send its body is not the endpoint's: with
    /// one, the wait begins when the body has ended.
    pub(crate) fn begin(&mut self, attempt: AttemptGuard, body: &mut Body) {
        self.attempt = Some(attempt);
        if !http_body::Body::is_end_stream(body) {
            if let HeadWait::Since(since) = mem::replace(&mut self.wait, HeadWait::Over) {
                self.load.unsent(since);
            }
            let clock = Arc::new(UploadClock::new(self.load.clone()));
            body.on_sent(clock.clone());
            self.wait = HeadWait::AfterUpload(clock);
        }
    }

    /// The response head is there; it says this of the endpoint, and for how long it wants to be left alone.
    pub(crate) fn answered(&mut self, verdict: Verdict, retry_after: Option<Duration>) {
        let now = self.load.clock();
        self.verdict = verdict;
        if let Some(attempt) = &self.attempt {
            attempt.reached_body();
        }
        let sent = self.end_wait();
        let lasted = sent.is_some_and(|sent| self.load.answered(sent, now));
        match verdict {
            Verdict::Success => {
                // One that others overtook was slow by itself. How long they take is the endpoint's latency.
                let latency = sent.filter(|_| !lasted).map(|sent| seconds(sent, now));
                self.load.succeeded(now, latency);
            }
            // Whatever follows, the endpoint has failed, and says so now.
            Verdict::Failure => self.complete_with(Verdict::Failure),
        }
        if let Some(wait) = retry_after {
            self.load.leave_alone(now, wait);
        }
    }

    /// The attempt has failed.
    pub(crate) fn failed(&mut self, error: &Error) {
        let outcome = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.failed(error));
        self.book(outcome);
    }

    fn complete_with(&mut self, verdict: Verdict) {
        let outcome = self
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.answered(verdict));
        self.book(outcome);
    }

    /// Tells the load how the attempt ended.
    fn book(&mut self, outcome: Option<Outcome>) {
        if mem::replace(&mut self.booked, true) {
            return;
        }
        let failure = outcome.filter(Outcome::is_failure);
        if let Some(sent) = self.end_wait() {
            let now = self.load.clock();
            match failure.is_some_and(|failure| is_answer(&failure)) {
                true => drop(self.load.answered(sent, now)),
                false => self.load.given_up(sent, now),
            }
        }
        if failure.is_some() {
            self.load.failed(self.load.clock());
        }
    }

    /// Ends the wait for the head, and says since when the endpoint had the whole request, if it had it.
    fn end_wait(&mut self) -> Option<Micros> {
        match mem::replace(&mut self.wait, HeadWait::Over) {
            HeadWait::Since(since) => Some(since),
            HeadWait::AfterUpload(clock) => clock.stop(),
            HeadWait::Over => None,
        }
    }
}

/// The body of the response, which is the end of the attempt.
impl<E> Guard<E> for InFlight {
    fn complete(mut self) {
        self.complete_with(self.verdict);
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(verdict) = grpc_verdict(trailers) {
            self.verdict = verdict;
        }
    }

    fn failed(mut self, _: &E) {
        let error = Error::new(ErrorKind::ResponseBody);
        Self::failed(&mut self, &error);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let outcome = self.attempt.as_ref().and_then(AttemptGuard::dropped);
        self.book(outcome);
        self.load.end(self.picked);
    }
}

/// When an endpoint has had the whole of a request with a body.
#[derive(Debug)]
struct UploadClock {
    load: Arc<Load>,
    sent: AtomicU64,
}

const UNSENT: u64 = u64::MAX;
const STOPPED: u64 = u64::MAX - 1;

impl UploadClock {
    fn new(load: Arc<Load>) -> Self {
        Self {
            load,
            sent: AtomicU64::new(UNSENT),
        }
    }

    /// Stops the clock, and says since when it ran.
    fn stop(&self) -> Option<Micros> {
        Some(self.sent.swap(STOPPED, AcqRel)).filter(|sent| *sent < STOPPED)
    }
}

impl OnSent for UploadClock {
    fn sent(&self) {
        let now = self.load.clock();
        // Counted first, so that a stop that comes between ends what has begun.
        self.load.sent(now);
        if self
            .sent
            .compare_exchange(UNSENT, now, AcqRel, Acquire)
            .is_err()
        {
            self.load.unsent(now);
        }
    }
}

/// Whether a failure shows that the endpoint lives. A connection that breaks does; one that cannot be made does not, nor
/// does a deadline.
fn is_answer(failure: &Outcome) -> bool {
    use ErrorKind::{Connection, ResponseBody, Service, Upgrade};
    matches!(
        failure.error(),
        Some(Connection | ResponseBody | Service | Upgrade)
    )
}

fn seconds(since: Micros, now: Micros) -> f32 {
    now.saturating_sub(since) as f32 * 1e-6
}
