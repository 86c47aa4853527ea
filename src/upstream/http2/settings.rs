//! The limits of an HTTP/2 connection: what users may set, and what is chosen here.
//!
//! `docs/LIMITS.md` lists all of them, with those that cannot be set. Two rules explain most of the values:
//!
//! - The window of the connection is never the limit, so that no stream can block another.
//! - A limit that ends the connection, in h2 or at a server, is kept out of reach of what one exchange can do.

use std::time::Duration;

use hyper::client::conn::http2::Builder;
use hyper_util::rt::TokioTimer;
use tokio::time::Instant;

use crate::{error::Error, upstream::bounds::MessageBounds};

/// The settings that users may change: see `ClientBuilder`.
#[derive(Clone, Copy, Debug)]
pub(in crate::upstream) struct Settings {
    /// How long without a frame before a ping is sent, and how long its answer may take. `None`, the default, sends
    /// none.
    pub(in crate::upstream) ping_interval: Option<Duration>,
    /// Bytes of a response that the endpoint may send ahead of its reader. Within the range that
    /// [`check`](Self::check) allows.
    pub(in crate::upstream) stream_window: u32,
}

/// Stands for the limit of streams while the endpoint's first SETTINGS have not arrived.
///
/// No SETTINGS result in this value: without a limit in them, h2 has `usize::MAX`.
pub(super) const UNKNOWN: usize = usize::MAX - 1;

/// The window of a connection, in bytes: the largest that there is (RFC 9113 6.9.1).
///
/// Streams that are not read fill their own windows and leave the connection's open, so that none of them blocks
/// another; what an endpoint may send ahead is bounded by the streams' windows alone. nghttpx does the same toward its
/// backends, and Go's client with half of it.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// The smallest window of a stream, in bytes: one DATA frame of the default size, below which no implementation goes.
const MIN_STREAM_WINDOW: u32 = 16 * 1024;

/// Bytes of one upload that wait for the socket. The kernel has a buffer of its own, so this one need not cover a round
/// trip.
const SEND_BUFFER: usize = 256 * 1024;

/// How many streams that were reset from here are remembered.
///
/// What the endpoint had sent on them in the meantime is discarded. On a stream that has been forgotten, each frame
/// would be answered by another reset; servers count those and close a connection that has too many.
const RESET_STREAMS: usize = 1024;
/// How long a reset stream is remembered: longer than frames are in flight.
const RESET_MEMORY: Duration = Duration::from_secs(10);

/// How long a stream is open at least before it is reset.
///
/// h2's servers take more than 20 streams that were reset before they were accepted for an attack, and close the
/// connection: clients that open requests and leave at once would end the requests of all others on it.
const SETTLING: Duration = Duration::from_millis(50);

/// Returns when a stream that was opened at `started` may be reset; `None` if it may be now.
pub(super) fn settles(started: Instant) -> Option<Instant> {
    Some(started + SETTLING).filter(|settled| *settled > Instant::now())
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ping_interval: None,
            // What each slow client may hold in memory, and what one fast client gets per round trip: 4 Gbit/s at 1 ms.
            stream_window: 512 * 1024,
        }
    }
}

impl Settings {
    /// Returns how many streams may share a connection so that its window has room for all of them when none is read.
    pub(super) fn max_streams(&self) -> usize {
        (CONNECTION_WINDOW / self.stream_window) as usize
    }

    /// Returns a config error if a setting is out of its range.
    pub(in crate::upstream) fn check(&self) -> Result<(), Error> {
        if (MIN_STREAM_WINDOW..=CONNECTION_WINDOW).contains(&self.stream_window) {
            return Ok(());
        }
        Err(Error::config(
            "http2_stream_window",
            "it must be 16 KiB or more, and less than 2 GiB",
        ))
    }

    /// Returns hyper's builder with these settings and the limits of a head.
    pub(super) fn builder<E: Clone>(&self, executor: E, bounds: MessageBounds) -> Builder<E> {
        let mut builder = Builder::new(executor);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(self.stream_window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(UNKNOWN)
            .max_header_list_size(header_list_size(bounds))
            .max_send_buf_size(SEND_BUFFER)
            .max_concurrent_reset_streams(RESET_STREAMS)
            .reset_stream_duration(RESET_MEMORY)
            // What a server sends on streams that clients of ours have left is answered by resets. h2 takes a thousand
            // of those for an attack, and would close a connection that others use.
            .max_local_error_reset_streams(None);
        if let Some(ping) = self.ping_interval {
            builder
                .keep_alive_interval(ping)
                .keep_alive_timeout(ping)
                .keep_alive_while_idle(true);
        }
        builder
    }
}

/// Returns h2's own limit of a header list, in bytes: four times ours, and 1 MiB at least.
///
/// h2 resets the stream of a head over its own limit, drops the rest of trailers over it in silence, and ends the
/// connection at four times the limit, or at a quarter more in frames. So its limit is far above ours: what exceeds
/// ours still arrives, is refused by `size.rs`, and affects no other exchange. The minimum covers h2's 32 bytes more
/// for each field.
fn header_list_size(bounds: MessageBounds) -> u32 {
    const FAR_ABOVE: usize = 4;
    const MIN: u32 = 1024 * 1024;
    let size = bounds.size.saturating_mul(FAR_ABOVE);
    u32::try_from(size).unwrap_or(u32::MAX).max(MIN)
}
