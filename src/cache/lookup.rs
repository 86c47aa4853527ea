//! What a request asks of the cache, and what the store has for it.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderName, header, request::Parts};

use super::{
    cache_status::ForwardReason,
    key::CacheKey,
    rules::{RequestDirectives, Reuse, all_selected, is_for_origin},
    settings::CacheSettings,
    store::StoredVariants,
    stored::StoredResponse,
};

/// A GET or HEAD that may be answered from the cache.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) key: CacheKey,
    pub(super) directives: RequestDirectives,
    /// Fields by which servers are steered. Only a response that tells requests apart by them is for this one.
    pub(super) steering: Vec<HeaderName>,
    pub(super) authorized: bool,
    /// Whether it asks for a part.
    pub(super) ranged: bool,
}

/// What the store has for a request.
pub(super) enum StoredMatch {
    /// Something that may be used as it is.
    Usable(Arc<StoredResponse>, Reuse),
    /// Something that may be used if the origin confirms it.
    ToValidate(Arc<StoredResponse>, ForwardReason),
    Nothing(ForwardReason),
}

impl Lookup {
    /// Reads a request. `None` if the cache is not to be asked.
    ///
    /// `has_body`: a server may answer by the body of a GET, which is in no key.
    pub(super) fn new(settings: &CacheSettings, request: &Parts, has_body: bool) -> Option<Self> {
        let headers = &request.headers;
        // RFC 9110 9.3.1: "content received in a GET request has no generally defined semantics"
        if has_body || headers.contains_key(header::UPGRADE) || is_for_origin(headers) {
            return None;
        }
        let key = settings.key_of(request)?;
        if key.is_too_long() {
            return None;
        }
        let directives = match settings.obeys_requests {
            true => RequestDirectives::read(headers),
            false => RequestDirectives::default(),
        };
        Some(Self {
            key,
            directives,
            steering: settings.steering.in_request(headers),
            authorized: headers.contains_key(header::AUTHORIZATION),
            ranged: headers.contains_key(header::RANGE),
        })
    }

    /// Chooses among what is stored under the key.
    ///
    /// RFC 9111 4: "When more than one suitable response is stored, a cache MUST use the most recent one (as determined
    /// by the Date header field)."
    pub(super) fn find(
        &self,
        variants: Option<&StoredVariants>,
        request: &Parts,
        settings: &CacheSettings,
        now: SystemTime,
    ) -> StoredMatch {
        let Some(variants) = variants else {
            return StoredMatch::Nothing(ForwardReason::UriMiss);
        };
        let selected = variants
            .iter()
            .filter(|response| self.is_selected(response, request));
        let newest = selected.reduce(|newest, other| match other.date() > newest.date() {
            true => other,
            false => newest,
        });
        let Some(response) = newest else {
            return StoredMatch::Nothing(match self.steering.is_empty() {
                true => ForwardReason::VaryMiss,
                false => ForwardReason::Bypass,
            });
        };
        let policy = response.policy(settings);
        match policy.reuse(&self.directives, self.authorized, now) {
            reuse @ (Reuse::Fresh | Reuse::Stale | Reuse::WhileRevalidating) => {
                StoredMatch::Usable(response.clone(), reuse)
            }
            Reuse::Validate => StoredMatch::ToValidate(
                response.clone(),
                match policy.time_to_live(now) > 0 {
                    true => ForwardReason::Request,
                    false => ForwardReason::Stale,
                },
            ),
            Reuse::Never => StoredMatch::Nothing(ForwardReason::Request),
        }
    }

    /// Returns whether a response is for requests like this one.
    pub(super) fn is_selected(&self, response: &StoredResponse, request: &Parts) -> bool {
        let selecting = response.selecting();
        selecting.match_request(&request.headers) && all_selected(&self.steering, selecting)
    }

    /// Returns whether the response may be for others, too. If not, other requests do not wait for it.
    pub(super) fn is_plain(&self) -> bool {
        !self.authorized && self.steering.is_empty()
    }
}
