//! Requests of clients.

use axum_upstream::Body;
use http::Request;

use super::{
    clock::Clock,
    head::{date, one_in},
    record::Exchange,
};

/// How many URLs there are.
pub const URLS: usize = 3;

/// How a client reads its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    All,
    /// With pauses of so many milliseconds.
    Slowly(u64),
    /// Leaves if there is no head after so many milliseconds.
    Impatiently(u64),
    /// Leaves after so many frames.
    Frames(usize),
}

/// `Range`.
#[derive(Clone, Copy, Debug)]
pub struct RangeOf {
    pub text: &'static str,
    pub first: Option<usize>,
    pub last: Option<usize>,
}

/// Ranges.
const RANGES: [RangeOf; 4] = [
    range("bytes=0-3", Some(0), Some(3)),
    range("bytes=5-", Some(5), None),
    range("bytes=-4", None, Some(4)),
    range("bytes=100000-", Some(100_000), None),
];

const fn range(text: &'static str, first: Option<usize>, last: Option<usize>) -> RangeOf {
    RangeOf { text, first, last }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The number of the request.
    pub client: usize,
    pub method: &'static str,
    pub url: usize,
    /// Lines of `x-a`.
    pub a: &'static [&'static str],
    pub language: Option<&'static str>,
    pub authorized: bool,
    pub has_cookie: bool,
    /// Whether it has `X-Forwarded-Host`.
    pub steers: bool,
    pub no_cache: bool,
    pub no_store: bool,
    pub only_if_cached: bool,
    pub max_age: Option<u64>,
    pub min_fresh: Option<u64>,
    /// `Some(None)` is without an argument.
    pub max_stale: Option<Option<u64>>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<String>,
    pub range: Option<RangeOf>,
    pub if_range: Option<String>,
    pub reads: Reads,
    /// When it was sent.
    pub began: u64,
    /// When its response was read. `None` while it is not, or if the client has left.
    pub ended: Option<u64>,
}

impl Ask {
    /// Returns a request. Half of them ask for nothing in particular.
    pub fn random(
        random: &mut fastrand::Rng,
        client: usize,
        clock: Clock,
        known: &[Exchange],
    ) -> Self {
        let methods = [
            "GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST",
        ];
        let unsafe_methods = ["POST", "PUT", "DELETE", "OPTIONS", "PURGE"];
        let mut method = methods[random.usize(..methods.len())];
        if method == "POST" {
            method = unsafe_methods[random.usize(..unsafe_methods.len())];
        }
        let lines: [&[&str]; 6] = [&[], &[], &["1"], &["2"], &["1, 2"], &["1", "2"]];
        let mut ask = Self {
            client,
            method,
            url: random.usize(..URLS).min(random.usize(..URLS)),
            a: lines[random.usize(..lines.len())],
            language: [None, None, Some("en"), Some("EN"), Some("de")][random.usize(..5)],
            authorized: false,
            has_cookie: random.bool(),
            steers: false,
            no_cache: false,
            no_store: false,
            only_if_cached: false,
            max_age: None,
            min_fresh: None,
            max_stale: None,
            if_none_match: None,
            if_modified_since: None,
            range: None,
            if_range: None,
            reads: Reads::All,
            began: clock.now(),
            ended: None,
        };
        if random.bool() {
            return ask;
        }
        ask.authorized = one_in(random, 6);
        ask.steers = one_in(random, 12);
        ask.no_cache = one_in(random, 12);
        ask.no_store = one_in(random, 16);
        ask.only_if_cached = one_in(random, 16);
        ask.max_age = one_in(random, 10).then(|| [0, 2, 20][random.usize(..3)]);
        ask.min_fresh = one_in(random, 10).then(|| [2, 20][random.usize(..2)]);
        ask.max_stale = one_in(random, 6).then(|| [None, Some(3), Some(100)][random.usize(..3)]);
        ask.reads = match random.u8(..8) {
            0 => Reads::Slowly(random.u64(1..1500)),
            1 => Reads::Impatiently(random.u64(..2500)),
            2 => Reads::Frames(random.usize(..4)),
            _ => Reads::All,
        };
        let recent = &known[known.len().saturating_sub(12)..];
        let recent: Vec<_> = recent.iter().filter(|one| one.url == ask.url).collect();
        let Some(known) = (!recent.is_empty()).then(|| recent[random.usize(..recent.len())]) else {
            return ask;
        };
        if one_in(random, 4) {
            ask.if_none_match = known.head.tag(known.id);
        }
        if one_in(random, 6) {
            let modified = known.head.modified;
            ask.if_modified_since =
                modified.map(|ago| date(super::clock::time_of_day(known.came), -ago));
        }
        if one_in(random, 5) {
            ask.range = Some(RANGES[random.usize(..RANGES.len())]);
            ask.if_range = known.head.tag(known.id).filter(|_| random.bool());
        }
        ask
    }

    /// Returns whether any stored response of its URL that is fresh will do.
    pub fn is_plain(&self) -> bool {
        self.method == "GET"
            && !(self.authorized || self.steers || self.no_cache || self.no_store)
            && self.max_age.is_none()
            && self.min_fresh.is_none()
    }

    /// Returns a field that `Vary` may name, with its lines as one, in the form that is compared.
    pub fn field(&self, name: &str) -> Option<String> {
        match name {
            "x-a" => (!self.a.is_empty()).then(|| self.a.join(", ")),
            "accept-language" => self.language.map(str::to_ascii_lowercase),
            "x-forwarded-host" => self.steers.then(|| "evil".to_owned()),
            name => unreachable!("{name} is not generated"),
        }
    }

    pub fn request(&self) -> Request<Body> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(format!("/{}", self.url))
            .header("host", "a")
            .header("x-client", self.client);
        for line in self.a {
            request = request.header("x-a", *line);
        }
        let mut control = Vec::new();
        let flags = [
            ("no-cache", self.no_cache),
            ("no-store", self.no_store),
            ("only-if-cached", self.only_if_cached),
        ];
        control.extend(
            flags
                .iter()
                .filter(|flag| flag.1)
                .map(|flag| flag.0.to_owned()),
        );
        control.extend(self.max_age.map(|seconds| format!("max-age={seconds}")));
        control.extend(self.min_fresh.map(|seconds| format!("min-fresh={seconds}")));
        control.extend(self.max_stale.map(|seconds| match seconds {
            Some(seconds) => format!("max-stale={seconds}"),
            None => "max-stale".to_owned(),
        }));
        let control = control.join(", ");
        let fields = [
            ("accept-language", self.language),
            ("authorization", self.authorized.then_some("Basic eDp5")),
            ("cookie", self.has_cookie.then_some("id=1")),
            ("x-forwarded-host", self.steers.then_some("evil")),
            ("if-none-match", self.if_none_match.as_deref()),
            ("if-modified-since", self.if_modified_since.as_deref()),
            ("range", self.range.map(|range| range.text)),
            ("if-range", self.if_range.as_deref()),
            (
                "cache-control",
                Some(&*control).filter(|text| !text.is_empty()),
            ),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let body = if self.method == "POST" {
            Body::from("x")
        } else {
            Body::empty()
        };
        request.body(body).unwrap()
    }
}
