//! URLs of endpoints.

use axum_upstream::{EndpointSpec, LoadBalance, upstream::Client};

pub(crate) const PIECES: &[&str] = &[
    "http://",
    "https://",
    "h2c://",
    "unix:",
    "unix:/a",
    "a",
    "a.b",
    "127.0.0.1",
    "[::1]",
    "[",
    "]",
    ":",
    ":80",
    ":0",
    ":65536",
    "/",
    "/base",
    "//",
    "?",
    "?q",
    "#",
    "@",
    "%",
    "%2f",
    "..",
    ";",
    ";weight=",
    ";weight=2",
    "0",
    "-1",
    "4294967296",
    " ",
    "\u{e9}",
    "\0",
    "\t",
];

/// A URL. It is refused with a word about what is wrong, or its name stands for it.
pub fn urls(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let spec = EndpointSpec::url(text);
    let balance = LoadBalance::new([text]);
    assert_eq!(spec.is_ok(), balance.is_ok());
    let spec = match spec {
        Ok(spec) => spec,
        Err(error) => {
            assert!(error.is_config() && !error.to_string().is_empty());
            return;
        }
    };
    let name = spec.name();
    let again =
        EndpointSpec::url(name).unwrap_or_else(|error| panic!("{name:?} is no name: {error}"));
    assert_eq!(again.name(), name);
    // A client has no weight.
    assert!(Client::new(name).is_ok());
    let handle = balance.unwrap().handle();
    assert_eq!(handle.endpoints().len(), 1);
    assert!(handle.remove(text).is_some(), "{text:?} is not found");
    assert!(handle.insert_url(name).unwrap().is_none());
    assert!(handle.remove(name).is_some(), "{name:?} is not found");
}
