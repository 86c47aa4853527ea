//! Responses that are made from what is stored, or from what arrives.

use std::{sync::Arc, time::SystemTime};

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, response::Parts};

use super::{
    body::CacheBody,
    flight::Flight,
    recording::Recording,
    rules::{RangeAnswer, is_left_out_of_304, is_not_modified, range_answer},
    settings::CacheSettings,
    stored::StoredResponse,
};

/// The conditions of a client, which the cache answers.
#[derive(Clone, Copy)]
pub(super) struct ClientConditions<'a> {
    pub(super) method: &'a Method,
    /// The fields of the request.
    pub(super) headers: &'a HeaderMap,
}

impl ClientConditions<'_> {
    /// Returns the answer from a stored response, with its age.
    pub(super) fn answer_stored<B>(
        &self,
        stored: &StoredResponse,
        settings: &CacheSettings,
        now: SystemTime,
    ) -> Response<CacheBody<B>> {
        let (status, headers) = (stored.status(), stored.headers());
        let age = stored.policy(settings).age(now).as_secs();
        if is_not_modified(self.headers, status, headers, stored.received_at()) {
            return with_age(not_modified(headers), age);
        }
        let body = stored.body();
        let whole = 0..body.length;
        let range = match *self.method == Method::GET {
            true => range_answer(self.headers, status, headers, body.length),
            false => RangeAnswer::Whole,
        };
        let mut response = Response::new(match &range {
            RangeAnswer::Whole if *self.method == Method::GET => {
                CacheBody::stored(body.clone(), whole)
            }
            RangeAnswer::Part(part) => CacheBody::stored(body.clone(), part.clone()),
            RangeAnswer::Whole | RangeAnswer::Unsatisfiable => CacheBody::empty(),
        });
        *response.status_mut() = status;
        *response.headers_mut() = headers.clone();
        match range {
            RangeAnswer::Whole => {
                // A HEAD gets the length that a GET would have.
                if *self.method == Method::HEAD && status == StatusCode::OK {
                    set(
                        &mut response,
                        header::CONTENT_LENGTH,
                        &body.length.to_string(),
                    );
                }
            }
            RangeAnswer::Part(part) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let (last, length) = (part.end - 1, body.length);
                let range = format!("bytes {}-{last}/{length}", part.start);
                set(&mut response, header::CONTENT_RANGE, &range);
                let length = (part.end - part.start).to_string();
                set(&mut response, header::CONTENT_LENGTH, &length);
            }
            RangeAnswer::Unsatisfiable => {
                *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                // RFC 9110 15.5.17: "SHOULD generate a Content-Range header field specifying the current length".
                let range = format!("bytes */{}", body.length);
                set(&mut response, header::CONTENT_RANGE, &range);
                set(&mut response, header::CONTENT_LENGTH, "0");
            }
        }
        with_age(response, age)
    }

    /// Returns the answer by a response that another request has caused, and that is arriving, with its age: it may
    /// arrive for long. `None` if its beginning is gone.
    pub(super) fn answer_joined<B>(
        &self,
        recording: &Arc<Recording>,
        flight: &Arc<Flight>,
        now: SystemTime,
    ) -> Option<Response<CacheBody<B>>> {
        let age = recording.policy.age(now).as_secs();
        if is_not_modified(self.headers, recording.status, &recording.headers, now) {
            return Some(with_age(not_modified(&recording.headers), age));
        }
        let body = CacheBody::live(recording.read()?, recording.length, flight.clone());
        let mut response = Response::new(body);
        *response.status_mut() = recording.status;
        *response.headers_mut() = recording.headers.clone();
        Some(with_age(response, age))
    }

    /// Returns the answer by the response to this request, whose conditions were not forwarded.
    pub(super) fn answer_own<B>(
        &self,
        mut parts: Parts,
        body: CacheBody<B>,
        now: SystemTime,
    ) -> Response<CacheBody<B>> {
        if !is_not_modified(self.headers, parts.status, &parts.headers, now) {
            return Response::from_parts(parts, body);
        }
        let kept: HeaderMap = without_metadata(&parts.headers);
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers = kept;
        Response::from_parts(parts, CacheBody::empty())
    }
}

/// Returns a 304.
fn not_modified<B>(headers: &HeaderMap) -> Response<CacheBody<B>> {
    let mut response = Response::new(CacheBody::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.headers_mut() = without_metadata(headers);
    response
}

fn without_metadata(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| !is_left_out_of_304(name));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// RFC 9111 4: "When a stored response is used to satisfy a request without validation, a cache MUST generate an Age
/// header field (Section 5.1), replacing any present in the response with a value equal to the stored response's
/// current_age".
fn with_age<B>(mut response: Response<B>, age: u64) -> Response<B> {
    response
        .headers_mut()
        .insert(header::AGE, HeaderValue::from(age));
    response
}

fn set<B>(response: &mut Response<B>, name: header::HeaderName, value: &str) {
    // Digits and signs are a valid value.
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// Returns a response of the cache itself, without content.
pub(super) fn own_response<B>(status: StatusCode) -> Response<CacheBody<B>> {
    let mut response = Response::new(CacheBody::empty());
    *response.status_mut() = status;
    response
}
