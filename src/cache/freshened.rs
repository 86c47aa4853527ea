//! A stored response with the head of a newer one in its place.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderValue, header};

use super::{
    lookup::Lookup,
    rules::{ExchangeTimes, ResponseDirectives, SelectingFields, all_selected, freshen, storable},
    settings::CacheSettings,
    stored::StoredResponse,
};

/// Returns a stored response, updated by a 304, or by the 200 to a HEAD. `Err` has one that may not be stored again.
///
/// `sent` are the fields of the request that was answered, `lookup` is what it asks of the cache.
pub(super) fn freshened(
    stored: &StoredResponse,
    update: &HeaderMap,
    sent: &HeaderMap,
    lookup: &Lookup,
    times: ExchangeTimes,
    settings: &CacheSettings,
) -> Result<Arc<StoredResponse>, Arc<StoredResponse>> {
    let targets = &settings.targets;
    let mut names = targets.iter().chain([&header::CACHE_CONTROL]);
    // A response that says nothing of caches leaves what was said before as it was.
    let source = match names.any(|name| update.contains_key(name)) {
        true => update,
        false => stored.headers(),
    };
    let directives = ResponseDirectives::read(source, targets);
    let mut headers = freshen(stored.headers(), update, &directives);
    if !update.contains_key(header::DATE) {
        headers.remove(header::DATE);
    }
    add_date(&mut headers, times.response);
    let directives = ResponseDirectives::read(&headers, targets);
    let may = storable(lookup.authorized, stored.status(), &headers, &directives);
    let selecting = SelectingFields::read(&headers, sent);
    let is_steered = !all_selected(&lookup.steering, &selecting);
    let body = stored.body().clone();
    let fresh = StoredResponse::new(stored.status(), headers, body, selecting, times);
    let fresh = Arc::new(fresh);
    match may {
        Ok(()) if !is_steered => Ok(fresh),
        _ => Err(fresh),
    }
}

/// RFC 9110 6.6.1: "A recipient with a clock that receives a response message without a Date header field MUST record
/// the time it was received and append a corresponding Date header field to the message's header section if it is
/// cached or forwarded downstream."
pub(super) fn add_date(headers: &mut HeaderMap, received: SystemTime) {
    if !headers.contains_key(header::DATE) {
        if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(received)) {
            headers.insert(header::DATE, date);
        }
    }
}
