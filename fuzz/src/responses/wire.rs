//! A connection to an endpoint that sends what the script says, as soon as it has been asked.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use fastrand::Rng;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::script::{Script, Stop};

/// What is known of a connection from outside.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How many requests have been written.
    pub(super) requests: AtomicUsize,
    /// Whether all has been read.
    pub(super) is_through: AtomicBool,
}

pub(super) struct Wire {
    bytes: Bytes,
    stop: Stop,
    cuts: Option<Cuts>,
    /// Whether the read that comes next was pending once.
    held: bool,
    seen: Arc<Seen>,
    reader: Option<Waker>,
}

/// Where reads end.
struct Cuts {
    random: Rng,
    /// The most bytes of a usual read.
    most: usize,
    /// Whether some reads are pending first.
    holds: bool,
}

impl Wire {
    pub(super) fn new(script: &Script) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let cuts = (script.seed != 0).then(|| {
            let mut random = Rng::with_seed(script.seed);
            Cuts {
                most: [1, 3, 16, 200][random.usize(..4)],
                holds: random.bool(),
                random,
            }
        });
        let wire = Self {
            bytes: script.bytes.clone(),
            stop: script.stop,
            cuts,
            held: false,
            seen: seen.clone(),
            reader: None,
        };
        (wire, seen)
    }

    /// How many bytes the next read gets. `None` if it is pending first.
    fn cut(&mut self) -> Option<usize> {
        let Some(cuts) = &mut self.cuts else {
            return Some(usize::MAX);
        };
        if cuts.holds && !self.held && cuts.random.u8(..4) == 0 {
            self.held = true;
            return None;
        }
        self.held = false;
        // Long ones now and then, or a long message takes long.
        Some(match cuts.random.u8(..16) {
            0 => 4096,
            _ => cuts.random.usize(1..=cuts.most),
        })
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.requests.load(Relaxed) == 0 {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if self.bytes.is_empty() {
            self.seen.is_through.store(true, Relaxed);
            return match self.stop {
                Stop::End => Poll::Ready(Ok(())),
                Stop::Error => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Stop::Never => {
                    self.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        }
        let Some(len) = self.cut() else {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let len = len.min(buf.remaining()).min(self.bytes.len());
        buf.put_slice(&self.bytes[..len]);
        self.bytes.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Requests here are short, and written at once.
        if bytes.ends_with(b"\r\n\r\n") {
            self.seen.requests.fetch_add(1, Relaxed);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
