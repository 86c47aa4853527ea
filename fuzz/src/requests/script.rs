//! A request as text.
//!
//! A line of settings comes first:
//!
//! | | |
//! |---|---|
//! | `k` | the body knows its length |
//! | `+`, `-` | it is wrong about it, by one |
//! | `i` | the body says with its last frame that it is the last |
//! | `p` | frames are pending first |
//! | `e` | the body fails in the end |
//! | digits | a seed, by which writes are short or pending; none or 0 for neither |
//!
//! A request line follows, and fields, up to an empty line. The frames of the body have `|` between them; after a `^`
//! the rest is trailers, a line each. `\0`, a number and a byte stand for 64 times that number of the byte.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use axum_upstream::BoxError;
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use hyper::body::{Body, Frame, SizeHint};

use super::reader::Read;
use crate::{input, rules};

pub(crate) const PIECES: &[&str] = &[
    "k",
    "+",
    "-",
    "i",
    "p",
    "e",
    "1",
    "4",
    "7",
    "\n",
    "ki1",
    "kip5\n",
    "i3\n",
    "p8\n",
    "kp2\n",
    "GET / HTTP/1.1\n",
    "POST / HTTP/1.1\n",
    "PUT /a?b=c HTTP/1.1\n",
    "HEAD / HTTP/1.1\n",
    "OPTIONS * HTTP/1.1\n",
    "POST / HTTP/1.1\ncontent-length: 3\n\n",
    "POST / HTTP/1.1\ntransfer-encoding: chunked\n\n",
    "host: a\n",
    "content-length: 5\n",
    "content-length: 0\n",
    "transfer-encoding: gzip, chunked\n",
    "connection: close\n",
    "te: trailers\n",
    "upgrade: x\n",
    "expect: 100-continue\n",
    "trailer: x\n",
    "x: y\n",
    "x:\n",
    "\n\n",
    "abc",
    "|",
    "||",
    "0\r\n\r\n",
    "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n",
    "\0\x7fa",
    "\0\x7fb\0\x01b",
    "\0\x7fc\0\x02c|",
    "\0\x01d",
    "^",
    "^x: y\n",
    "^x: \0\x08y\n",
];

/// More is of no use, and takes its time.
const MOST_BYTES: usize = 128 * 1024;

#[derive(Debug)]
pub(super) struct Script {
    pub(super) seed: u64,
    head: Request<()>,
    frames: Frames,
}

/// The body.
#[derive(Clone, Debug)]
struct Frames {
    data: VecDeque<Bytes>,
    trailers: Option<HeaderMap>,
    /// What it says of its length.
    length: Option<u64>,
    tells_end: bool,
    /// Whether frames are pending first, and whether the next one was.
    is_slow: (bool, bool),
    fails: bool,
}

impl Script {
    /// `None` if it is no request that could come to the client.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let (settings, text) = input::split_settings(data);
        let is_set = |letter: u8| settings.contains(&letter);
        let head_len = text.windows(2).position(|two| two == b"\n\n")? + 1;
        let head = input::request(&text[..head_len])?;
        let is_origin = head.uri().scheme().is_none() && head.uri().path_and_query().is_some();
        // The proxy sees to it that there is one Host; the client sends what it is given.
        let hosts = head.headers().get_all("host").iter().count();
        if head.method() == Method::CONNECT || !is_origin || hosts > 1 {
            return None;
        }
        let text = input::repeated(&text[head_len + 1..]);
        let (body, trailers) = match input::split_once(&text, b'^') {
            Some((body, trailers)) => (body, Some(trailers)),
            None => (&text[..], None),
        };
        let data: VecDeque<_> = body
            .split(|byte| *byte == b'|')
            .map(Bytes::copy_from_slice)
            .collect();
        let sum = data.iter().map(Bytes::len).sum::<usize>() as u64;
        let length = match (is_set(b'+'), is_set(b'-')) {
            (true, _) => sum + 1,
            (_, true) => sum.checked_sub(1)?,
            _ => sum,
        };
        (text.len() <= MOST_BYTES).then(|| Self {
            seed: input::seed(settings),
            frames: Frames {
                data,
                trailers: trailers.map(input::fields),
                length: is_set(b'k').then_some(length),
                tells_end: is_set(b'i'),
                is_slow: (is_set(b'p'), false),
                fails: is_set(b'e'),
            },
            head,
        })
    }

    pub(super) fn request(&self) -> Request<impl Body<Data = Bytes, Error = BoxError> + use<>> {
        let head = self.head.clone();
        head.map(|()| self.frames.clone())
    }

    /// The data and the trailers that the endpoint has to get. `None` if the body does not come to its end.
    pub(super) fn expected(&self) -> Option<(Vec<u8>, HeaderMap)> {
        let frames = &self.frames;
        if frames.is_end_stream() {
            return Some(Default::default());
        }
        let Some(mut left) = frames.length else {
            let whole = frames.data.iter().flatten().copied().collect();
            let trailers = frames.trailers.clone().unwrap_or_default();
            return (!frames.fails).then_some((whole, trailers));
        };
        // Once all has come that was announced, nothing more is asked for.
        let mut whole = Vec::new();
        for data in &frames.data {
            if left == 0 {
                break;
            }
            left = left.checked_sub(data.len() as u64)?;
            whole.extend_from_slice(data);
        }
        (left == 0).then(|| (whole, HeaderMap::new()))
    }

    /// Checks what an endpoint has read.
    ///
    /// # Panics
    ///
    /// If it is not this request.
    pub(super) fn is_what_was(&self, read: Option<&Read>) {
        let Some((data, trailers)) = self.expected() else {
            let is_whole = read.is_some_and(|read| read.body.is_ok());
            assert!(!is_whole, "it is whole: {read:?}");
            return;
        };
        let Read { head, body } = read.expect("a request");
        let (got, got_trailers) = body.as_ref().expect("a whole body");
        assert!(*got == data, "the body is {got:?} and not {data:?}");
        assert_eq!(head.method, self.head.method());
        assert_eq!(head.uri, *self.head.uri());
        have_crossed(self.head.headers(), &head.headers);
        have_crossed(&trailers, got_trailers);
        rules::has_one_framing(&head.headers);
    }
}

/// Fields that are not taken from a message, but made for it.
const MADE: [&str; 4] = ["host", "connection", "content-length", "transfer-encoding"];

/// Checks that all fields are there in their order, but for those that are made for a message.
fn have_crossed(from: &HeaderMap, to: &HeaderMap) {
    let lines = |headers: &HeaderMap| -> Vec<_> {
        let lines = headers
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()));
        lines
            .filter(|(name, _)| !MADE.contains(&name.as_str()))
            .collect()
    };
    assert_eq!(lines(from), lines(to));
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.is_slow == (true, false) {
            self.is_slow.1 = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.is_slow.1 = false;
        if let Some(data) = self.data.pop_front() {
            let len = data.len() as u64;
            self.length = self.length.map(|length| length.saturating_sub(len));
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if self.fails {
            return Poll::Ready(Some(Err("it fails".into())));
        }
        let trailers = self.trailers.take();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.tells_end && self.data.is_empty() && self.trailers.is_none() && !self.fails
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
