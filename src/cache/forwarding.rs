//! Requests that have to be answered by the origin: by one of their own, or by that of another client.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body;
use tokio::sync::oneshot;
use tower::Service;

use super::{
    answer::{ClientConditions, own_response},
    body::CacheBody,
    cache_status::{CacheStatus, ForwardReason},
    counts::count,
    fetch::{Fetch, Fetched},
    flight::{Boarding, Flight, FlightHead},
    lookup::Lookup,
    rules::{RequestDirectives, ReusePolicy, has_conditions},
    store::Store,
    stored::StoredResponse,
    visit::Visit,
};

impl<S, St: Store> Visit<S, St> {
    /// Asks the origin, or waits for the response to another request that does.
    pub(super) async fn fetch<B, RB>(
        self,
        lookup: Lookup,
        stored: Option<Arc<StoredResponse>>,
        reason: ForwardReason,
        request: Parts,
        body: B,
    ) -> Result<Response<CacheBody<RB>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<RB>> + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        B: Send + 'static,
        RB: Body<Data = Bytes> + Send + 'static,
    {
        let state = &self.shared.state;
        if lookup.directives.no_store {
            return self.pass(request, body, reason).await;
        }
        // A part is not stored, and a whole that nobody has asked for may be large.
        let is_for_part = lookup.ranged && stored.is_none();
        let is_plain = lookup.is_plain() && !is_for_part;
        // Then each request asks for itself, and one whose response can be stored ends that.
        let is_alone = stored.is_none() && state.not_storable.contains(&lookup.key);
        // A response that has to be validated for each request is of no use to those who would wait for it.
        let policy = stored.as_ref().map(|stored| stored.policy(&state.settings));
        let is_for_each = policy.is_some_and(ReusePolicy::needs_validation);
        let (flight, head) = match is_plain && !is_alone && !is_for_each {
            true => match state.flights.board(&lookup.key) {
                Boarding::Lead(flight, head) => (flight, head),
                Boarding::Join(flight) => {
                    return self.join(flight, lookup, reason, request, body).await;
                }
            },
            false => Flight::solo(&lookup.key),
        };
        // The request goes to the origin with other conditions.
        let (method, headers) = (request.method.clone(), request.headers.clone());
        let conditions = ClientConditions {
            method: &method,
            headers: &headers,
        };
        let fetch = Fetch {
            state: state.clone(),
            stored,
            plain: is_plain,
            client: has_conditions(&headers).then(|| headers.clone()),
            head,
            flight: Arc::downgrade(&flight),
            background: Arc::downgrade(&self.shared.background),
            lookup,
        };
        let request = fetch.prepare(request, body, is_for_part || is_alone);
        let (first, fetched) = oneshot::channel();
        flight.depart(fetch.run(self.inner, request, first, None));
        let Ok(fetched) = fetched.await else {
            // The service has panicked, or the runtime is going.
            return Ok(own_response(StatusCode::INTERNAL_SERVER_ERROR));
        };
        let settings = &self.shared.state.settings;
        let now = settings.now();
        let (mut response, status, stored) = match fetched {
            Fetched::Failed(error) => return Err(error),
            Fetched::Live(parts, cursor, length) => {
                let body = CacheBody::live(cursor, length, flight);
                (conditions.answer_own(parts, body, now), None, true)
            }
            Fetched::Own(response) => {
                let (parts, body) = response.into_parts();
                (
                    conditions.answer_own(parts, CacheBody::passed(body), now),
                    None,
                    false,
                )
            }
            Fetched::Validated(stored) => {
                let response = conditions.answer_stored(&stored, settings, now);
                (response, Some(StatusCode::NOT_MODIFIED), true)
            }
            Fetched::Stale(stored, failure) => {
                count(&self.shared.state.counters.served_stale);
                let response = conditions.answer_stored(&stored, settings, now);
                (response, failure, false)
            }
        };
        let status = CacheStatus::Forwarded {
            reason,
            status,
            stored,
            collapsed: false,
        };
        status.add(settings.status_name.as_ref(), response.headers_mut());
        Ok(response)
    }

    /// Waits for the response to another request, and asks the origin if it is not for this one.
    async fn join<B, RB>(
        self,
        flight: Arc<Flight>,
        lookup: Lookup,
        reason: ForwardReason,
        request: Parts,
        body: B,
    ) -> Result<Response<CacheBody<RB>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<RB>>,
    {
        // What comes from now on is as new as what the request itself would get, whatever it asks for.
        let directives = match flight.is_pending() {
            true => RequestDirectives::default(),
            false => lookup.directives.clone(),
        };
        let head = flight.head().await;
        let state = &self.shared.state;
        let settings = &state.settings;
        let now = settings.now();
        let is_usable = |policy: &ReusePolicy| policy.is_usable(&directives, now);
        let conditions = ClientConditions {
            method: &request.method,
            headers: &request.headers,
        };
        let response = match head {
            FlightHead::Live(recording)
                if recording.selecting.match_request(&request.headers)
                    && is_usable(&recording.policy) =>
            {
                conditions.answer_joined(&recording, &flight, now)
            }
            FlightHead::Stored(stored)
                if lookup.is_selected(&stored, &request) && is_usable(stored.policy(settings)) =>
            {
                Some(conditions.answer_stored(&stored, settings, now))
            }
            FlightHead::Stale(stored) if lookup.is_selected(&stored, &request) => {
                count(&state.counters.served_stale);
                Some(conditions.answer_stored(&stored, settings, now))
            }
            _ => None,
        };
        let Some(mut response) = response else {
            return self.pass(request, body, reason).await;
        };
        count(&state.counters.collapsed);
        let status = CacheStatus::Forwarded {
            reason,
            status: None,
            stored: false,
            collapsed: true,
        };
        status.add(settings.status_name.as_ref(), response.headers_mut());
        Ok(response)
    }

    /// Validates a stale response in the background, unless that is being done already.
    pub(super) fn revalidate<B, RB>(
        self,
        lookup: Lookup,
        stored: Arc<StoredResponse>,
        request: Parts,
        body: B,
    ) where
        S: Service<Request<B>, Response = Response<RB>> + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        B: Send + 'static,
        RB: Body<Data = Bytes> + Send + 'static,
    {
        let state = &self.shared.state;
        let Boarding::Lead(flight, head) = state.flights.board(&lookup.key) else {
            return;
        };
        let Some(held) = self.shared.background.hold(flight.clone()) else {
            return;
        };
        let fetch = Fetch {
            state: state.clone(),
            stored: Some(stored),
            plain: lookup.is_plain(),
            client: None,
            head,
            flight: Arc::downgrade(&flight),
            background: Arc::downgrade(&self.shared.background),
            lookup,
        };
        let request = fetch.prepare(request, body, false);
        let (first, _) = oneshot::channel();
        flight.depart(fetch.run(self.inner, request, first, Some(held)));
    }
}
