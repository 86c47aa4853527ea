//! Requests that tell the cache something about what it has: those that may change it, and HEAD.

use std::sync::Arc;

use http::{Request, Response, StatusCode, request::Parts};
use tower::Service;

use super::{
    body::CacheBody,
    cache_status::{CacheStatus, ForwardReason},
    counts::count,
    freshened::freshened,
    lookup::Lookup,
    rules::{
        ExchangeTimes, head_confirms, invalidated_groups, invalidated_urls, invalidates,
        split_origin,
    },
    store::{Purge, Store},
    stored::StoredResponse,
    visit::Visit,
};

impl<S, St: Store> Visit<S, St> {
    /// Passes a request on that may change something, and invalidates what it has changed.
    ///
    /// RFC 9111 4: "A cache MUST write through requests with methods that are unsafe".
    pub(super) async fn write_through<B, RB>(
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
        let key = state.settings.key_of(&request);
        let response = self.pass(request, body, ForwardReason::Method).await?;
        let Some(key) = key.filter(|_| invalidates(&method, response.status())) else {
            return Ok(response);
        };
        state.invalidate(&key).await;
        for url in invalidated_urls(key.url(), response.headers()) {
            state.invalidate(&key.for_url(&url)).await;
        }
        let origin = split_origin(key.url()).map(|(origin, _)| origin.to_owned());
        for group in invalidated_groups(response.headers()) {
            let origin = origin.clone();
            // The store's errors are counted. The response is for the client in any case.
            let _ = state.purge(&Purge::Group { origin, group }).await;
        }
        Ok(response)
    }

    /// Forwards a HEAD, and updates what is stored by its response.
    pub(super) async fn head<B, RB>(
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
        let since = state.flights.generations().of(&lookup.key);
        let (sent, requested) = (request.headers.clone(), state.settings.now());
        let mut inner = self.inner;
        let response = inner.call(Request::from_parts(request, body)).await?;
        let update = response.headers();
        // RFC 9111 4.3.5: "When a cache makes an inbound HEAD request for a target URI and receives a 200 (OK)
        // response, the cache SHOULD update or invalidate each of its stored GET responses that could have been chosen
        // for that request".
        if let Some(stored) = stored.filter(|_| response.status() == StatusCode::OK) {
            let confirms = stored.status() == StatusCode::OK
                && head_confirms(stored.headers(), stored.body().length, update);
            let times = ExchangeTimes {
                request: requested,
                response: state.settings.now(),
            };
            let settings = &state.settings;
            let fresh = confirms
                .then(|| freshened(&stored, update, &sent, &lookup, times, settings).ok())
                .flatten();
            match fresh {
                // RFC 9111 5.2.1.5: "a cache MUST NOT store any part of either this request or any response to it."
                _ if confirms && lookup.directives.no_store => {}
                Some(fresh) => state.put(&lookup.key, fresh, since).await,
                None => state.remove(&lookup.key).await,
            }
        }
        let mut response = response.map(CacheBody::passed);
        let name = state.settings.status_name.as_ref();
        CacheStatus::passed(reason).add(name, response.headers_mut());
        Ok(response)
    }
}
