//! RFC 9111 as a shared cache has to obey it, written down a second time: slow, in the order of the document, and without
//! a line of the code that it is compared with.

use super::{
    ask::Ask,
    clock::time_of_day,
    head::{About, Dated, Head, fraction, is_heuristic, lifetime},
    record::{Exchange, Record},
};

/// A stored response: what the origin has sent, and what it has said of it last.
pub struct Stored<'a> {
    pub record: &'a Record,
    /// The one whose content it is.
    pub content: &'a Exchange,
    /// The one whose head it has: a 304, the response to a HEAD, or the same.
    pub newest: &'a Exchange,
}

impl Stored<'_> {
    fn head(&self) -> &Head {
        &self.newest.head
    }

    /// RFC 9111 4.2.3, in milliseconds.
    pub fn age(&self, now: u64) -> u64 {
        let came = time_of_day(self.newest.came);
        let apparent = match self.head().date {
            // Dates have whole seconds, and so has this age.
            Some(Dated::At(seconds)) => {
                let age = u64::try_from(fraction(came) - seconds * 1000).unwrap_or(0);
                age / 1000 * 1000
            }
            _ => 0,
        };
        let said = self.head().age.map_or(0, |(_, seconds)| seconds * 1000);
        let corrected = said + self.newest.came - self.newest.sent;
        apparent.max(corrected) + now - self.newest.came
    }

    /// RFC 9111 4.2.1, in milliseconds.
    pub fn lifetime(&self) -> u64 {
        lifetime(
            &Head {
                status: self.content.head.status,
                ..self.head().clone()
            },
            time_of_day(self.newest.came),
        )
    }

    /// Returns the rule that forbids the response to be stored at all.
    pub fn forbids_storing(&self) -> Option<&'static str> {
        let asked = [self.content, self.newest].map(|one| &self.record.asks[one.client]);
        let status = self.content.head.status;
        if self.content.method != "GET" {
            return Some(
                "RFC 9111 3: the request method is understood by the cache (only GET is stored)",
            );
        }
        if matches!(status, 206 | 304) || self.content.fails {
            return Some(
                "RFC 9111 3: the response status code is final, and partial ones need to be understood",
            );
        }
        if asked.iter().any(|ask| ask.no_store) {
            return Some(
                "RFC 9111 5.2.1.5: MUST NOT store any part of any response to this request",
            );
        }
        let varies = self.head().varies_by();
        if asked.iter().any(|ask| ask.steers)
            && !varies.iter().any(|name| name == "x-forwarded-host")
        {
            return Some("a response to a request with X-Forwarded-Host is poisoned");
        }
        for one in [self.content, self.newest] {
            let head = &one.head;
            let directives = head.directives();
            let understood = directives.must_understand && status != 299;
            if directives.must_understand && !understood {
                return Some("RFC 9111 3: the cache understands the response status code");
            }
            if directives.no_store && !understood {
                return Some("RFC 9111 5.2.2.5: no-store");
            }
            if directives.private == About::All {
                return Some(
                    "RFC 9111 5.2.2.7: a shared cache MUST NOT store the response (private)",
                );
            }
            let explicit = directives.public
                || directives.max_age.is_some()
                || directives.s_maxage.is_some()
                || (head.expires.is_some() && !head.is_targeted());
            if !explicit && !is_heuristic(status) {
                return Some(
                    "RFC 9111 3: the response contains one of the things that allow it to be stored",
                );
            }
            let allows =
                directives.public || directives.must_revalidate || directives.s_maxage.is_some();
            if self.record.asks[one.client].authorized && !allows {
                return Some("RFC 9111 3.5: responses to requests with Authorization");
            }
            let names_shared = directives.public
                || directives.s_maxage.is_some()
                || head.is_targeted() && directives.max_age.is_some();
            let hides = [directives.no_cache, directives.private].contains(&About::Fields);
            if self.content.head.sets_cookie && one.id == self.content.id && !hides && !names_shared
            {
                return Some("a response with Set-Cookie needs the origin to name shared caches");
            }
        }
        None
    }

    /// Returns the rule that forbids the response to be used for a request, whether it is fresh or not.
    pub fn forbids_request(&self, ask: &Ask) -> Option<&'static str> {
        if self.content.url != ask.url {
            return Some(
                "RFC 9111 4: the presented target URI and that of the stored response match",
            );
        }
        if !matches!(ask.method, "GET" | "HEAD") {
            return Some(
                "RFC 9111 4: the request method allows it to be used for the presented request",
            );
        }
        let varies = self.head().varies_by();
        if varies.iter().any(|name| name == "*") {
            return Some("RFC 9111 4.1: a member \"*\" always fails to match");
        }
        for one in [self.content, self.newest] {
            let other = &self.record.asks[one.client];
            if varies
                .iter()
                .any(|name| other.field(name) != ask.field(name))
            {
                return Some(
                    "RFC 9111 4.1: all the presented request header fields nominated by Vary match",
                );
            }
        }
        if ask.steers && !varies.iter().any(|name| name == "x-forwarded-host") {
            return Some("a request with X-Forwarded-Host is not for the cache");
        }
        let gone = self.record.invalidations.iter().any(|gone| {
            gone.url.is_none_or(|url| url == ask.url)
                && self.newest.sent < gone.at
                && gone.at <= ask.began
        });
        gone.then_some("RFC 9111 4.4: what was invalidated or purged is not used")
    }

    /// Returns the rule that forbids the response to be used at a time without being validated for the request.
    pub fn forbids_unvalidated(&self, ask: &Ask, now: u64) -> Option<&'static str> {
        let directives = self.head().directives();
        // It has come since the request has: one that was shared.
        let is_new = self.newest.came >= ask.began;
        if directives.no_cache == About::All {
            return Some(
                "RFC 9111 5.2.2.4: no-cache MUST NOT be used without successful validation",
            );
        }
        let (age, lifetime) = (self.age(now), self.lifetime());
        let stale_by = (age >= lifetime).then(|| age - lifetime);
        let strict = directives.must_revalidate || directives.proxy_revalidate;
        let within = |seconds: Option<(&str, u64)>| {
            let stale_by = stale_by.unwrap_or(0);
            !strict && seconds.is_some_and(|(_, seconds)| stale_by <= seconds * 1000)
        };
        let failed = self.record.exchanges.iter().any(|one| {
            let fails = one.fails || matches!(one.head.status, 500 | 502 | 503 | 504);
            fails && one.url == ask.url && one.came >= ask.began && one.came <= now
        });
        if failed && within(directives.stale_if_error) {
            return None;
        }
        if ask.no_cache && !is_new {
            return Some("RFC 9111 5.2.1.4: no-cache of the request");
        }
        if ask.max_age.is_some_and(|max| age > max * 1000) && !is_new {
            return Some("RFC 9111 5.2.1.1: max-age of the request");
        }
        if ask
            .min_fresh
            .is_some_and(|fresh| lifetime < age + fresh * 1000)
            && !is_new
        {
            return Some("RFC 9111 5.2.1.3: min-fresh of the request");
        }
        let stale_by = stale_by?;
        if strict {
            return Some(
                "RFC 9111 5.2.2.2: must-revalidate: MUST NOT use it once it has become stale",
            );
        }
        let accepts = ask
            .max_stale
            .is_some_and(|max| max.is_none_or(|max| stale_by <= max * 1000));
        if accepts && directives.s_maxage.is_none() || within(directives.stale_while_revalidate) {
            return None;
        }
        Some("RFC 9111 4.2.4: MUST NOT generate a stale response")
    }
}
