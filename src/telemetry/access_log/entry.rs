//! The facts of one line.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use http::{Method, StatusCode, Uri, Version};

use crate::{error::ErrorKind, record::InfoSlot};

/// The length in bytes up to which a path is logged. A queue of the default size then takes some 45 MB at most,
/// whatever clients send.
const LONGEST_TARGET: usize = 4096;

/// The facts of one line. They are formatted by the thread that writes.
pub(super) struct LogEntry {
    /// When the request arrived.
    pub(super) at: SystemTime,
    /// The address that was found in the request's extensions.
    pub(super) client: Option<IpAddr>,
    pub(super) method: Method,
    /// The path, with the fields of the query that are logged.
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) answer: LoggedAnswer,
    /// The number of bytes of response data that were passed on.
    pub(super) sent: u64,
    pub(super) time_to_head: Option<Duration>,
    pub(super) duration: Duration,
    /// Filled by a proxy.
    pub(super) info: InfoSlot,
    /// The error that the response was made of, or that of its body.
    pub(super) error: Option<ErrorKind>,
    /// Whether the response was passed on to its last byte.
    pub(super) complete: bool,
}

/// What the client was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoggedAnswer {
    /// Nothing: it has left.
    None,
    /// Nothing: the service has failed, and what the server makes of that is not known here.
    Failed,
    /// A response.
    Status(StatusCode),
}

/// Returns the path of a request, with the fields of the query that have one of these names; of a CONNECT, the host and
/// port. What is too long ends in `...`.
pub(super) fn target(uri: &Uri, names: &[String]) -> String {
    // Authority form has no path. A password in it would be refused, and is not for a log.
    let authority = uri.authority().filter(|_| uri.path().is_empty());
    let path = authority.map_or(uri.path(), |authority| {
        let authority = authority.as_str();
        authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host)
    });
    let mut target = shortened(path).to_owned();
    let query = uri.query().filter(|_| !names.is_empty());
    let mut before = '?';
    for field in query.into_iter().flat_map(|query| query.split('&')) {
        let (name, _) = field.split_once('=').unwrap_or((field, ""));
        if names.iter().any(|named| named == name) {
            target.push(before);
            target.push_str(field);
            before = '&';
        }
    }
    let length = shortened(&target).len();
    if length < target.len() || target.len() < path.len() {
        target.truncate(length);
        target.push_str("...");
    }
    target
}

/// Returns the beginning of a text that is too long.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TARGET);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str, names: &[&str]) -> String {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        target(&uri.parse().unwrap(), &names)
    }

    #[test]
    fn of_a_query_only_what_is_named_is_logged() {
        assert_eq!(of("/a?token=secret", &[]), "/a");
        assert_eq!(of("/a?token=secret", &["page"]), "/a");
        let uri = "/a?token=secret&page=2&pages=3&page=4&q";
        assert_eq!(of(uri, &["page", "q"]), "/a?page=2&page=4&q");
    }

    #[test]
    fn the_target_of_connect_is_a_host() {
        assert_eq!(of("example.com:443", &["page"]), "example.com:443");
        assert_eq!(of("user:password@example.com:443", &[]), "example.com:443");
        assert_eq!(of("http://example.com", &[]), "/");
    }

    #[test]
    fn what_is_too_long_ends_early() {
        let path = format!("/{}", "x".repeat(10_000));
        for logged in [of(&path, &[]), of(&format!("/?page={path}"), &["page"])] {
            assert_eq!(logged.len(), LONGEST_TARGET + 3);
            assert!(logged.ends_with("x..."));
        }
        assert_eq!(of(&path[..LONGEST_TARGET], &[]).len(), LONGEST_TARGET);
    }
}
