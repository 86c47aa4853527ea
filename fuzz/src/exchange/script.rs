//! What clients and endpoint do, as text.
//!
//! Chunks with `|` between them, of which the first says what the endpoint speaks: HTTP/1, or with `h` HTTP/2, or with
//! `r` what is written as HTTP/2. A chunk's first byte says what happens next:
//!
//! | | |
//! |---|---|
//! | `a`, `b` | this client sends what follows, with a line feed for CR LF |
//! | `A`, `B` | the same, byte for byte |
//! | `c`, `d` | client a, b sends no more |
//! | `C`, `D` | client a, b goes away |
//! | `e` | what follows is the endpoint's answer to the next request, with a line feed for CR LF |
//! | `E` | the same, byte for byte |
//! | `y`, `Y` | the same, before the body of the request has been read |
//! | `z`, `Z` | the same, and the connection is closed |
//! | `.` | everything that can happen without time happens |
//! | `t` | 130 seconds pass |
//!
//! `@` stands for the marker of the client that is sent or answered. Without an answer left, it is 200 and `ok`.

use super::{MARKERS, wire};

pub(super) const PIECES: &[&str] = &[
    "|",
    "||",
    "h",
    "r",
    "a",
    "b",
    "A",
    "B",
    "c",
    "d",
    "C",
    "D",
    "e",
    "E",
    "y",
    "z",
    ".",
    "t",
    "@",
    "\n",
    "\n\n",
    " ",
    ":",
    "|aGET / HTTP/1.1\nhost: a\n\n",
    "|bGET / HTTP/1.1\nhost: a\n\n",
    "|aHEAD / HTTP/1.1\nhost: a\n\n",
    "|aPOST / HTTP/1.1\nhost: a\ncontent-length: 3\n\n@@@",
    "|bPOST /@ HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n",
    "|bGET / HTTP/1.0\n\n",
    "|aGET / HTTP/1.1\nhost: a\nconnection: upgrade\nupgrade: x\n\n",
    "connection: close\n",
    "content-length: ",
    "transfer-encoding: chunked\n",
    "transfer-encoding: gzip\n",
    "expect: 100-continue\n",
    "trailer: x\n",
    "te: trailers\n",
    "0\n\n",
    "1\n@\n",
    "b\n@\n",
    "0000000000b\n",
    "5;x=y\n",
    "ffffffffffffffff\n",
    "x: @\n",
    "\nx",
    "|eHTTP/1.1 200 OK\ncontent-length: 11\n\n@",
    "|eHTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nb\n@\n0\n\n",
    "|zHTTP/1.0 200 OK\n\n@",
    "|eHTTP/1.1 204 No\n\n",
    "|eHTTP/1.1 304 No\ncontent-length: 9\n\n",
    "|eHTTP/1.1 100 Continue\n\n",
    "HTTP/1.1 103 Early\nx: @\n\n",
    "|eHTTP/1.1 101 X\nconnection: upgrade\nupgrade: x\n\n@",
    "HTTP/1.1 200 OK\ncontent-length: 11\n\n@",
    "|yHTTP/1.1 413 No\ncontent-length: 0\n\n",
];

/// More of anything finds nothing new, but takes its time.
const MOST_STEPS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Speaks {
    Http1,
    Http2,
    /// Frames of HTTP/2 as the script writes them.
    Frames,
}

impl Speaks {
    pub(super) fn url(self) -> &'static str {
        match self {
            Self::Http1 => "http://endpoint",
            Self::Http2 | Self::Frames => "h2c://endpoint",
        }
    }
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) is_early: bool,
    pub(super) closes: bool,
}

#[derive(Debug)]
pub(super) enum Step {
    Send(usize, Vec<u8>),
    Finish(usize),
    Leave(usize),
    Answer(Answer),
    Settle,
    Wait,
}

#[derive(Debug)]
pub(super) struct Script {
    pub(super) endpoint: Speaks,
    pub(super) steps: Vec<Step>,
}

impl Script {
    /// `None` if the script could be taken for what it is meant to show.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        if wire::contains(data, b"192.0.2.") {
            return None;
        }
        let mut chunks = data.split(|byte| *byte == b'|').take(MOST_STEPS);
        let settings = chunks.next()?;
        let endpoint = match settings {
            [b'h', ..] => Speaks::Http2,
            [b'r', ..] => Speaks::Frames,
            _ => Speaks::Http1,
        };
        let steps = chunks.filter_map(|chunk| step(*chunk.first()?, &chunk[1..]));
        Some(Self {
            endpoint,
            steps: steps.collect(),
        })
    }
}

fn step(kind: u8, rest: &[u8]) -> Option<Step> {
    let client = usize::from(matches!(kind, b'b' | b'B' | b'd' | b'D'));
    let text = match kind.is_ascii_uppercase() {
        true => rest.to_vec(),
        false => wire::replace(rest, b'\n', b"\r\n"),
    };
    Some(match kind {
        b'a' | b'b' | b'A' | b'B' => Step::Send(
            client,
            wire::replace(&text, b'@', MARKERS[client].as_bytes()),
        ),
        b'c' | b'd' => Step::Finish(client),
        b'C' | b'D' => Step::Leave(client),
        b'e' | b'E' | b'y' | b'Y' | b'z' | b'Z' => Step::Answer(Answer {
            bytes: text,
            is_early: kind.eq_ignore_ascii_case(&b'y'),
            closes: kind.eq_ignore_ascii_case(&b'z'),
        }),
        b'.' => Step::Settle,
        b't' => Step::Wait,
        _ => return None,
    })
}
