//! One HTTP/2 connection, shared by many requests to an endpoint and driven by a task of its own.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
    task::Poll,
    time::Duration,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http2},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{sync::Notify, time::Instant};

use super::{connect::Io, lease::Lease};
use crate::{
    body::Body,
    clock::after,
    error::{Error, ErrorKind},
};

/// No server says this: it would mean that there is no limit, and that is `usize::MAX`.
const UNKNOWN: usize = usize::MAX - 1;

/// A connection. Its task ends when the last handle and the last stream are gone.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    sender: http2::SendRequest<Body>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    opened: Instant,
    expires: Option<Instant>,
    streams: AtomicUsize,
    /// How many streams the server allows, as it said last.
    max_streams: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last stream.
    last_used: AtomicU64,
    /// A request was given up after a long wait, and nothing has been answered since: the server may be gone without a
    /// word, so no other request goes there.
    suspect: AtomicBool,
}

/// How long an unanswered request makes its connection suspect. Pings would tell for certain, but servers of gRPC close
/// connections that are pinged more often than every five minutes, so those are for users to ask for.
const SUSPICION: Duration = Duration::from_secs(5);

/// A place for one request, counted until dropped.
#[derive(Debug)]
pub(super) struct Stream {
    http2: Http2,
    started: Instant,
    answered: bool,
}

impl Http2 {
    /// Waits for the server's first SETTINGS too: without them nobody knows how many requests may share the connection,
    /// and those that wait for it would pile up on it.
    pub(super) async fn handshake(
        io: Io,
        lease: Lease,
        ping: Option<Duration>,
    ) -> Result<Self, Error> {
        let spawn = Spawn {
            settled: Arc::default(),
            stirred: Arc::default(),
        };
        let Spawn { settled, stirred } = spawn.clone();
        let mut builder = http2::Builder::new(spawn);
        builder
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .initial_max_send_streams(UNKNOWN)
            // What a server sends on streams that our clients have left is answered by resets; h2 takes a thousand of
            // those for an attack, and would close a connection that others use.
            .max_local_error_reset_streams(None);
        if let Some(ping) = ping {
            builder
                .keep_alive_interval(ping)
                .keep_alive_timeout(ping)
                .keep_alive_while_idle(true);
        }
        let unreachable = |error| Error::new(ErrorKind::Connect).with(error);
        let handshake = builder.handshake(TokioIo::new(io)).await;
        let (sender, mut driver) = handshake.map_err(unreachable)?;
        loop {
            let woken = stirred.notified();
            if let Poll::Ready(ended) =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut driver).poll(cx))).await
            {
                let closed = Error::new(ErrorKind::Connect).with("closed before its SETTINGS");
                return Err(ended.map_or_else(unreachable, |()| closed));
            }
            if driver.current_max_send_streams() != UNKNOWN {
                break;
            }
            woken.await;
        }
        settled.store(true, Relaxed);
        let shared = Arc::new(Shared {
            opened: Instant::now(),
            expires: lease.expires,
            streams: AtomicUsize::new(0),
            max_streams: AtomicUsize::new(driver.current_max_send_streams()),
            last_used: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
        });
        let watched = shared.clone();
        // Multiplexed streams have no single request to drive them. The task ends with the last sender.
        tokio::spawn(async move {
            let _permit = lease.permit;
            let ended = poll_fn(|cx| {
                let polled = Pin::new(&mut driver).poll(cx);
                watched
                    .max_streams
                    .store(driver.current_max_send_streams(), Relaxed);
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "HTTP/2 connection ended");
            }
        });
        Ok(Self { sender, shared })
    }

    /// Whether it takes new streams.
    pub(super) fn is_open(&self) -> bool {
        let given_up = self.is_suspect() && self.streams() == 0;
        !given_up
            && !self.sender.is_closed()
            && self
                .shared
                .expires
                .is_none_or(|expires| expires > Instant::now())
    }

    pub(super) fn has_room(&self) -> bool {
        self.streams() < self.shared.max_streams.load(Relaxed)
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.shared.suspect.load(Relaxed)
    }

    pub(super) fn streams(&self) -> usize {
        self.shared.streams.load(Acquire)
    }

    /// When it will have idled for too long or lived for long enough; none while it is in use and may live on.
    pub(super) fn due(&self, idle_timeout: Duration) -> Option<Instant> {
        let used = self.shared.opened + Duration::from_millis(self.shared.last_used.load(Relaxed));
        let idle = (self.streams() == 0).then(|| after(used, idle_timeout));
        [idle, self.shared.expires].into_iter().flatten().min()
    }

    pub(super) fn stream(&self) -> Stream {
        self.shared.streams.fetch_add(1, AcqRel);
        Stream {
            http2: self.clone(),
            started: Instant::now(),
            answered: false,
        }
    }
}

impl Stream {
    /// Sends a request in absolute form and waits for the response head; the stream goes with the response.
    ///
    /// Dropping the future resets the stream. An error that still has the request in it was not sent.
    pub(super) async fn send(
        mut self,
        request: Request<Body>,
    ) -> Result<Response<(Incoming, Self)>, TrySendError<Request<Body>>> {
        let sent = self.http2.sender.try_send_request(request).await;
        // A refusal is a sign of life, too.
        self.answered = true;
        self.http2.shared.suspect.store(false, Relaxed);
        let response = sent?;
        Ok(response.map(|incoming| (incoming, self)))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let shared = &self.http2.shared;
        if !self.answered && self.started.elapsed() >= SUSPICION {
            shared.suspect.store(true, Relaxed);
        }
        let millis = u64::try_from(shared.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        shared.last_used.store(millis, Relaxed);
        shared.streams.fetch_sub(1, AcqRel);
    }
}

/// Spawns the tasks of a connection, and tells when one of them has done something: hyper has no other way to learn
/// that SETTINGS have come.
#[derive(Clone)]
struct Spawn {
    settled: Arc<AtomicBool>,
    stirred: Arc<Notify>,
}

impl<F> Executor<F> for Spawn
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let Self { settled, stirred } = self.clone();
        tokio::spawn(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                let polled = task.as_mut().poll(cx);
                if !settled.load(Relaxed) {
                    stirred.notify_waiters();
                }
                polled
            })
            .await
        });
    }
}

/// The server says that it has not touched the request. RFC 9113 8.7: REFUSED_STREAM tells "that the stream is being
/// closed prior to any processing having occurred. Any request that was sent on the reset stream can be safely
/// retried."
pub(super) fn is_refused(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.reason() == Some(h2::Reason::REFUSED_STREAM))
}

/// The server is going away, and may or may not have seen the request.
pub(super) fn is_go_away(error: &hyper::Error) -> bool {
    h2_error(error).is_some_and(|h2| h2.is_go_away() && h2.is_remote())
}

fn h2_error(error: &hyper::Error) -> Option<&h2::Error> {
    std::error::Error::source(error)?.downcast_ref()
}
