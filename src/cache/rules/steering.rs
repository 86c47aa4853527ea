//! Fields of requests by which servers are steered although no key contains them.

use http::{HeaderMap, HeaderName};

use super::vary::SelectingFields;

/// The fields of requests by which servers are known to be steered although no key contains them, in lower case: what
/// [`CacheBuilder::steering_fields`](crate::cache::CacheBuilder::steering_fields) is by default.
///
/// A client that sends one of them can have a server answer as it would answer nobody else: if that response is stored,
/// everybody gets it. See James Kettle, "Practical Web Cache Poisoning" (2018) and "Web Cache Entanglement" (2020).
pub const STEERING_FIELDS: [&str; 29] = [
    // Links and redirects lead to another host.
    "forwarded",
    "x-forwarded-host",
    "x-forwarded-server",
    "x-host",
    "x-original-host",
    "x-http-host-override",
    "x-http-destinationurl",
    "x-proxy-url",
    // They have another scheme: a redirect from the one that the client uses to itself.
    "front-end-https",
    "x-forwarded-proto",
    "x-forwarded-protocol",
    "x-forwarded-scheme",
    "x-forwarded-ssl",
    "x-url-scheme",
    // They have another port, or another path in front.
    "x-forwarded-port",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-script-name",
    // Another resource is served.
    "x-original-uri",
    "x-original-url",
    "x-override-url",
    "x-rewrite-url",
    // Another method is assumed: the error, or the empty response to a HEAD, would be stored.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    // The response is for a client with another address.
    "x-client-ip",
    "x-real-ip",
    "x-remote-addr",
    "true-client-ip",
];

/// The names of a cache.
#[derive(Clone, Debug)]
pub(crate) struct SteeringFields {
    names: Vec<HeaderName>,
    /// The initials of the names, as bits: most fields of a request have another one, and are passed over.
    initials: u32,
}

impl SteeringFields {
    pub(crate) fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        let bits = names.iter().map(initial);
        Self {
            initials: bits.fold(0, |all, bit| all | bit),
            names,
        }
    }

    /// Returns those that a request has.
    ///
    /// `_` counts as `-`, because CGI and its successors turn both into the same character (RFC 3875 4.1.18): a server
    /// would read `X_Forwarded_Host` as `X-Forwarded-Host`.
    pub(crate) fn in_request(&self, request: &HeaderMap) -> Vec<HeaderName> {
        let keys = request
            .keys()
            .filter(|name| initial(name) & self.initials != 0);
        let is_steering =
            |name: &&HeaderName| self.names.iter().any(|known| is_spelled(name, known));
        keys.filter(is_steering).cloned().collect()
    }
}

impl Default for SteeringFields {
    fn default() -> Self {
        Self::new(
            STEERING_FIELDS
                .iter()
                .map(|name| HeaderName::from_static(name)),
        )
    }
}

/// Returns whether a response tells requests apart by all of these fields.
pub(crate) fn all_selected(fields: &[HeaderName], selecting: &SelectingFields) -> bool {
    fields.iter().all(|name| selecting.names(name))
}

/// Returns a bit for the first letter of a name.
fn initial(name: &HeaderName) -> u32 {
    let first = name.as_str().bytes().next().unwrap_or_default();
    1 << (first & 31)
}

fn is_spelled(name: &HeaderName, known: &HeaderName) -> bool {
    let same = |(one, other): (u8, u8)| one == other || (one == b'_' && other == b'-');
    let (name, known) = (name.as_str(), known.as_str());
    name.len() == known.len() && name.bytes().zip(known.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_found() {
        let fields = SteeringFields::default();
        let mut request = HeaderMap::new();
        for name in [
            "x_forwarded_host",
            "x-rewrite-url",
            "x-requested-with",
            "accept",
            "from",
        ] {
            request.insert(name, "1".parse().unwrap());
        }
        assert_eq!(
            fields.in_request(&request),
            ["x_forwarded_host", "x-rewrite-url"]
        );
        let none = SteeringFields::new([]);
        assert!(none.in_request(&request).is_empty());
    }
}
