//! Counts the bytes that arrive at either end of a tunnel, and knows when the last of them did.

use std::{
    io,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

/// How much has arrived from either side, and when.
///
/// Both ends write to it and the timers read it, all in one task; it is atomic because the task holds references to it
/// while it moves between threads.
pub(super) struct TunnelMeter {
    /// When the tunnel was agreed on.
    start: Instant,
    /// Milliseconds from `start` to the last arrival.
    moved: AtomicU64,
    up: AtomicU64,
    down: AtomicU64,
    /// How many bytes both directions together may carry.
    limit: u64,
    /// How many more have arrived.
    excess: AtomicU64,
}

impl TunnelMeter {
    /// Returns the meter of a tunnel that is agreed on now, and which may carry `limit` bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            start: Instant::now(),
            moved: AtomicU64::new(0),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            limit,
            excess: AtomicU64::new(0),
        }
    }

    /// Returns when the tunnel was agreed on.
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// Returns when bytes last arrived, or when the tunnel was agreed on.
    pub(super) fn moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved.load(Relaxed))
    }

    /// Records that bytes have arrived, or the end of them.
    pub(super) fn touch(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Relaxed);
    }

    /// Returns how many bytes the client has sent, and the other side.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.up.load(Relaxed), self.down.load(Relaxed))
    }

    /// Returns whether more bytes have arrived than the tunnel may carry.
    pub(super) fn is_exceeded(&self) -> bool {
        self.excess.load(Relaxed) > 0
    }

    /// Counts `read` bytes of one direction, and returns how many of them may pass.
    fn count(&self, direction: &AtomicU64, read: usize) -> usize {
        let (up, down) = self.bytes();
        let room = self.limit.saturating_sub(up.saturating_add(down));
        let passed = usize::try_from(room).unwrap_or(usize::MAX).min(read);
        direction.fetch_add(passed as u64, Relaxed);
        self.excess.fetch_add((read - passed) as u64, Relaxed);
        passed
    }
}

/// One end of a tunnel, which counts the bytes that arrive.
///
/// Only reads count. Each byte written was read from the other end before, and a write that blocks must not keep the
/// tunnel alive.
///
/// Once more bytes have arrived than the tunnel may carry, both ends read as if their sides had closed. What has been
/// read before is then still written, however slowly it is taken.
pub(super) struct MeteredIo<'a, T> {
    io: T,
    meter: &'a TunnelMeter,
    /// The direction of what is read here.
    direction: &'a AtomicU64,
}

impl<'a, T> MeteredIo<'a, T> {
    /// Returns the client's end.
    pub(super) fn downstream(io: T, meter: &'a TunnelMeter) -> Self {
        let direction = &meter.up;
        Self {
            io,
            meter,
            direction,
        }
    }

    /// Returns the other side's end.
    pub(super) fn upstream(io: T, meter: &'a TunnelMeter) -> Self {
        let direction = &meter.down;
        Self {
            io,
            meter,
            direction,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for MeteredIo<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.meter.is_exceeded() {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        self.meter.touch();
        let arrived = buf.filled().len() - before;
        let passed = self.meter.count(self.direction, arrived);
        if passed < arrived {
            buf.set_filled(before + passed);
            // The other end may wait for bytes, and has to be read once more to end.
            cx.waker().wake_by_ref();
        }
        Poll::Ready(read)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for MeteredIo<'_, T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, duplex};

    use super::*;

    /// Reads what one end of a tunnel lets pass of `sent`.
    async fn passed(meter: &TunnelMeter, sent: &[u8]) -> Vec<u8> {
        let (mut other, own) = duplex(64);
        other.write_all(sent).await.unwrap();
        drop(other);
        let mut read = Vec::new();
        let mut io = MeteredIo::downstream(own, meter);
        io.read_to_end(&mut read).await.unwrap();
        read
    }

    #[tokio::test]
    async fn as_many_bytes_pass_as_may() {
        let meter = TunnelMeter::new(5);
        assert_eq!(passed(&meter, b"hello").await, b"hello");
        assert!(!meter.is_exceeded());
        assert_eq!(passed(&meter, b"!").await, b"");
        assert!(meter.is_exceeded());

        let meter = TunnelMeter::new(5);
        assert_eq!(passed(&meter, b"hello!").await, b"hello");
        assert_eq!(meter.bytes(), (5, 0));
    }

    #[tokio::test]
    async fn both_directions_count_together() {
        let meter = TunnelMeter::new(5);
        passed(&meter, b"123").await;
        let (mut other, own) = duplex(64);
        other.write_all(b"456").await.unwrap();
        let mut read = Vec::new();
        let mut io = MeteredIo::upstream(own, &meter);
        io.read_to_end(&mut read).await.unwrap();
        assert_eq!((read.as_slice(), meter.bytes()), (&b"45"[..], (3, 2)));
        assert!(meter.is_exceeded());
    }

    /// A reader that is slow gets all bytes up to the limit, in either direction, and then the end.
    #[tokio::test]
    async fn what_has_passed_is_written_before_the_end() {
        let meter = TunnelMeter::new(8);
        let (mut client, downstream) = duplex(1);
        let (mut server, upstream) = duplex(1);
        let relayed = async {
            let mut downstream = MeteredIo::downstream(downstream, &meter);
            let mut upstream = MeteredIo::upstream(upstream, &meter);
            copy_bidirectional(&mut downstream, &mut upstream).await
        };
        let sides = async {
            server.write_all(b"down").await.unwrap();
            client.write_all(b"up up").await.unwrap();
            let (mut up, mut down) = (Vec::new(), Vec::new());
            server.read_to_end(&mut up).await.unwrap();
            client.read_to_end(&mut down).await.unwrap();
            (up, down)
        };
        let (relayed, (up, down)) = tokio::join!(relayed, sides);
        relayed.unwrap();
        assert_eq!(
            (up.as_slice(), down.as_slice()),
            (&b"up u"[..], &b"down"[..])
        );
    }
}
