//! Heads of responses, as data that is written out as fields: the model reads the data, and parses nothing.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::clock::DAY;

/// A time in seconds, as it is written, and the longest that it may be taken for.
type Seconds = (&'static str, u64);

/// The largest number of seconds (RFC 9111 1.2.2).
const MOST: u64 = 1 << 31;

/// Times of `Cache-Control`. What is no number makes a response stale.
const SECONDS: [Seconds; 9] = [
    ("60", 60),
    ("10", 10),
    ("5", 5),
    ("1", 1),
    ("0", 0),
    ("\"60\"", 60),
    ("99999999999999999999", MOST),
    ("abc", 0),
    ("-1", 0),
];

/// Targeted fields that are malformed or empty, so that `Cache-Control` counts.
const MALFORMED: [&str; 5] = ["", "max-age=x", "max-age=5 60", "no-store,", "&"];

/// Statuses, those that are most common most often.
const STATUSES: [u16; 16] = [
    200, 200, 200, 200, 200, 200, 203, 204, 299, 301, 302, 404, 410, 500, 502, 503,
];

/// What `no-cache` and `private` are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum About {
    #[default]
    Nothing,
    All,
    /// `x-hidden` and `Set-Cookie`.
    Fields,
}

/// The directives of a response.
#[derive(Clone, Debug, Default)]
pub struct Directives {
    pub max_age: Option<Seconds>,
    /// Another `max-age` behind it.
    pub second_max_age: bool,
    pub s_maxage: Option<Seconds>,
    pub stale_while_revalidate: Option<Seconds>,
    pub stale_if_error: Option<Seconds>,
    pub no_store: bool,
    pub no_cache: About,
    pub private: About,
    pub must_revalidate: bool,
    pub proxy_revalidate: bool,
    pub public: bool,
    pub must_understand: bool,
    pub immutable: bool,
}

/// How a field with a date is written.
#[derive(Clone, Copy, Debug)]
pub enum Dated {
    /// So many seconds from now.
    At(i64),
    Invalid,
    Twice,
}

/// The head of a response.
#[derive(Clone, Debug, Default)]
pub struct Head {
    pub status: u16,
    pub control: Option<Directives>,
    /// `CDN-Cache-Control`.
    pub targeted: Option<Directives>,
    pub malformed_target: Option<&'static str>,
    pub expires: Option<Dated>,
    pub date: Option<Dated>,
    /// `Age`, and the number of seconds that it says.
    pub age: Option<(&'static str, u64)>,
    /// `Last-Modified`, in seconds before now.
    pub modified: Option<i64>,
    pub etag: Option<&'static str>,
    pub vary: Vec<&'static str>,
    pub sets_cookie: bool,
    /// The path in `Location`.
    pub location: Option<&'static str>,
}

impl Directives {
    fn random(random: &mut fastrand::Rng, is_targeted: bool) -> Self {
        let known = if is_targeted { 5 } else { SECONDS.len() };
        let seconds = |random: &mut fastrand::Rng, odds| {
            let nth = random.usize(..known).min(random.usize(..known));
            one_in(random, odds).then_some(SECONDS[nth])
        };
        let about = |random: &mut fastrand::Rng| match random.u8(..24) {
            0 => About::All,
            1 | 2 => About::Fields,
            _ => About::Nothing,
        };
        Self {
            max_age: seconds(random, 1).filter(|_| !one_in(random, 5)),
            second_max_age: !is_targeted && one_in(random, 30),
            s_maxage: seconds(random, 5),
            stale_while_revalidate: seconds(random, 5),
            stale_if_error: seconds(random, 5),
            no_store: one_in(random, 20),
            no_cache: about(random),
            private: about(random),
            must_revalidate: one_in(random, 10),
            proxy_revalidate: one_in(random, 15),
            public: one_in(random, 4),
            must_understand: one_in(random, 12),
            immutable: one_in(random, 10),
        }
    }

    /// Writes the directives out.
    fn write(&self) -> String {
        let mut all = Vec::new();
        let mut timed = |name: &str, seconds: Option<Seconds>| {
            all.extend(seconds.map(|(text, _)| format!("{name}={text}")));
        };
        timed("max-age", self.max_age);
        timed(
            "max-age",
            self.max_age.and(self.second_max_age.then_some(("7", 7))),
        );
        timed("s-maxage", self.s_maxage);
        timed("stale-while-revalidate", self.stale_while_revalidate);
        timed("stale-if-error", self.stale_if_error);
        for (name, about) in [("no-cache", self.no_cache), ("private", self.private)] {
            all.extend(match about {
                About::Nothing => None,
                About::All => Some(name.to_owned()),
                About::Fields => Some(format!("{name}=\"x-hidden, Set-Cookie\"")),
            });
        }
        let flags = [
            ("no-store", self.no_store),
            ("must-revalidate", self.must_revalidate),
            ("proxy-revalidate", self.proxy_revalidate),
            ("public", self.public),
            ("must-understand", self.must_understand),
            ("immutable", self.immutable),
        ];
        all.extend(
            flags
                .iter()
                .filter(|flag| flag.1)
                .map(|flag| flag.0.to_owned()),
        );
        all.join(", ")
    }
}

impl Head {
    pub fn random(random: &mut fastrand::Rng) -> Self {
        // Half of them are plain, so that much is stored.
        if random.bool() {
            let control = Directives {
                max_age: Some(SECONDS[random.usize(..3)]),
                ..Directives::default()
            };
            return Self {
                status: 200,
                control: Some(control),
                date: Some(Dated::At(0)),
                etag: random.bool().then_some("strong"),
                vary: if one_in(random, 4) {
                    vec!["x-a"]
                } else {
                    Vec::new()
                },
                ..Self::default()
            };
        }
        let dated = |random: &mut fastrand::Rng, seconds: &[i64]| match random.u8(..8) {
            0 => Dated::Invalid,
            1 => Dated::Twice,
            _ => Dated::At(seconds[random.usize(..seconds.len())]),
        };
        let ages = [
            ("0", 0),
            ("3", 3),
            ("100", 100),
            ("abc", 0),
            ("3, 9", 3),
            ("99999999999999", MOST),
        ];
        let vary: [&[&str]; 8] = [
            &[],
            &[],
            &[],
            &["x-a"],
            &["X-A, accept-language"],
            &["accept-language", "x-a"],
            &["x-forwarded-host"],
            &["x-a", "*"],
        ];
        Self {
            status: STATUSES[random.usize(..STATUSES.len())],
            control: (!one_in(random, 6)).then(|| Directives::random(random, false)),
            targeted: one_in(random, 6).then(|| Directives::random(random, true)),
            malformed_target: one_in(random, 12)
                .then(|| MALFORMED[random.usize(..MALFORMED.len())]),
            expires: one_in(random, 4).then(|| dated(random, &[60, 5, 0, -60])),
            date: (!one_in(random, 6)).then(|| dated(random, &[0, 0, 0, -4, -30, 30])),
            age: one_in(random, 6).then(|| ages[random.usize(..ages.len())]),
            modified: random.bool().then(|| random.i64(0..1000)),
            etag: [None, Some("strong"), Some("weak")][random.usize(..3)],
            vary: vary[random.usize(..vary.len())].to_vec(),
            sets_cookie: one_in(random, 10),
            location: one_in(random, 10).then_some("/1"),
        }
    }

    /// Returns the directives that count (RFC 9213 2.2).
    pub fn directives(&self) -> Directives {
        let targeted = self.targeted.clone().filter(|one| !one.write().is_empty());
        match self.malformed_target {
            None if self.is_targeted() => targeted.unwrap_or_default(),
            _ => self.control.clone().unwrap_or_default(),
        }
    }

    /// Returns whether `Cache-Control` and `Expires` say nothing.
    pub fn is_targeted(&self) -> bool {
        let targeted = self.targeted.as_ref();
        self.malformed_target.is_none() && targeted.is_some_and(|one| !one.write().is_empty())
    }

    /// Returns the names in `Vary`, in lower case.
    pub fn varies_by(&self) -> Vec<String> {
        let names = self.vary.iter().flat_map(|line| line.split(','));
        names.map(|name| name.trim().to_ascii_lowercase()).collect()
    }

    /// Returns the tag of the response with this number.
    pub fn tag(&self, id: usize) -> Option<String> {
        Some(match self.etag? {
            "weak" => format!("W/\"{id}\""),
            _ => format!("\"{id}\""),
        })
    }

    /// Writes the fields out for the response with this number.
    pub fn write(&self, id: usize, now: SystemTime) -> HeaderMap {
        let mut fields = HeaderMap::new();
        let mut add = |name: &'static str, value: String| {
            let value = HeaderValue::try_from(value).unwrap();
            fields.append(HeaderName::from_static(name), value);
        };
        if let Some(control) = &self.control {
            add("cache-control", control.write());
        }
        match (self.malformed_target, &self.targeted) {
            (Some(malformed), _) => add("cdn-cache-control", malformed.to_owned()),
            (None, Some(targeted)) => add("cdn-cache-control", targeted.write()),
            (None, None) => {}
        }
        for (name, dated) in [("expires", self.expires), ("date", self.date)] {
            match dated {
                None => {}
                Some(Dated::At(seconds)) => add(name, date(now, seconds)),
                Some(Dated::Invalid) => add(name, "0".to_owned()),
                Some(Dated::Twice) => {
                    add(name, date(now, 0));
                    add(name, date(now, 60));
                }
            }
        }
        if let Some((text, _)) = self.age {
            add("age", text.to_owned());
        }
        if let Some(seconds) = self.modified {
            add("last-modified", date(now, -seconds));
        }
        if let Some(tag) = self.tag(id) {
            add("etag", tag);
        }
        for line in &self.vary {
            add("vary", (*line).to_owned());
        }
        if self.sets_cookie {
            add("set-cookie", format!("id={id}"));
        }
        if let Some(path) = self.location {
            add("location", path.to_owned());
        }
        add("x-hidden", id.to_string());
        fields
    }
}

/// Writes a time out that is so many seconds from another one.
pub fn date(now: SystemTime, seconds: i64) -> String {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    httpdate::fmt_http_date(if seconds < 0 {
        now - distance
    } else {
        now + distance
    })
}

/// Returns `true` once in so many times.
pub fn one_in(random: &mut fastrand::Rng, times: u32) -> bool {
    random.u32(..times) == 0
}

/// Returns for how long a response is fresh (RFC 9111 4.2.1), in milliseconds. `at` is the time at which it came.
pub fn lifetime(head: &Head, at: SystemTime) -> u64 {
    let directives = head.directives();
    if let Some((_, seconds)) = directives.s_maxage.or(directives.max_age) {
        return seconds * 1000;
    }
    // Dates are written in whole seconds, also that of the cache for a response without one.
    let seconds = match head.date {
        Some(Dated::At(seconds)) => seconds,
        _ => 0,
    };
    let sent = seconds * 1000 - fraction(at);
    if let Some(expires) = head.expires.filter(|_| !head.is_targeted()) {
        return match expires {
            Dated::At(seconds) => u64::try_from(seconds * 1000 - fraction(at) - sent).unwrap_or(0),
            Dated::Invalid | Dated::Twice => 0,
        };
    }
    let allows = is_heuristic(head.status) || directives.public;
    let modified = head.modified.map(|ago| -ago * 1000 - fraction(at));
    let unchanged = modified.and_then(|modified| u64::try_from(sent - modified).ok());
    unchanged
        .filter(|_| allows)
        .map_or(0, |time| (time / 10).min(DAY))
}

/// RFC 9110 15.1.
pub fn is_heuristic(status: u16) -> bool {
    [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].contains(&status)
}

/// Returns how many milliseconds of a second have passed.
pub fn fraction(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::from(since.subsec_millis())
}
