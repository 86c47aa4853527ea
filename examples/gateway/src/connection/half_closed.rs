//! A client that has closed its sending half: finds out whether it waits for its response, or is gone.
//!
//! A FIN does not tell. A client that has shut down its sending half and one that has closed its socket send the same;
//! they differ in what they do with a byte that is sent to them. The former takes it, the system of the latter answers
//! with a reset. [`HalfClosed`] sends such a byte, and looks for the reset.

use std::{
    io, mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use socket2::TcpKeepalive;
use tokio::time::{Instant, Sleep, sleep};

use super::{client_stream::ClientStream, raw_stream::RawStream};

/// What every HTTP/1 response begins with, interim ones included.
const BEGINNING: &[u8] = b"HTTP/1.";

/// How long the first look at the socket is put off. Each pause after it is twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(25);
/// The longest pause between two looks.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// The time between two keep-alive probes. A system whose socket was closed acknowledges them for a while, a minute on
/// Linux, and resets the connection then.
const PROBES: Duration = Duration::from_secs(5);

/// Finds out whether a client that has closed its sending half is gone.
///
/// A half-closed connection does not say that the client has lost interest: RFC 9112 9.6 knows the case. So the client
/// gets the first bytes of its response ahead of time, those that do not depend on what the response will be. If a part
/// of a response has been sent already, its next bytes will tell, or, if there are none, TCP's probes after a little
/// more than a minute.
pub(super) struct HalfClosed {
    /// The number of bytes that the client has got ahead of time, and that hyper has not written yet.
    sent: usize,
    /// The timer of the next look.
    next_look: Pin<Box<Sleep>>,
    /// The pause before it.
    pause: Duration,
}

impl HalfClosed {
    /// Sends the beginning of a response, if `unanswered` says that one is owed, and turns on TCP's probes.
    ///
    /// # Errors
    ///
    /// Returns an error if the client is gone, which the system knows at once of a Unix socket.
    pub(super) fn new(stream: &mut ClientStream, unanswered: bool) -> io::Result<Self> {
        let sent = match unanswered {
            true => stream.write_now(BEGINNING)?,
            false => 0,
        };
        let keepalive = TcpKeepalive::new().with_time(PROBES).with_interval(PROBES);
        if let Err(error) = stream.raw().set_keepalive(&keepalive) {
            tracing::debug!(%error, "no keep-alive probes");
        }
        Ok(Self {
            sent,
            next_look: Box::pin(sleep(FIRST_LOOK)),
            pause: FIRST_LOOK,
        })
    }

    /// Looks for an error of the socket, if it is time to.
    ///
    /// Once a FIN has been read, an error of the socket makes no read fail and wakes no task, so the socket is asked
    /// for it.
    ///
    /// # Errors
    ///
    /// Returns the error if the client is gone.
    pub(super) fn watch(&mut self, stream: &RawStream, cx: &mut Context<'_>) -> io::Result<()> {
        while let Poll::Ready(()) = self.next_look.as_mut().poll(cx) {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
            self.pause = (self.pause * 2).min(LAST_LOOK);
            self.next_look.as_mut().reset(Instant::now() + self.pause);
        }
        Ok(())
    }

    /// Returns how many of these bytes, the next that hyper writes, have been sent already.
    ///
    /// # Errors
    ///
    /// Returns an error if they are not the beginning of a response.
    pub(super) fn take_sent(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = mem::take(&mut self.sent);
        match bytes.starts_with(&BEGINNING[..sent]) {
            true => Ok(sent),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}
