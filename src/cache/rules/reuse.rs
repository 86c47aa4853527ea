//! Whether a stored response may be used, with or without asking the origin (RFC 9111 4).

use std::time::{Duration, SystemTime};

use http::{HeaderMap, StatusCode, header};

use super::{
    directives::{RequestDirectives, ResponseDirectives},
    freshness::{ExchangeTimes, initial_age, lifetime, since},
};

/// What a stored response allows, computed once from its head.
#[derive(Clone, Debug)]
pub(crate) struct ReusePolicy {
    /// When its head arrived.
    received: SystemTime,
    /// How old it was then.
    initial_age: Duration,
    lifetime: Duration,
    stale_while_revalidate: Duration,
    stale_if_error: Option<Duration>,
    no_cache: bool,
    must_revalidate: bool,
    has_s_maxage: bool,
    allows_authorized: bool,
    has_validator: bool,
}

/// What may be done with a stored response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    /// It is fresh.
    Fresh,
    /// It is stale, and the client has said that it accepts that.
    Stale,
    /// It is stale, and may be used while it is validated.
    WhileRevalidating,
    /// It may be used if the origin confirms it.
    Validate,
    /// It is not for this request at all.
    Never,
}

impl ReusePolicy {
    /// Reads the head of a response. `max_heuristic` is the longest lifetime that a response has without saying so.
    pub(crate) fn new(
        directives: &ResponseDirectives,
        status: StatusCode,
        headers: &HeaderMap,
        times: ExchangeTimes,
        max_heuristic: Duration,
    ) -> Self {
        Self {
            received: times.response,
            initial_age: initial_age(headers, times),
            lifetime: lifetime(directives, status, headers, times.response, max_heuristic),
            stale_while_revalidate: seconds(directives.stale_while_revalidate).unwrap_or_default(),
            stale_if_error: seconds(directives.stale_if_error),
            no_cache: directives.no_cache,
            must_revalidate: directives.must_revalidate,
            has_s_maxage: directives.s_maxage.is_some(),
            allows_authorized: directives.allow_authorized(),
            has_validator: headers.contains_key(header::ETAG)
                || headers.contains_key(header::LAST_MODIFIED),
        }
    }

    /// Returns the `current_age` of RFC 9111 4.2.3.
    pub(crate) fn age(&self, now: SystemTime) -> Duration {
        self.initial_age + since(now, self.received)
    }

    /// Returns for how long the response stays fresh. Negative if it is stale, in seconds.
    pub(crate) fn time_to_live(&self, now: SystemTime) -> i64 {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        seconds(self.lifetime).saturating_sub(seconds(self.age(now)))
    }

    /// Returns whether a later request could be answered with the help of the response.
    ///
    /// RFC 9111 3: "Note that, in normal operation, some caches will not store a response that has neither a cache
    /// validator nor an explicit expiration time, as such responses are not usually useful to store."
    pub(crate) fn is_useful(&self) -> bool {
        let stale = self
            .stale_while_revalidate
            .max(self.stale_if_error.unwrap_or_default());
        let longest = match self.no_cache {
            true => Duration::ZERO,
            false => self.lifetime.saturating_add(stale),
        };
        self.has_validator || longest > self.initial_age
    }

    /// Decides what may be done with the response for a request whose selecting fields match.
    ///
    /// RFC 9111 4: "When presented with a request, a cache MUST NOT reuse a stored response unless" it is fresh,
    /// allowed to be served stale, or successfully validated, and not if it says `no-cache`, "unless it is successfully
    /// validated".
    pub(crate) fn reuse(
        &self,
        request: &RequestDirectives,
        authorized: bool,
        now: SystemTime,
    ) -> Reuse {
        // Stricter than the RFC: a server that answers those who have authenticated otherwise than others does not
        // always say `Vary: Authorization`.
        if authorized && !self.allows_authorized {
            return Reuse::Never;
        }
        let age = self.age(now);
        // RFC 9111 5.2.1.4: "the client prefers a stored response not be used to satisfy the request without
        // successful validation on the origin server."
        if self.no_cache || request.no_cache {
            return Reuse::Validate;
        }
        // RFC 9111 5.2.1.1: "the client prefers a response whose age is less than or equal to the specified number of
        // seconds."
        if seconds(request.max_age).is_some_and(|max| age > max) {
            return Reuse::Validate;
        }
        // RFC 9111 5.2.1.3: "the client prefers a response whose freshness lifetime is no less than its current age
        // plus the specified time in seconds."
        if seconds(request.min_fresh).is_some_and(|fresh| self.lifetime < age.saturating_add(fresh))
        {
            return Reuse::Validate;
        }
        // RFC 9111 4.2: "response_is_fresh = (freshness_lifetime > current_age)"
        let Some(stale) = self.staleness(now) else {
            return Reuse::Fresh;
        };
        // RFC 9111 4.2.4: "A cache MUST NOT generate a stale response if it is prohibited by an explicit in-protocol
        // directive (e.g., by a no-cache response directive, a must-revalidate response directive, or an applicable
        // s-maxage or proxy-revalidate response directive; see Section 5.2.2)."
        if self.must_revalidate {
            return Reuse::Validate;
        }
        let accepted = seconds(request.max_stale).filter(|_| !self.has_s_maxage);
        if accepted.is_some_and(|accepted| stale <= accepted) {
            return Reuse::Stale;
        }
        // RFC 9111 5.2.1.1: "Unless the max-stale request directive is also present, the client does not wish to
        // receive a stale response."
        if stale < self.stale_while_revalidate && request.max_age.is_none() {
            return Reuse::WhileRevalidating;
        }
        Reuse::Validate
    }

    /// Returns whether a request may be answered by the response as it is, although it is the response to another one.
    ///
    /// RFC 9111 4: "A cache can use a response that is stored or storable to satisfy multiple requests, provided that
    /// it is allowed to reuse that response for the requests in question."
    pub(crate) fn is_usable(&self, request: &RequestDirectives, now: SystemTime) -> bool {
        let reuse = self.reuse(request, false, now);
        !matches!(reuse, Reuse::Validate | Reuse::Never)
    }

    /// Returns whether the response has to be validated for each request.
    pub(crate) fn needs_validation(&self) -> bool {
        let is_stale_at_once = self.lifetime.is_zero()
            && (self.stale_while_revalidate.is_zero() || self.must_revalidate);
        self.no_cache || is_stale_at_once
    }

    /// Returns whether the response may be used because the origin fails. `default` is how stale it may be if it says
    /// nothing of that.
    ///
    /// `s-maxage` forbids it by default, but not where the response also says `stale-if-error`, which is the more
    /// precise of the two.
    pub(crate) fn allows_error(&self, default: Duration, now: SystemTime) -> bool {
        if self.no_cache || self.must_revalidate {
            return false;
        }
        let stale = self.staleness(now).unwrap_or_default();
        match self.stale_if_error {
            Some(allowed) => stale <= allowed,
            None => !self.has_s_maxage && !default.is_zero() && stale <= default,
        }
    }

    /// Returns for how long the response has been stale. `None` if it is fresh.
    fn staleness(&self, now: SystemTime) -> Option<Duration> {
        self.age(now).checked_sub(self.lifetime)
    }
}

fn seconds(seconds: Option<u64>) -> Option<Duration> {
    seconds.map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
    }

    /// The policy of a response that arrived at 0.
    fn policy(lines: &[(&'static str, &'static str)]) -> ReusePolicy {
        let headers = lines
            .iter()
            .fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(*name, value.parse().unwrap());
                map
            });
        let directives = ResponseDirectives::read(&headers, &[]);
        let times = ExchangeTimes {
            request: at(0),
            response: at(0),
        };
        ReusePolicy::new(&directives, StatusCode::OK, &headers, times, Duration::ZERO)
    }

    fn reuse(response: &'static str, request: &'static str, now: u64) -> Reuse {
        let mut headers = HeaderMap::new();
        headers.insert("cache-control", request.parse().unwrap());
        let request = RequestDirectives::read(&headers);
        policy(&[("cache-control", response)]).reuse(&request, false, at(now))
    }

    /// RFC 9111 4.2: "response_is_fresh = (freshness_lifetime > current_age)".
    #[test]
    fn a_response_is_fresh_until_its_lifetime_has_passed() {
        assert_eq!(reuse("max-age=10", "", 9), Reuse::Fresh);
        assert_eq!(reuse("max-age=10", "", 10), Reuse::Validate);
        assert_eq!(reuse("max-age=0", "", 0), Reuse::Validate);
        let aged = policy(&[("cache-control", "max-age=10"), ("age", "7")]);
        assert_eq!(
            (aged.time_to_live(at(2)), aged.time_to_live(at(9))),
            (1, -6)
        );
    }

    /// RFC 9111 5.2.2.4.
    #[test]
    fn no_cache_is_validated_always() {
        assert_eq!(
            reuse("max-age=10, no-cache", "max-stale", 0),
            Reuse::Validate
        );
        assert_eq!(reuse("max-age=10, no-cache=\"a\"", "", 0), Reuse::Fresh);
    }

    /// RFC 9111 5.2.1.
    #[test]
    fn requests_may_ask_for_more() {
        assert_eq!(reuse("max-age=10", "no-cache", 0), Reuse::Validate);
        assert_eq!(reuse("max-age=10", "max-age=5", 5), Reuse::Fresh);
        assert_eq!(reuse("max-age=10", "max-age=5", 6), Reuse::Validate);
        assert_eq!(reuse("max-age=10", "min-fresh=5", 5), Reuse::Fresh);
        assert_eq!(reuse("max-age=10", "min-fresh=5", 6), Reuse::Validate);
    }

    /// RFC 9111 5.2.1.2 and 4.2.4.
    #[test]
    fn requests_may_accept_stale_responses_where_the_origin_allows_it() {
        assert_eq!(reuse("max-age=10", "max-stale=5", 15), Reuse::Stale);
        assert_eq!(reuse("max-age=10", "max-stale=5", 16), Reuse::Validate);
        assert_eq!(reuse("max-age=10", "max-stale", 9999), Reuse::Stale);
        for forbids in [
            "max-age=10, must-revalidate",
            "max-age=10, proxy-revalidate",
            "s-maxage=10",
        ] {
            assert_eq!(
                reuse(forbids, "max-stale", 15),
                Reuse::Validate,
                "{forbids}"
            );
        }
    }

    /// RFC 5861 3: "caches MAY serve the response it appears in after it becomes stale, up to the indicated number of
    /// seconds."
    #[test]
    fn stale_while_revalidate() {
        let response = "max-age=10, stale-while-revalidate=5";
        assert_eq!(reuse(response, "", 14), Reuse::WhileRevalidating);
        assert_eq!(reuse(response, "", 15), Reuse::Validate);
        assert_eq!(reuse(response, "max-age=100", 14), Reuse::Validate);
        let shared = "s-maxage=10, stale-while-revalidate=5";
        assert_eq!(reuse(shared, "", 14), Reuse::WhileRevalidating);
        let strict = "max-age=10, must-revalidate, stale-while-revalidate=5";
        assert_eq!(reuse(strict, "", 14), Reuse::Validate);
    }

    /// RFC 5861 4: "a cached stale response MAY be used to satisfy the request, regardless of other freshness
    /// information", up to the indicated number of seconds.
    #[test]
    fn stale_if_error() {
        let allows = |response, default, now| {
            let policy = policy(&[("cache-control", response)]);
            policy.allows_error(Duration::from_secs(default), at(now))
        };
        assert!(allows("max-age=10, stale-if-error=5", 0, 15));
        assert!(!allows("max-age=10, stale-if-error=5", 60, 16));
        assert!(allows("max-age=10", 60, 70) && !allows("max-age=10", 60, 71));
        assert!(!allows("max-age=10", 0, 10));
        assert!(allows("s-maxage=10, stale-if-error=5", 0, 15) && !allows("s-maxage=10", 60, 15));
        for forbids in ["must-revalidate", "proxy-revalidate", "no-cache"] {
            let headers = [
                ("cache-control", "max-age=10, stale-if-error=60"),
                ("cache-control", forbids),
            ];
            let policy = policy(&headers);
            assert!(
                !policy.allows_error(Duration::from_secs(60), at(11)),
                "{forbids}"
            );
        }
    }

    /// A response that was not asked for with credentials is not for those who have some, unless it is for anyone.
    #[test]
    fn authorization_needs_a_directive_in_both_directions() {
        let none = RequestDirectives::default();
        let with = |value| policy(&[("cache-control", value)]).reuse(&none, true, at(0));
        assert_eq!(with("max-age=10"), Reuse::Never);
        assert_eq!(with("max-age=10, public"), Reuse::Fresh);
    }

    /// RFC 9111 3: neither a validator nor a lifetime.
    #[test]
    fn what_no_later_request_has_a_use_for() {
        assert!(!policy(&[]).is_useful());
        assert!(policy(&[("etag", "\"a\"")]).is_useful());
        assert!(policy(&[("last-modified", "x")]).is_useful());
        assert!(policy(&[("cache-control", "max-age=1")]).is_useful());
        assert!(!policy(&[("cache-control", "max-age=10"), ("age", "10")]).is_useful());
        assert!(!policy(&[("cache-control", "max-age=10, no-cache")]).is_useful());
        assert!(policy(&[("cache-control", "max-age=0, stale-while-revalidate=1")]).is_useful());
    }
}
