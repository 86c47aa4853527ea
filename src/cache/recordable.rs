//! The head of a response that is being stored.

use http::{HeaderMap, StatusCode};

use super::{
    generations::KeyGeneration,
    rules::{ExchangeTimes, ReusePolicy, SelectingFields},
};

/// A response that is being stored, apart from its content.
pub(super) struct Recordable {
    pub(super) policy: ReusePolicy,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) selecting: SelectingFields,
    pub(super) length: Option<u64>,
    pub(super) times: ExchangeTimes,
    pub(super) since: KeyGeneration,
}
