//! What is stored: a complete response with what decides about its reuse.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::SystemTime,
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};

use super::{
    rules::{ExchangeTimes, ResponseDirectives, ReusePolicy, SelectingFields, date, groups},
    settings::CacheSettings,
};

/// What a field costs beside its bytes, in a map and in the allocations of name and value. Measured as about 90 bytes.
const FIELD_OVERHEAD: usize = 96;

/// What a chunk costs beside its bytes: the handle, its counter and the allocation.
pub(super) const CHUNK_OVERHEAD: usize = 64;

/// Chunks that are smaller than this on average are joined, so that a response in many small pieces is none in the
/// store.
const SMALL_CHUNK: usize = 4 << 10;

/// A complete response as it is stored: what a [`Store`](super::Store) keeps.
///
/// A store that keeps bytes instead takes it apart by [`to_parts`](Self::to_parts).
pub struct StoredResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Arc<StoredBody>,
    selecting: SelectingFields,
    times: ExchangeTimes,
    /// When it was generated, by the clock of the origin.
    date: SystemTime,
    groups: Vec<String>,
    /// Computed when it is needed first, because a store that reads bytes does not know the settings.
    policy: OnceLock<ReusePolicy>,
}

/// The content, which a validation leaves as it is.
#[derive(Debug)]
pub(super) struct StoredBody {
    pub(super) chunks: Vec<Bytes>,
    pub(super) length: u64,
    pub(super) trailers: Option<HeaderMap>,
}

/// The parts of a [`StoredResponse`]: plain data that can be written and read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoredParts {
    /// The status.
    pub status: StatusCode,
    /// The fields of the head.
    pub headers: HeaderMap,
    /// The content, in order.
    pub body: Vec<Bytes>,
    /// The fields behind the content.
    pub trailers: Option<HeaderMap>,
    /// The fields of the request that `Vary` names.
    pub request_headers: HeaderMap,
    /// When the request was sent.
    pub requested_at: SystemTime,
    /// When the head of the response arrived.
    pub received_at: SystemTime,
}

impl StoredParts {
    /// Returns the parts of an empty response that was received at a time. The rest is set in the fields.
    #[must_use]
    pub fn new(status: StatusCode, received_at: SystemTime) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Vec::new(),
            trailers: None,
            request_headers: HeaderMap::new(),
            requested_at: received_at,
            received_at,
        }
    }
}

impl StoredResponse {
    /// Puts a response together from its parts.
    #[must_use]
    pub fn from_parts(parts: StoredParts) -> Self {
        let selecting = SelectingFields::read(&parts.headers, &parts.request_headers);
        let times = ExchangeTimes {
            request: parts.requested_at,
            response: parts.received_at,
        };
        let body = StoredBody::new(parts.body, parts.trailers);
        Self::new(
            parts.status,
            parts.headers,
            Arc::new(body),
            selecting,
            times,
        )
    }

    /// Takes a response apart. The content is shared, not copied.
    #[must_use]
    pub fn to_parts(&self) -> StoredParts {
        StoredParts {
            status: self.status,
            headers: self.headers.clone(),
            body: self.body.chunks.clone(),
            trailers: self.body.trailers.clone(),
            request_headers: self.selecting.to_headers(),
            requested_at: self.times.request,
            received_at: self.times.response,
        }
    }

    pub(super) fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: Arc<StoredBody>,
        selecting: SelectingFields,
        times: ExchangeTimes,
    ) -> Self {
        Self {
            groups: groups(&headers),
            date: date(&headers, &header::DATE).unwrap_or(times.response),
            status,
            headers,
            body,
            selecting,
            times,
            policy: OnceLock::new(),
        }
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the fields of the head.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Returns the groups that `Cache-Groups` names (RFC 9875).
    #[must_use]
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Returns when the head of the response arrived.
    #[must_use]
    pub fn received_at(&self) -> SystemTime {
        self.times.response
    }

    /// Returns how many bytes it occupies in memory: head, content, and what they need beside.
    #[must_use]
    pub fn size(&self) -> usize {
        let fields = |map: &HeaderMap| -> usize {
            let bytes = map
                .iter()
                .map(|(name, value)| name.as_str().len() + value.len());
            bytes.sum::<usize>() + map.len() * FIELD_OVERHEAD
        };
        let groups: usize = self
            .groups
            .iter()
            .map(|group| group.len() + size_of::<String>())
            .sum();
        let body = &*self.body;
        let content = usize::try_from(body.length).unwrap_or(usize::MAX);
        size_of::<Self>()
            + size_of::<StoredBody>()
            + fields(&self.headers)
            + body.trailers.as_ref().map_or(0, fields)
            + self.selecting.size()
            + groups
            + content.saturating_add(body.chunks.len() * CHUNK_OVERHEAD)
    }

    /// Returns whether a newer response to another request takes its place: whether it is for that request as well.
    #[must_use]
    pub fn is_replaced_by(&self, newer: &Self) -> bool {
        self.selecting == newer.selecting
    }

    pub(super) fn body(&self) -> &Arc<StoredBody> {
        &self.body
    }

    /// Returns its `Date`, or when it was received.
    pub(super) fn date(&self) -> SystemTime {
        self.date
    }

    pub(super) fn selecting(&self) -> &SelectingFields {
        &self.selecting
    }

    /// Returns what it allows, by the settings of the cache.
    pub(super) fn policy(&self, settings: &CacheSettings) -> &ReusePolicy {
        self.policy.get_or_init(|| {
            let directives = ResponseDirectives::read(&self.headers, &settings.targets);
            let max_heuristic = settings.max_heuristic;
            ReusePolicy::new(
                &directives,
                self.status,
                &self.headers,
                self.times,
                max_heuristic,
            )
        })
    }
}

impl StoredBody {
    pub(super) fn new(chunks: Vec<Bytes>, trailers: Option<HeaderMap>) -> Self {
        let length: usize = chunks.iter().map(Bytes::len).sum();
        let chunks = match chunks.len() > 1 && length / chunks.len() < SMALL_CHUNK {
            true => {
                let mut joined = BytesMut::with_capacity(length);
                chunks
                    .iter()
                    .for_each(|chunk| joined.extend_from_slice(chunk));
                vec![joined.freeze()]
            }
            false => chunks,
        };
        Self {
            chunks,
            length: length as u64,
            trailers,
        }
    }
}

impl fmt::Debug for StoredResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredResponse")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("length", &self.body.length)
            .finish_non_exhaustive()
    }
}
