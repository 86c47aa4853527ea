//! The task of a flight: asks the origin, shares what comes back, and stores it.
//!
//! It ends with the response, or when nothing waits for its head and nothing reads its body any more.

use std::{
    sync::{Arc, Weak},
    time::SystemTime,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header, request, response::Parts};
use http_body::Body;
use tokio::sync::{oneshot, watch};
use tower::Service;

use super::{
    background::{Background, HeldFlight},
    counts::count,
    flight::{Flight, FlightHead},
    freshened::{add_date, freshened},
    generations::KeyGeneration,
    lookup::Lookup,
    recordable::Recordable,
    recording::RecordingCursor,
    rules::{
        ExchangeTimes, NotStored, ResponseDirectives, ReusePolicy, SelectingFields, all_selected,
        confirms, make_conditional, remove_conditions, storable, stored_fields,
    },
    shared::CacheState,
    store::Store,
    stored::StoredResponse,
};

/// A request that is about to be sent, and what becomes of its response.
pub(super) struct Fetch<St> {
    pub(super) state: Arc<CacheState<St>>,
    pub(super) lookup: Lookup,
    /// What the origin is asked to confirm, if it can.
    pub(super) stored: Option<Arc<StoredResponse>>,
    /// Whether the request is like those of most clients, so that its response says something of the next one.
    pub(super) plain: bool,
    /// The fields of the client's request, if it has conditions: a 304 to it does not end the flight.
    pub(super) client: Option<HeaderMap>,
    pub(super) head: watch::Sender<FlightHead>,
    pub(super) flight: Weak<Flight>,
    pub(super) background: Weak<Background>,
}

/// What the request that has begun a flight gets.
pub(super) enum Fetched<B, E> {
    /// The head of the response, whose content is being stored, and the first place in it.
    Live(Parts, RecordingCursor, Option<u64>),
    /// The response, which is not stored.
    Own(Response<B>),
    /// What was stored, confirmed by the origin.
    Validated(Arc<StoredResponse>),
    /// What was stored, because the origin fails: with this status, or with none.
    Stale(Arc<StoredResponse>, Option<StatusCode>),
    /// The error of the service.
    Failed(E),
}

impl<St: Store> Fetch<St> {
    /// Returns the request as the origin gets it: with the conditions of the cache instead of the client's.
    pub(super) fn prepare<B>(
        &self,
        mut request: request::Parts,
        body: B,
        keeps_conditions: bool,
    ) -> Request<B> {
        match &self.stored {
            Some(stored) => make_conditional(&mut request.headers, stored.headers()),
            // The whole response is wanted, for those who have nothing of it.
            None if !keeps_conditions => remove_conditions(&mut request.headers),
            None => {}
        }
        Request::from_parts(request, body)
    }

    /// Sends the request, and sees to the response until its end.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the exchange. A response that has not come to its end is not stored, and breaks for
    /// all who read it.
    pub(super) async fn run<S, B, RB>(
        self,
        mut inner: S,
        request: Request<B>,
        first: oneshot::Sender<Fetched<RB, S::Error>>,
        held: Option<HeldFlight>,
    ) where
        S: Service<Request<B>, Response = Response<RB>>,
        RB: Body<Data = Bytes>,
    {
        let sent = request.headers().clone();
        let since = self.state.flights.generations().of(&self.lookup.key);
        let requested = self.state.settings.now();
        let result = inner.call(request).await;
        drop(inner);
        let now = self.state.settings.now();
        let times = ExchangeTimes {
            request: requested,
            response: now,
        };
        let failure = match &result {
            Ok(response) => match response.status().as_u16() {
                // RFC 5861 4: "an error is any situation which would result in a 500, 502, 503 or 504 HTTP response
                // status code being returned."
                500 | 502 | 503 | 504 => Some(Some(response.status())),
                _ => None,
            },
            Err(_) => Some(None),
        };
        if let (Some(failure), Some(stored)) = (failure, self.usable_on_error(now)) {
            self.share(FlightHead::Stale(stored.clone()));
            // Whoever began it may have gone.
            let _ = first.send(Fetched::Stale(stored, failure));
            return;
        }
        let response = match result {
            Ok(response) => response,
            Err(error) => {
                self.share(FlightHead::Alone);
                let _ = first.send(Fetched::Failed(error));
                return;
            }
        };
        if response.status() == StatusCode::NOT_MODIFIED {
            if let Some(stored) = &self.stored {
                let validated = self.validate(stored, response.headers(), &sent, times, since);
                let _ = first.send(Fetched::Validated(validated.await));
                return;
            }
        }
        let recordable = match self.recordable(&response, &sent, times, since) {
            Ok(recordable) => {
                self.state.not_storable.remove(&self.lookup.key);
                recordable
            }
            Err(why) => {
                self.refuse(why, response.status()).await;
                let _ = first.send(Fetched::Own(response));
                return;
            }
        };
        self.record(recordable, response, first, held).await;
    }

    /// Returns what is stored, if it may be used because the origin fails.
    fn usable_on_error(&self, now: SystemTime) -> Option<Arc<StoredResponse>> {
        let settings = &self.state.settings;
        let stored = self.stored.as_ref()?;
        let allows = stored
            .policy(settings)
            .allows_error(settings.stale_if_error, now);
        allows.then(|| stored.clone())
    }

    /// Updates what is stored by a 304, and returns it.
    async fn validate(
        &self,
        stored: &Arc<StoredResponse>,
        update: &HeaderMap,
        sent: &HeaderMap,
        times: ExchangeTimes,
        since: KeyGeneration,
    ) -> Arc<StoredResponse> {
        let (state, key) = (&self.state, &self.lookup.key);
        if !confirms(stored.headers(), update) {
            // The origin has confirmed something else. That cannot be told from a confirmation with a wrong tag, so it
            // is believed for this one request.
            self.share(FlightHead::Alone);
            state.remove(key).await;
            return stored.clone();
        }
        count(&state.counters.validated);
        let (lookup, settings) = (&self.lookup, &state.settings);
        let fresh = match freshened(stored, update, sent, lookup, times, settings) {
            Ok(fresh) => fresh,
            Err(fresh) => {
                self.share(FlightHead::Alone);
                state.remove(key).await;
                return fresh;
            }
        };
        // Stored first, so that a request which comes now finds it.
        state.put(key, fresh.clone(), since).await;
        self.share(FlightHead::Stored(fresh.clone()));
        fresh
    }

    /// Returns what is stored of a response, or why it is not.
    fn recordable<RB: Body>(
        &self,
        response: &Response<RB>,
        sent: &HeaderMap,
        times: ExchangeTimes,
        since: KeyGeneration,
    ) -> Result<Recordable, NotStored> {
        let (settings, lookup) = (&self.state.settings, &self.lookup);
        let (status, headers) = (response.status(), response.headers());
        let directives = ResponseDirectives::read(headers, &settings.targets);
        storable(lookup.authorized, status, headers, &directives)?;
        // RFC 9111 5.2.1.5: "a cache MUST NOT store any part of either this request or any response to it."
        if lookup.directives.no_store {
            return Err(NotStored::Request);
        }
        let selecting = SelectingFields::read(headers, sent);
        let max_heuristic = settings.max_heuristic;
        let policy = ReusePolicy::new(&directives, status, headers, times, max_heuristic);
        let length = content_length(response)?;
        let is_too_long = length.is_some_and(|length| length > settings.max_response);
        if selecting.match_nothing() || !policy.is_useful() || is_too_long {
            return Err(NotStored::Response);
        }
        if !all_selected(&lookup.steering, &selecting) {
            return Err(NotStored::Request);
        }
        let mut headers = stored_fields(headers, &directives.hidden);
        add_date(&mut headers, times.response);
        Ok(Recordable {
            policy,
            status,
            headers,
            selecting,
            length,
            times,
            since,
        })
    }

    /// Sees to a response that is not stored.
    async fn refuse(&self, why: NotStored, status: StatusCode) {
        // Every error is different, and none says anything of the next response.
        if !status.is_server_error() {
            let key = &self.lookup.key;
            if self.plain && why == NotStored::Response {
                self.state.not_storable.add(key);
            }
            if self.stored.is_some() {
                // What comes now is newer than what could not be confirmed.
                self.state.remove(key).await;
            }
        }
        self.share(FlightHead::Alone);
    }

    pub(super) fn share(&self, head: FlightHead) {
        self.head.send_replace(head);
    }
}

/// Returns the length of the content, if the head says it.
fn content_length<RB: Body>(response: &Response<RB>) -> Result<Option<u64>, NotStored> {
    let Some(said) = response.headers().get(header::CONTENT_LENGTH) else {
        return Ok(response.body().size_hint().exact());
    };
    let said = said.to_str().ok().and_then(|said| said.parse().ok());
    said.map(Some).ok_or(NotStored::Response)
}
