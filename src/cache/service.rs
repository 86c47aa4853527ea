//! The service around another one: what becomes of each request.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use tokio::sync::oneshot;
use tower::Service;
use tracing::Instrument;

use super::{
    answer::{ClientConditions, own_response},
    background::Background,
    body::CacheBody,
    cache_status::{CacheStatus, ForwardReason},
    counts::count,
    fetch::{Fetch, Fetched},
    flight::{Boarding, Flight, FlightHead},
    freshened::freshened,
    key::CacheKey,
    lookup::{Found, Lookup},
    memory::MemoryStore,
    rules::{
        ExchangeTimes, Reuse, head_confirms, invalidated_groups, invalidated_urls, invalidates,
        split_origin,
    },
    shared::CacheState,
    store::{Purge, Store},
    stored::StoredResponse,
};
use crate::error::BoxError;

/// Answers requests from what the service that it wraps has answered before: what a [`CacheLayer`](super::CacheLayer)
/// makes.
///
/// See the [module docs](super).
pub struct Cache<S, St = MemoryStore> {
    inner: S,
    shared: SharedCache<St>,
}

/// What all clones of a cache hold.
pub(super) struct SharedCache<St> {
    pub(super) state: Arc<CacheState<St>>,
    /// Its drop ends what goes on without a client.
    pub(super) background: Arc<Background>,
}

/// One request, with the service that it may be forwarded to.
struct Visit<S, St> {
    inner: S,
    shared: SharedCache<St>,
}

/// The response future of [`Cache`].
type Answering<B, E> = Pin<Box<dyn Future<Output = Result<Response<CacheBody<B>>, E>> + Send>>;

impl<S, St> Cache<S, St> {
    pub(super) fn new(inner: S, shared: SharedCache<St>) -> Self {
        Self { inner, shared }
    }
}

impl<S, St, B, RB> Service<Request<B>> for Cache<S, St>
where
    S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send + 'static,
    St: Store,
    B: Body + Send + 'static,
    RB: Body<Data = Bytes> + Send + 'static,
    RB::Error: Into<BoxError>,
{
    type Response = Response<CacheBody<RB>>;
    type Error = S::Error;
    type Future = CacheFuture<RB, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that is ready goes, its clone stays.
        let clone = self.inner.clone();
        let visit = Visit {
            inner: std::mem::replace(&mut self.inner, clone),
            shared: self.shared.clone(),
        };
        CacheFuture(Box::pin(visit.answer(request)))
    }
}

/// The response future of [`Cache`].
///
/// # Cancel safety
///
/// Dropping it cancels the request to the origin, unless other requests wait for its response. What is validated or
/// fetched in the background goes on.
pub struct CacheFuture<B, E>(Answering<B, E>);

impl<B, E> Future for CacheFuture<B, E> {
    type Output = Result<Response<CacheBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<S, St: Store> Visit<S, St> {
    async fn answer<B, RB>(self, request: Request<B>) -> Result<Response<CacheBody<RB>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<RB>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send + 'static,
        B: Body + Send + 'static,
        RB: Body<Data = Bytes> + Send + 'static,
    {
        let state = &self.shared.state;
        let settings = &state.settings;
        let (request, body) = request.into_parts();
        let is_get = request.method == Method::GET;
        if !is_get && request.method != Method::HEAD {
            return self.write_through(request, body).await;
        }
        let Some(lookup) = Lookup::new(settings, &request, !body.is_end_stream()) else {
            count(&state.counters.passed);
            return self.pass(request, body, ForwardReason::Bypass).await;
        };
        let variants = state.get(&lookup.key).await;
        let now = settings.now();
        let (stored, reason) = match lookup.find(variants.as_ref(), &request, settings, now) {
            Found::Usable(stored, reuse) => {
                count(&state.counters.hits);
                if reuse != Reuse::Fresh {
                    count(&state.counters.served_stale);
                }
                let conditions = ClientConditions {
                    method: &request.method,
                    headers: &request.headers,
                };
                let mut response = conditions.answer_stored(&stored, settings, now);
                let time_to_live = stored.policy(settings).time_to_live(now);
                CacheStatus::Hit { time_to_live }
                    .add(settings.status_name.as_ref(), response.headers_mut());
                if reuse == Reuse::WhileRevalidating && is_get {
                    self.revalidate(lookup, stored, request, body);
                }
                return Ok(response);
            }
            Found::ToValidate(stored, reason) => (Some(stored), reason),
            Found::Nothing(reason) => (None, reason),
        };
        if lookup.directives.only_if_cached {
            count(&state.counters.misses);
            // RFC 9111 5.2.1.7: "Caches that honor this request directive SHOULD, upon receiving it, respond with either
            // a stored response consistent with the other constraints of the request or a 504 (Gateway Timeout) status
            // code."
            let mut response = own_response(StatusCode::GATEWAY_TIMEOUT);
            let name = settings.status_name.as_ref();
            CacheStatus::OnlyIfCached.add(name, response.headers_mut());
            return Ok(response);
        }
        count(&state.counters.misses);
        match is_get {
            true => self.fetch(lookup, stored, reason, request, body).await,
            false => self.head(lookup, stored, reason, request, body).await,
        }
    }

    /// Passes a request on. Its response is not stored.
    async fn pass<B, RB>(
        mut self,
        request: Parts,
        body: B,
        reason: ForwardReason,
    ) -> Result<Response<CacheBody<RB>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<RB>>,
    {
        let response = self.inner.call(Request::from_parts(request, body)).await?;
        let mut response = response.map(CacheBody::passed);
        let name = self.shared.state.settings.status_name.as_ref();
        CacheStatus::passed(reason).add(name, response.headers_mut());
        Ok(response)
    }

    /// Passes a request on that may change something, and invalidates what it has changed.
    ///
    /// RFC 9111 4: "A cache MUST write through requests with methods that are unsafe".
    async fn write_through<B, RB>(
        self,
        request: Parts,
        body: B,
    ) -> Result<Response<CacheBody<RB>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<RB>>,
    {
        let state = self.shared.state.clone();
        count(&state.counters.passed);
        let method = request.method.clone();
        let key = CacheKey::of(&request);
        let key = match (&state.settings.key, key) {
            (Some(hook), Some(key)) => hook(&request, key),
            (_, key) => key,
        };
        let response = self.pass(request, body, ForwardReason::Method).await?;
        let Some(key) = key.filter(|_| invalidates(&method, response.status())) else {
            return Ok(response);
        };
        state.invalidate(&key).await;
        for url in invalidated_urls(key.url(), response.headers()) {
            state.invalidate(&key.for_url(&url)).await;
        }
        for group in invalidated_groups(response.headers()) {
            let origin = split_origin(key.url()).map(|(origin, _)| origin.to_owned());
            // The store's errors are counted. The response is for the client in any case.
            let _ = state.purge(&Purge::Group { origin, group }).await;
        }
        Ok(response)
    }

    /// Forwards a HEAD, and updates what is stored by its response.
    async fn head<B, RB>(
        self,
        lookup: Lookup,
        stored: Option<Arc<StoredResponse>>,
        reason: ForwardReason,
        request: Parts,
        body: B,
    ) -> Result<Response<CacheBody<RB>>, S::Error>
    where
        S: Service<Request<B>, Response = Response<RB>>,
    {
        let state = self.shared.state.clone();
        let since = state.flights.generation(&lookup.key);
        let (sent, requested) = (request.headers.clone(), state.settings.now());
        let mut inner = self.inner;
        let response = inner.call(Request::from_parts(request, body)).await?;
        let update = response.headers();
        // RFC 9111 4.3.5: "When a cache makes an inbound HEAD request for a target URI and receives a 200 (OK) response,
        // the cache SHOULD update or invalidate each of its stored GET responses that could have been chosen for that
        // request".
        if let Some(stored) = stored.filter(|_| response.status() == StatusCode::OK) {
            let confirms = stored.status() == StatusCode::OK
                && head_confirms(stored.headers(), stored.body().length, update);
            let times = ExchangeTimes {
                request: requested,
                response: state.settings.now(),
            };
            let (authorized, settings) = (lookup.authorized, &state.settings);
            let fresh = confirms
                .then(|| freshened(&stored, update, &sent, authorized, times, settings).ok())
                .flatten();
            match fresh {
                Some(fresh) => state.put(&lookup.key, fresh, since).await,
                None => state.remove(&lookup.key).await,
            }
        }
        let mut response = response.map(CacheBody::passed);
        let name = state.settings.status_name.as_ref();
        CacheStatus::passed(reason).add(name, response.headers_mut());
        Ok(response)
    }

    /// Asks the origin, or waits for the response to another request that does.
    async fn fetch<B, RB>(
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
        let (flight, head) = match is_plain && !is_alone {
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
            head,
            flight: Arc::downgrade(&flight),
            background: Arc::downgrade(&self.shared.background),
            lookup,
        };
        let request = fetch.prepare(request, body, is_for_part || is_alone);
        let (first, fetched) = oneshot::channel();
        let task = tokio::spawn(
            fetch
                .run(self.inner, request, first, None)
                .in_current_span(),
        );
        flight.depart(task.abort_handle());
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
        let head = flight.head().await;
        let state = &self.shared.state;
        let settings = &state.settings;
        let now = settings.now();
        let conditions = ClientConditions {
            method: &request.method,
            headers: &request.headers,
        };
        let response = match head {
            FlightHead::Live(recording) if recording.selecting.match_request(&request.headers) => {
                conditions.answer_joined(&recording, &flight, now)
            }
            FlightHead::Stored(stored) if lookup.is_selected(&stored, &request) => {
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
    fn revalidate<B, RB>(self, lookup: Lookup, stored: Arc<StoredResponse>, request: Parts, body: B)
    where
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
            head,
            flight: Arc::downgrade(&flight),
            background: Arc::downgrade(&self.shared.background),
            lookup,
        };
        let request = fetch.prepare(request, body, false);
        let (first, _) = oneshot::channel();
        let task = tokio::spawn(
            fetch
                .run(self.inner, request, first, Some(held))
                .in_current_span(),
        );
        flight.depart(task.abort_handle());
    }
}

impl<St> Clone for SharedCache<St> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            background: self.background.clone(),
        }
    }
}

impl<S: Clone, St> Clone for Cache<S, St> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<S: fmt::Debug, St> fmt::Debug for Cache<S, St> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<B, E> fmt::Debug for CacheFuture<B, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheFuture").finish_non_exhaustive()
    }
}
