//! [`RequestCopy`]: what is kept of a request so that it can be sent again.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Request};

use super::{policy::Retry, replay::Replay};
use crate::{
    body::{Body, copy_head},
    record::Outcome,
};

/// A copy of a request, from which it can be sent again.
///
/// The head is copied as the request came to the balancer, so that what an endpoint's client adds to it is not added
/// twice. Of the body, no more is kept than the [replay limit](Retry::replay_limit) allows.
///
/// Dropping it frees the body; the attempt in progress goes on.
#[derive(Debug)]
pub(crate) struct RequestCopy {
    /// Shared with the endpoint's client, which needs one of its own otherwise.
    head: Arc<Request<()>>,
    replay: Replay,
    /// The number of attempts so far.
    attempts: u32,
    /// How many of them followed from the failure of another one.
    repeats: u32,
}

impl RequestCopy {
    /// Copies a request that can be repeated, and has its body kept as it is sent. Returns `None`, and leaves the
    /// request as it is, if no failure would lead to another attempt.
    ///
    /// `hedged` is whether requests of an idempotent method are copied in any case.
    pub(crate) fn of(request: &mut Request<Body>, retry: &Retry, hedged: bool) -> Option<Self> {
        let hedged = hedged && request.method().is_idempotent();
        if !hedged && !retry.may_repeat(request.method(), request.headers()) {
            return None;
        }
        let replay = Replay::keep(request.body_mut(), retry.replay())?;
        let head = Arc::new(copy_head(request, ()));
        Some(Self {
            head,
            replay,
            attempts: 1,
            repeats: 0,
        })
    }

    /// Returns the head, as the request came to the balancer.
    pub(crate) fn head(&self) -> &Arc<Request<()>> {
        &self.head
    }

    /// Returns whether the request may be repeated after an attempt that ended so. May run code of the user.
    pub(crate) fn is_repeated(&self, retry: &Retry, outcome: Outcome) -> bool {
        let head = &self.head;
        self.repeats + 1 < retry.most()
            && self.replay.is_possible()
            && retry.decide(head.method(), head.uri(), head.headers(), outcome)
    }

    /// Returns whether the request may be repeated once more after the repeat that is about to be made.
    pub(crate) fn has_another(&self, retry: &Retry) -> bool {
        self.repeats + 2 < retry.most()
    }

    /// Returns whether the request can be sent to another endpoint while the first attempt is in progress: it has to be
    /// harmless if both process it, and its whole body must be there. Once is enough.
    pub(crate) fn is_parallel(&self) -> bool {
        self.attempts == self.repeats + 1
            && self.head.method().is_idempotent()
            && self.replay.is_whole()
    }

    /// Returns the request, to be sent again after a failure. `None` if its body cannot be sent again.
    pub(crate) fn repeat(&mut self, retry: &Retry) -> Option<Request<Body>> {
        let request = self.again(retry)?;
        self.repeats += 1;
        Some(request)
    }

    /// Returns the request, to be sent once more. `None` if its body cannot be sent again.
    pub(crate) fn again(&mut self, retry: &Retry) -> Option<Request<Body>> {
        let mut request = copy_head(&self.head, self.replay.body()?);
        self.attempts += 1;
        if let Some(field) = retry.field() {
            number(&mut request, field, self.attempts);
        }
        Some(request)
    }
}

/// Puts the number of the attempt into the head.
fn number(request: &mut Request<Body>, field: &HeaderName, attempt: u32) {
    request
        .headers_mut()
        .insert(field.clone(), HeaderValue::from(attempt));
}
