//! What becomes of one request.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body::Body;
use tower::Service;

use super::{
    answer::{ClientConditions, own_response},
    background::Background,
    body::CacheBody,
    cache_status::{CacheStatus, ForwardReason},
    counts::count,
    lookup::{Lookup, StoredMatch},
    rules::Reuse,
    shared::CacheState,
    store::Store,
};

/// What all clones of a cache hold.
pub(super) struct SharedCache<St> {
    pub(super) state: Arc<CacheState<St>>,
    /// Its drop ends what goes on without a client.
    pub(super) background: Arc<Background>,
}

/// One request, with the service that it may be forwarded to.
pub(super) struct Visit<S, St> {
    pub(super) inner: S,
    pub(super) shared: SharedCache<St>,
}

impl<S, St: Store> Visit<S, St> {
    /// Answers it from the store, or by what the service answers.
    pub(super) async fn answer<B, RB>(
        self,
        request: Request<B>,
    ) -> Result<Response<CacheBody<RB>>, S::Error>
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
            StoredMatch::Usable(stored, reuse) => {
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
                // What the origin answered to a request with `no-store` would not be stored.
                let may_store = is_get && !lookup.directives.no_store;
                if reuse == Reuse::WhileRevalidating && may_store {
                    self.revalidate(lookup, stored, request, body);
                }
                return Ok(response);
            }
            StoredMatch::ToValidate(stored, reason) => (Some(stored), reason),
            StoredMatch::Nothing(reason) => (None, reason),
        };
        if lookup.directives.only_if_cached {
            count(&state.counters.misses);
            // RFC 9111 5.2.1.7: "Caches that honor this request directive SHOULD, upon receiving it, respond with
            // either a stored response consistent with the other constraints of the request or a 504 (Gateway Timeout)
            // status code."
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
    pub(super) async fn pass<B, RB>(
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
}

impl<St> Clone for SharedCache<St> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            background: self.background.clone(),
        }
    }
}
