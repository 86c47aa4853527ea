//! A connection to an endpoint that answers as soon as it has read a whole request.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::exchange::wire::Request;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

pub(super) struct Wire {
    written: Arc<Mutex<Vec<u8>>>,
    /// What has been written, as far as it has not been read.
    unread: Vec<u8>,
    /// The request whose head has been read.
    request: Option<Request>,
    state: State,
    reader: Option<Waker>,
    /// How writes are cut.
    random: Option<Rng>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    Whole,
    Answered,
}

impl Wire {
    pub(super) fn new(seed: u64) -> (Self, Arc<Mutex<Vec<u8>>>) {
        let written = Arc::default();
        let wire = Self {
            written: Arc::clone(&written),
            unread: Vec::new(),
            request: None,
            state: State::Reading,
            reader: None,
            random: (seed != 0).then(|| Rng::with_seed(seed)),
        };
        (wire, written)
    }

    /// Reads what has been written.
    fn read(&mut self) {
        if self.request.is_none() {
            self.request = Request::read(&mut self.unread);
        }
        let Some(request) = &self.request else {
            return;
        };
        if self.state == State::Reading && request.read_body(&mut self.unread).is_some() {
            self.state = State::Whole;
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        let is_more = self.state != State::Reading && !self.unread.is_empty();
        assert!(!is_more, "there is more after the request");
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.state == State::Whole {
            self.state = State::Answered;
            buf.put_slice(ANSWER);
            return Poll::Ready(Ok(()));
        }
        self.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut len = bytes.len();
        if let Some(random) = &mut self.random {
            if random.u8(..8) == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let most = [3, 100, 20_000][random.usize(..3)];
            len = len.min(random.usize(1..=most));
        }
        self.unread.extend_from_slice(&bytes[..len]);
        self.written
            .lock()
            .unwrap()
            .extend_from_slice(&bytes[..len]);
        self.read();
        Poll::Ready(Ok(len))
    }

    /// As a socket does: one write from all of them.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        all: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all: Vec<u8> = all.iter().flat_map(|bytes| bytes.iter().copied()).collect();
        self.poll_write(cx, &all)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
