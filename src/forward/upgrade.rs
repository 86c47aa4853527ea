//! HTTP/1 upgrades: two connections become one tunnel of raw bytes.
//!
//! RFC 9110 7.8. A token is forwarded only if it is allowed, so that no client can talk an endpoint into `h2c` behind
//! the proxy's back; nothing is tunnelled before the endpoint's 101; what the endpoint refuses is relayed like any
//! other response.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body::Body as _;
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::{
    body::{Body, Progress, Upload},
    clock::after,
    error::{Error, Kind},
    rewrite::{Fields, Seen, tokens},
};

/// A client's wish to switch, with its end of the tunnel to be.
pub(super) struct Asked {
    token: HeaderValue,
    downstream: OnUpgrade,
}

/// Takes the wish out of a request, if there is one that may go through.
///
/// Only HTTP/1.1 has it. A request with a body goes as a plain one: where its body ends and the tunnel begins is what
/// smuggling attacks play with (CVE-2026-58055).
pub(super) fn asked(request: &mut Request<Body>, seen: Seen, allowed: &[String]) -> Option<Asked> {
    if request.version() != Version::HTTP_11 || !seen.any(Fields::UPGRADE) {
        return None;
    }
    let headers = request.headers();
    let upgrade =
        tokens(headers, &header::CONNECTION).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
    if !upgrade || !request.body().is_end_stream() {
        return None;
    }
    let allowed = |token: &&[u8]| {
        allowed
            .iter()
            .any(|allowed| token.eq_ignore_ascii_case(allowed.as_bytes()))
    };
    let token = tokens(headers, &header::UPGRADE).find(allowed)?;
    let token = HeaderValue::from_bytes(token).ok()?;
    // A server that cannot hand its connection over, or a test that has none.
    request.extensions().get::<OnUpgrade>()?;
    Some(Asked {
        token,
        downstream: on(request),
    })
}

impl Asked {
    /// The connection that takes the request adds `Connection`.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        headers.insert(header::UPGRADE, self.token.clone());
    }

    /// The token both agree on, and the tunnel, still holding the response's head.
    ///
    /// RFC 9110 7.8: "A server MUST NOT switch to a protocol that was not indicated by the client".
    pub(super) fn agree<B>(
        self,
        mut response: Response<B>,
        idle: Option<Duration>,
    ) -> Result<(HeaderValue, Response<Tunnel<B>>), Error> {
        let ours = |token: &[u8]| token.eq_ignore_ascii_case(self.token.as_bytes());
        let agreed = response
            .headers()
            .get(header::UPGRADE)
            .is_some_and(|token| ours(token.as_bytes()))
            && tokens(response.headers(), &header::UPGRADE).count() == 1;
        if !agreed || response.extensions().get::<OnUpgrade>().is_none() {
            return Err(Error::new(Kind::Upgrade));
        }
        let (downstream, upstream) = (self.downstream, on(&mut response));
        let response = response.map(|held| Tunnel {
            downstream,
            upstream,
            idle,
            held,
        });
        Ok((self.token, response))
    }
}

/// Puts the fields of an upgrade on a response head that has been stripped of them.
pub(super) fn announce(headers: &mut HeaderMap, token: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, token);
}

/// Both ends of a tunnel, and what has to live as long: the response body, which counts as load at its endpoint.
pub(super) struct Tunnel<B> {
    downstream: OnUpgrade,
    upstream: OnUpgrade,
    idle: Option<Duration>,
    held: B,
}

impl<B> Tunnel<B> {
    /// Copies both ways until both sides have closed, one breaks, or nothing has moved for the idle time. A side that
    /// closes its half is told on; the other half goes on.
    async fn run(self) {
        let Self {
            downstream,
            upstream,
            idle,
            held,
        } = self;
        let ends = async { tokio::try_join!(downstream, upstream) };
        let (downstream, upstream) = match ends.await {
            Ok(ends) => ends,
            // The client left before it had its 101.
            Err(error) => return tracing::debug!(%error, "no tunnel"),
        };
        let moved = Progress::new();
        let mut downstream = Watched {
            io: TokioIo::new(downstream),
            moved: &moved,
        };
        let mut upstream = Watched {
            io: TokioIo::new(upstream),
            moved: &moved,
        };
        tokio::select! {
            ended = copy_bidirectional(&mut downstream, &mut upstream) => match ended {
                Ok((up, down)) => tracing::debug!(up, down, "tunnel closed"),
                Err(error) => tracing::debug!(%error, "tunnel broke"),
            },
            () = idle_for(&moved, idle) => tracing::debug!("tunnel idle for too long"),
        }
        drop(held);
    }
}

async fn idle_for(moved: &Progress, idle: Option<Duration>) {
    let Some(idle) = idle else {
        return std::future::pending().await;
    };
    loop {
        let due = after(moved.last_moved(), idle);
        if due <= Instant::now() {
            return;
        }
        sleep_until(due).await;
    }
}

/// The tunnels of a proxy. They end by themselves, or with the last clone of the proxy.
#[derive(Default)]
pub(crate) struct Tunnels(Mutex<JoinSet<()>>);

impl Tunnels {
    pub(super) fn open<B: Send + 'static>(&self, tunnel: Tunnel<B>) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended leave here, so the set is no larger than what is open.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(tunnel.run());
    }
}

impl fmt::Debug for Tunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner).len();
        f.debug_struct("Tunnels").field("open", &open).finish()
    }
}

/// One end of a tunnel, which notes when bytes come in.
struct Watched<'a, T> {
    io: T,
    moved: &'a Progress,
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<'_, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if read.is_ready() {
            self.moved.touch(Upload::Held);
        }
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<'_, T> {
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
