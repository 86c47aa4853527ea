//! One tunnel: waits for both connections to be handed over, then copies bytes in both directions.
//!
//! The stages of [`Tunnel::run`]:
//!
//! - *Opening*: both connections have not been handed over yet. The client's comes when the 101 has been written to it
//!   and its request has been read to the end, the endpoint's when the request has been sent to the end.
//! - *Relaying*: bytes are copied in both directions. When one side closes its half, the other side is told and may go
//!   on sending: the tunnel is half-closed.
//! - *Ended*: the record is told that the exchange is complete, and both connections are closed.
//!
//! An idle timeout bounds the first two stages. The total timeout of an exchange does not apply to tunnels.

use std::{
    future::{Future, pending, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body::Body;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::Instant,
};
use tracing::Span;

use super::upgraded::{Upgrade, Upgraded};
use crate::{
    clock::{Timer, after},
    error::BoxError,
    record::{ExchangeGuard, Record},
};

/// A tunnel that an endpoint has agreed to, before it is opened.
pub(crate) struct Tunnel<B> {
    /// The client's connection, once hyper hands it over.
    downstream: OnUpgrade,
    /// The endpoint's connection, once it is handed over.
    upstream: Upgrade,
    /// The exchange, whose request body may still be in transfer.
    record: Arc<Record>,
    /// The longest time in which no bytes arrive from either side. `None` is no limit.
    idle: Option<Duration>,
    /// The body of the 101, which is empty: its guard counts the tunnel as load at its endpoint. It stays pending, or
    /// fails when the endpoint has been drained and the tunnel has to end.
    held: B,
    /// The end of the exchange. Dropped after `held`, with which the attempt ends.
    end: Option<ExchangeGuard>,
}

impl<B: Body> Tunnel<B> {
    /// Returns a tunnel between two connections that will be handed over.
    pub(super) fn new(
        downstream: OnUpgrade,
        upstream: Upgrade,
        record: Arc<Record>,
        idle: Option<Duration>,
        held: B,
    ) -> Self {
        Self {
            downstream,
            upstream,
            record,
            idle,
            held,
            end: None,
        }
    }

    /// Returns the span of the exchange, or one that is disabled.
    pub(super) fn span(&self) -> Span {
        self.record.span().unwrap_or_else(Span::none)
    }

    /// Has the exchange end with the tunnel.
    pub(crate) fn ends(&mut self, exchange: Option<ExchangeGuard>) {
        self.end = exchange;
    }

    /// Relays bytes until both sides have closed, one connection fails, nothing has moved for the idle timeout, the
    /// endpoint's drain ends it, or `closing` is ready.
    ///
    /// How the tunnel ended goes to the log at `DEBUG` and nowhere else: the 101 has been sent, so neither side can be
    /// told by a status.
    pub(super) async fn run(self, closing: impl Future<Output = ()>) {
        let Self {
            downstream,
            upstream,
            record,
            idle,
            held,
            end,
        } = self;
        let agreed = Instant::now();
        let exchange = record.clone();
        // Of what is declared later, each is dropped before.
        let _end = end;
        let mut held = pin!(held);
        let relayed = async {
            let downstream = async { downstream.await.map_err(BoxError::from) };
            let ends = async { tokio::try_join!(downstream, upstream) };
            let ends = tokio::select! {
                ends = ends => ends,
                // The rest of the request body comes first, and the client may never send it.
                () = idle_for(idle, || agreed.max(record.upload_moved())) => {
                    return tracing::debug!("tunnel not opened: idle timeout");
                }
            };
            match ends {
                Ok((downstream, upstream)) => relay(downstream, upstream, idle).await,
                // The client disconnected before it received the 101.
                Err(error) => tracing::debug!(%error, "tunnel not opened"),
            }
        };
        tokio::select! {
            () = relayed => {}
            () = closing => tracing::debug!("tunnel closed by the proxy"),
            () = failure(held.as_mut()) => tracing::debug!("tunnel closed: its endpoint was drained"),
        }
        // However the tunnel ended, the exchange is complete. The guard in `held` would take its drop for a client that
        // has left.
        exchange.complete();
    }
}

/// Completes when a body fails, and never otherwise.
async fn failure<B: Body>(mut body: Pin<&mut B>) {
    let failed = |frame| matches!(frame, Some(Err(_)));
    if !poll_fn(|cx| body.as_mut().poll_frame(cx).map(failed)).await {
        // A service in front of the balancer may have replaced the body.
        pending::<()>().await;
    }
}

/// Copies bytes in both directions until both sides have closed, one connection fails, or no bytes arrive for the idle
/// timeout.
///
/// Both directions have one idle clock: a download during which the client sends nothing is not idle.
///
/// Backpressure passes through: each direction holds one buffer of tokio's `copy_bidirectional` (8 KiB), and reads no
/// more until it has been written.
async fn relay(downstream: hyper::upgrade::Upgraded, upstream: Upgraded, idle: Option<Duration>) {
    let activity = Activity::new();
    let mut downstream = ActiveIo {
        io: TokioIo::new(downstream),
        activity: &activity,
    };
    let mut upstream = ActiveIo {
        io: upstream,
        activity: &activity,
    };
    tokio::select! {
        ended = copy_bidirectional(&mut downstream, &mut upstream) => match ended {
            Ok((up, down)) => tracing::debug!(up, down, "tunnel closed"),
            Err(error) => tracing::debug!(%error, "tunnel broke"),
        },
        () = idle_for(idle, || activity.moved()) => tracing::debug!("tunnel closed: idle timeout"),
    }
}

/// When bytes last arrived, from either side.
///
/// Both ends write to it and the idle timer reads it, all in one task; it is atomic because the task holds references
/// to it while it moves between threads.
struct Activity {
    /// When the tunnel was opened.
    start: Instant,
    /// Milliseconds from `start` to the last arrival.
    moved: AtomicU64,
}

impl Activity {
    /// Returns the clock of a tunnel that opens now.
    fn new() -> Self {
        Self {
            start: Instant::now(),
            moved: AtomicU64::new(0),
        }
    }

    /// Records that bytes have arrived.
    fn touch(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Relaxed);
    }

    /// Returns when bytes last arrived, or when the tunnel was opened.
    fn moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved.load(Relaxed))
    }
}

/// Completes once the idle timeout has passed since the last movement; never without a timeout.
///
/// The timer is not moved at each arrival. It looks at `moved` again when it fires, so an active tunnel costs one timer
/// per idle timeout rather than one per read.
async fn idle_for(idle: Option<Duration>, moved: impl Fn() -> Instant) {
    let Some(idle) = idle else {
        return pending().await;
    };
    let mut timer = Timer::default();
    poll_fn(|cx| timer.poll_due(cx, || Some(after(moved(), idle)))).await;
}

/// One end of a tunnel, which records when bytes arrive.
///
/// Only reads count. Each byte written was read from the other end before, and a write that blocks must not keep the
/// tunnel alive.
struct ActiveIo<'a, T> {
    io: T,
    activity: &'a Activity,
}

impl<T: AsyncRead + Unpin> AsyncRead for ActiveIo<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.activity.touch();
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ActiveIo<'_, T> {
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
