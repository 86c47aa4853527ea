//! A tunnel: bytes copied both ways between two connections.

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
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    time::Instant,
};

use crate::{body::Timer, clock::after, record::Record};

/// Both ends of a tunnel, and what has to live as long: the response body, which counts as load at its endpoint.
pub(crate) struct Tunnel<B> {
    downstream: OnUpgrade,
    upstream: OnUpgrade,
    /// The exchange, whose request body may still be on its way.
    record: Arc<Record>,
    idle: Option<Duration>,
    held: B,
}

impl<B: Body> Tunnel<B> {
    pub(super) fn new(
        downstream: OnUpgrade,
        upstream: OnUpgrade,
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
        }
    }

    /// Copies both ways until both sides have closed, one breaks, nothing has moved for the idle time, or `closing` is
    /// ready. When one side closes its half, the other side is told, and its half goes on.
    pub(super) async fn run(self, closing: impl Future<Output = ()>) {
        let Self {
            downstream,
            upstream,
            record,
            idle,
            held,
        } = self;
        let agreed = Instant::now();
        let relayed = async {
            let ends = async { tokio::try_join!(downstream, upstream) };
            let ends = tokio::select! {
                ends = ends => ends,
                // The rest of the request body comes first, and may never.
                () = idle_for(idle, || agreed.max(record.upload_moved())) => {
                    return tracing::debug!("tunnel not opened: idle timeout");
                }
            };
            match ends {
                Ok((downstream, upstream)) => relay(downstream, upstream, idle).await,
                // The client left before it had its 101.
                Err(error) => tracing::debug!(%error, "tunnel not opened"),
            }
        };
        tokio::select! {
            () = relayed => {}
            () = closing => tracing::debug!("tunnel closed by the proxy"),
        }
        // The exchange is complete, however its tunnel ended: the empty body says so to the endpoint's load.
        let mut held = pin!(held);
        poll_fn(|cx| {
            let _ = held.as_mut().poll_frame(cx);
            Poll::Ready(())
        })
        .await;
    }
}

async fn relay(downstream: Upgraded, upstream: Upgraded, idle: Option<Duration>) {
    let activity = Activity::new();
    let mut downstream = ActiveIo {
        io: TokioIo::new(downstream),
        activity: &activity,
    };
    let mut upstream = ActiveIo {
        io: TokioIo::new(upstream),
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

/// When bytes last came in, from either side.
struct Activity {
    start: Instant,
    /// Milliseconds from `start`.
    moved: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            moved: AtomicU64::new(0),
        }
    }

    fn touch(&self) {
        let millis = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.moved.store(millis, Relaxed);
    }

    fn moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved.load(Relaxed))
    }
}

/// Ready once the idle time has passed since the last movement; never without one.
async fn idle_for(idle: Option<Duration>, moved: impl Fn() -> Instant) {
    let Some(idle) = idle else {
        return pending().await;
    };
    let mut timer = pin!(Timer::default());
    poll_fn(|cx| timer.as_mut().poll_due(cx, || Some(after(moved(), idle)))).await;
}

/// One end of a tunnel, which notes when bytes come in.
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
