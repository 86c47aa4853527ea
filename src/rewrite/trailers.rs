//! Trailer sections: which fields they may contain, and whether a request's is forwarded at all.
//!
//! The rule is made from the head, and applied by the bodies in `body/` when the trailers arrive.

use http::{HeaderMap, header, request::Parts};

use super::{
    fields::{self, is_forbidden_trailer},
    framing::{accepts_trailers, is_grpc},
};

/// Which fields may be in the trailers of one message.
///
/// All may, except for those that no trailer section may contain, and those that the message's `Connection` field
/// names. RFC 9110 7.6.1: "remove any header or trailer field(s) from the message with the same name as the
/// connection-option".
#[derive(Clone, Debug, Default)]
pub(crate) struct TrailerRule {
    /// The names from `Connection`, in lower case, with a comma after each. Empty for nearly every message, and then
    /// without an allocation.
    nominated: Box<str>,
}

impl TrailerRule {
    /// Returns the rule of a message whose `Connection` names these fields.
    pub(super) fn new(nominated: Box<str>) -> Self {
        Self { nominated }
    }

    /// Removes the fields that may not be there.
    pub(crate) fn strip(&self, trailers: &mut HeaderMap) {
        fields::remove(trailers, |name| is_forbidden_trailer(name.as_str()));
        for name in self.nominated.split_terminator(',') {
            trailers.remove(name);
        }
    }
}

/// Returns whether the trailers of a request are forwarded: the client announced them, or its protocol depends on them.
///
/// Unannounced trailers are discarded, as RFC 9110 6.5.1 says intermediaries do in most cases: some servers merge
/// trailers into the header section, where they would be taken for fields that the proxy has checked.
///
/// The trailers of a response are always forwarded, as gRPC needs them.
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
