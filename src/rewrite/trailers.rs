//! Which fields may stand in the trailer section of a message, and whether a request may have one.

use http::{HeaderMap, header, request::Parts};

use super::{
    fields::{self, is_forbidden_trailer},
    framing::{accepts_trailers, is_grpc},
};

/// What may be among the trailers of one message: all but what no trailer section may have, and what the `Connection`
/// field of the message names (RFC 9110 7.6.1: "remove any header or trailer field(s)").
#[derive(Clone, Debug, Default)]
pub(crate) struct TrailerRule {
    /// Names in lower case, each with a comma behind it.
    nominated: Box<str>,
}

impl TrailerRule {
    pub(super) fn new(nominated: Box<str>) -> Self {
        Self { nominated }
    }

    /// Removes what may not be there.
    pub(crate) fn strip(&self, trailers: &mut HeaderMap) {
        fields::remove(trailers, |name| is_forbidden_trailer(name.as_str()));
        for name in self.nominated.split_terminator(',') {
            trailers.remove(name);
        }
    }
}

/// Whether the trailers of a request are sent on: if the client announced them or its protocol lives on them. A server
/// that merges others into its headers would take them for what a proxy has checked.
pub(crate) fn wants_trailers(parts: &Parts) -> bool {
    let headers = &parts.headers;
    headers.contains_key(header::TRAILER)
        || accepts_trailers(headers)
        || is_grpc(&parts.method, headers)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn trailers_cannot_frame_or_authenticate() {
        let names = ["content-length", "authorization", "grpc-status", "x", "y"];
        let one = |name| (HeaderName::from_static(name), HeaderValue::from_static("1"));
        let mut trailers: HeaderMap = names.map(one).into_iter().collect();
        TrailerRule::new("x,".into()).strip(&mut trailers);
        let mut left: Vec<_> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "y"]);
    }
}
