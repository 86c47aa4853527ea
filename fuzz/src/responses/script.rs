//! What an endpoint sends, as text.
//!
//! A line of settings comes first:
//!
//! | | |
//! |---|---|
//! | `h` | the request is a HEAD, and not a GET |
//! | `s` | a head may have [`SMALL`] bytes and [`FEW`] fields |
//! | `o` | the connection stays open after what is sent |
//! | `x` | reading from it fails after what is sent |
//! | `p`, `c`, `l` | the bytes come after a status line, a chunked head, a head with a length of ten |
//! | digits | a seed, by which what is sent is cut into reads; none or 0 for a single one |
//!
//! The bytes follow as they are, except that `\0`, a number and a byte stand for 64 times that number of the byte.

use bytes::Bytes;
use http::Method;

use crate::input;

pub(crate) const PIECES: &[&str] = &[
    "h",
    "s",
    "o",
    "x",
    "p",
    "c",
    "l",
    "1",
    "2",
    "7",
    "\n",
    "p\n",
    "c3\n",
    "l1\n",
    "c5o\n",
    "c9s\n",
    "\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 200 OK\r\n",
    "HTTP/1.1 103 Early\r\nx: y\r\n\r\n",
    "HTTP/1.1 204 No\r\n",
    "HTTP/1.1 304 No\r\n",
    "HTTP/1.1 101 X\r\n",
    "HTTP/1.1 299\r\n",
    "HTTP/1.1 404 \u{e9}\r\n",
    "content-length: ",
    "content-length: 5\r\n",
    "content-length: 5, 5\r\n",
    "transfer-encoding: chunked\r\n",
    "transfer-encoding: gzip, chunked\r\n",
    "transfer-encoding: chunked, gzip\r\n",
    "connection: close\r\n",
    "x: y\r\n",
    "x : y\r\n",
    " y\r\n",
    "18446744073709551615",
    "5",
    "a",
    "f",
    "0",
    "00000000",
    ";",
    "=",
    ":",
    ",",
    " ",
    "\t",
    "\r",
    "\r\n",
    "\r\n\r\n",
    "5\r\nabcde\r\n",
    "5;x=y\r\nabcde\r\n",
    "A \r\nabcdefghij\r\n",
    "0\r\n\r\n",
    "0\r\nx: y\r\n\r\n",
    "ffffffffffffffff\r\n",
    "\0\x01a",
    "\0\x02\r",
    "\0\x40x",
];

/// Bytes of a head, with small limits.
pub(super) const SMALL: usize = 200;

/// Fields of a head, with small limits.
pub(super) const FEW: usize = 4;

/// As by default.
const LARGE: usize = 256 * 1024;
const MANY: usize = 256;

/// More is of no use, and takes its time.
const MOST_BYTES: usize = 64 * 1024;

/// What comes after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The end of the stream.
    End,
    /// An error.
    Error,
    /// Nothing.
    Never,
}

#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) method: Method,
    /// The most bytes and fields of a head.
    pub(super) bounds: (usize, usize),
    pub(super) stop: Stop,
    pub(super) seed: u64,
    pub(super) bytes: Bytes,
}

impl Script {
    /// `None` if it is longer than is of use.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let (settings, text) = input::split_settings(data);
        let is_set = |letter: u8| settings.contains(&letter);
        let mut bytes: Vec<u8> = match settings.iter().find(|byte| b"pcl".contains(byte)) {
            Some(b'p') => b"HTTP/1.1 200 OK\r\n".to_vec(),
            Some(b'c') => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
            Some(_) => b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n".to_vec(),
            None => Vec::new(),
        };
        bytes.extend(input::repeated(text));
        (bytes.len() <= MOST_BYTES).then(|| Self {
            method: match is_set(b'h') {
                true => Method::HEAD,
                false => Method::GET,
            },
            bounds: match is_set(b's') {
                true => (SMALL, FEW),
                false => (LARGE, MANY),
            },
            stop: match (is_set(b'o'), is_set(b'x')) {
                (true, _) => Stop::Never,
                (_, true) => Stop::Error,
                _ => Stop::End,
            },
            seed: input::seed(settings),
            bytes: bytes.into(),
        })
    }

    /// The same, in a single read.
    pub(super) fn whole(&self) -> Self {
        Self {
            seed: 0,
            ..self.clone()
        }
    }

    /// The same, with room for another byte in heads and trailers.
    pub(super) fn with_a_byte_more(&self) -> Self {
        let (size, fields) = self.bounds;
        Self {
            bounds: (size + 1, fields),
            ..self.clone()
        }
    }

    /// The same, and the end of the stream after it.
    pub(super) fn ended(&self) -> Self {
        Self {
            stop: Stop::End,
            ..self.clone()
        }
    }
}
