//! A client that has closed its half of the connection: does it wait for its response, or is it gone?

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// What every response of HTTP/1 begins with.
const BEGINNING: &[u8] = b"HTTP/1.";

/// How often the socket is asked, at first and at last.
const FIRST_LOOK: Duration = Duration::from_millis(25);
const LAST_LOOK: Duration = Duration::from_secs(1);

/// Between two probes. A system whose socket was closed acknowledges them for a while, a minute on Linux, and then
/// resets.
const PROBES: Duration = Duration::from_secs(5);

/// Finds out whether the client is gone.
///
/// A half-closed connection does not say that the client has lost interest (RFC 9112, 9.6 knows the case). A client
/// that shut down its sending half and one that closed its socket have both sent the same FIN; they differ in what they
/// do with a byte sent to them. The one takes it, the other's system answers with a reset. So the client gets the first
/// bytes of its response ahead of time, the ones that do not depend on what the response will be. If some of a response
/// has already been sent, the next bytes will tell, or the probes of TCP if there are none for more than a minute.
pub(super) struct HalfClosed {
    /// How many bytes of the beginning the client has and hyper has not written.
    sent: usize,
    next_look: Pin<Box<Sleep>>,
    pause: Duration,
}

impl HalfClosed {
    pub(super) fn new(stream: &TcpStream, unanswered: bool) -> Self {
        let sent = match unanswered {
            true => stream.try_write(BEGINNING).unwrap_or(0),
            false => 0,
        };
        let keepalive = TcpKeepalive::new().with_time(PROBES).with_interval(PROBES);
        if let Err(error) = SockRef::from(stream).set_tcp_keepalive(&keepalive) {
            tracing::debug!(%error, "no keep-alive probes");
        }
        Self {
            sent,
            next_look: Box::pin(sleep(FIRST_LOOK)),
            pause: FIRST_LOOK,
        }
    }

    /// Fails when the client is gone.
    ///
    /// Once a FIN has been read, an error makes no read fail and wakes no task, so the socket is asked for one.
    pub(super) fn watch(&mut self, stream: &TcpStream, cx: &mut Context<'_>) -> io::Result<()> {
        while let Poll::Ready(()) = self.next_look.as_mut().poll(cx) {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            self.pause = (self.pause * 2).min(LAST_LOOK);
            self.next_look.as_mut().reset(Instant::now() + self.pause);
        }
        Ok(())
    }

    /// How many of these bytes, the next that hyper writes, have already been sent.
    pub(super) fn take_sent(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = mem::take(&mut self.sent);
        match bytes.starts_with(&BEGINNING[..sent]) {
            true => Ok(sent),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
