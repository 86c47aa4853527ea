//! What a client begins when it sends a request: its part of the record, and of the span.

use std::sync::Arc;

use http::Request;
use tracing::Span;

use super::target::Target;
use crate::{
    body::Body,
    record::{AttemptGuard, Beginning, ExchangeGuard, Record},
    telemetry::{EndpointMetrics, MeasuredAttempt, open_attempt, sent_to},
};

/// What a client has begun by sending a request.
pub(super) struct ClientAttempt {
    pub(super) record: Arc<Record>,
    /// `None` if a proxy or a balancer in front ends the exchange.
    pub(super) exchange: Option<ExchangeGuard>,
    /// `None` if a balancer in front has begun the attempt.
    pub(super) attempt: Option<MeasuredAttempt>,
    /// The index of the attempt that sends the request, the client's own or that of the balancer.
    pub(super) nth: Option<usize>,
}

impl ClientAttempt {
    /// Begins the exchange, unless a proxy or a balancer has, and an attempt of the client's own, unless a balancer has
    /// begun one for an endpoint of this name.
    pub(super) fn by(
        target: &Target,
        metrics: &EndpointMetrics,
        request: &mut Request<Body>,
    ) -> Self {
        let exchange = request.body_mut().begin_exchange();
        let record = request.body_mut().record().clone();
        let (depth, parent) = (request.body().depth(), request.body().attempt());
        let begun = parent.and_then(|nth| record.attempts().nth(nth));
        let is_own = begun.is_some_and(|begun| begun.shared_endpoint() == &target.name);
        let place = (depth, parent);
        let attempt = (!is_own).then(|| {
            let attempt = AttemptGuard::begin(&record, &target.id, place, Beginning::now());
            metrics.measured(request.method(), attempt)
        });
        if attempt
            .as_ref()
            .is_some_and(|attempt| open_attempt(attempt, request))
        {
            request.body_mut().keep_head();
        }
        let nth = attempt.as_ref().map(|attempt| attempt.nth()).or(parent);
        sent_to(&record, nth, request.uri().path(), || target.in_span());
        Self {
            record,
            exchange,
            attempt,
            nth,
        }
    }

    /// Returns the span of the client's own attempt, or one that is disabled.
    pub(super) fn span(&self) -> Span {
        let span = self.attempt.as_ref().and_then(|attempt| attempt.span());
        span.unwrap_or_else(Span::none)
    }
}
