//! The response body on its way down: idle and total deadlines, trailers filtered, failures named and logged.
//!
//! The head has been sent when this body fails, so no status can tell the client any more. The server around the proxy
//! makes the failure visible by closing an HTTP/1 connection before the announced length or the last chunk, or by
//! resetting an HTTP/2 stream. What is done here is what remains: the reason is recorded (so that the attempt's outcome
//! is right), and one `WARN` line with the endpoint is logged.
//!
//! The idle time counts only while a poll is pending, that is while the client waits for the endpoint. The opposite
//! case, a client that does not read, is not seen from inside a body, because nothing polls it then: `unread.rs`
//! watches it from outside.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{Deadlines, gathered::GatheredBody};
use crate::{
    clock::Timer,
    error::{BoxError, Error, ErrorKind},
    record::{ExchangeGuard, Record},
    rewrite::TrailerRule,
};

pin_project! {
    /// A response body that fails when nothing has moved for the idle time, or when the total time is over.
    ///
    /// The idle timer runs only while a poll is pending: a client that does not read holds the body back without making
    /// the endpoint look idle. The total deadline is checked at each frame as well, since a body that always has a
    /// frame ready would never poll its timer.
    ///
    /// Trailers lose the fields that must not be forwarded.
    ///
    /// # Cancel safety
    ///
    /// Dropping the body drops the endpoint's body, which cancels the exchange upstream. It is not recorded as stopped:
    /// a drop from outside is a client that disconnected.
    #[derive(Debug)]
    pub(crate) struct DeadlineBody<B> {
        // `None` if the exchange goes on as a tunnel: the response body belongs to the tunnel then.
        #[pin]
        inner: Option<GatheredBody<B>>,
        // The end of the exchange, dropped after the body, with which the attempt ends; and its record, which keeps the
        // reason when a deadline ends it. `None` with a tunnel, as are the rule and all deadlines.
        exchange: Option<ExchangeGuard>,
        deadlines: Deadlines,
        trailers: Option<TrailerRule>,
        timer: Timer,
        // When the first of the current series of pending polls began; `None` while frames flow. A task that is woken
        // for another reason must not start the idle time anew.
        waiting: Option<Instant>,
    }
}

impl<B> DeadlineBody<B> {
    /// Wraps the body of a response. `trailers` is the rule that the response's head asks for.
    pub(crate) fn new(
        inner: B,
        exchange: Option<ExchangeGuard>,
        deadlines: Deadlines,
        trailers: TrailerRule,
    ) -> Self {
        Self {
            inner: Some(GatheredBody::new(inner)),
            exchange,
            deadlines,
            trailers: Some(trailers),
            timer: Timer::default(),
            waiting: None,
        }
    }

    /// Returns the body of a 101, which is empty.
    pub(crate) fn tunnel() -> Self {
        Self {
            inner: None,
            exchange: None,
            deadlines: Deadlines::default(),
            trailers: None,
            timer: Timer::default(),
            waiting: None,
        }
    }
}

impl<B> Body for DeadlineBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Error;

    /// # Errors
    ///
    /// - [`ErrorKind::IdleTimeout`] or [`ErrorKind::TotalTimeout`], if that deadline has passed.
    /// - [`ErrorKind::ResponseBody`], if the endpoint's body fails. An error of this crate keeps
    ///   its kind, unless it is wrapped in another.
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.project();
        let record = this.exchange.as_ref().and_then(ExchangeGuard::record);
        let _entered = record.and_then(|record| record.enter());
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let stopped = match inner.poll_frame(cx) {
            // A body that never pauses would never poll the timer.
            Poll::Ready(Some(Ok(_))) if this.deadlines.is_over() => ErrorKind::TotalTimeout,
            Poll::Ready(Some(Ok(mut frame))) => {
                *this.waiting = None;
                if let (Some(data), Some(record)) = (frame.data_ref(), record) {
                    record.passed_on(data.len() as u64);
                }
                if let (Some(trailers), Some(rule)) = (frame.trailers_mut(), &this.trailers) {
                    rule.strip(trailers);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => {
                // A body of this crate, such as that of an inner proxy, has decided the kind already.
                let error = Error::own_or(ErrorKind::ResponseBody, error);
                return Poll::Ready(Some(Err(broken(error, record))));
            }
            Poll::Pending => {
                // With an upload still in transfer, its last movement counts too: see [`Deadlines::due`].
                let since = *this.waiting.get_or_insert_with(Instant::now);
                ready!(this.timer.poll_due(cx, || this.deadlines.due(since)));
                this.deadlines.passed()
            }
        };
        // Before the server drops this body, and with it the guard of the attempt, which would otherwise take the drop
        // for a client that disconnected.
        if let Some(record) = record {
            record.stop(stopped);
        }
        Poll::Ready(Some(Err(broken(Error::new(stopped), record))))
    }

    /// A tunnel's body is at its end from the beginning.
    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Logs the failure of a response body, and returns it with the endpoint's name.
///
/// It is logged here because the error goes to the server around the proxy, which may not show it.
fn broken(error: Error, record: Option<&Arc<Record>>) -> Error {
    let endpoint = record
        .and_then(|record| record.last_attempt())
        .map(|last| last.shared_endpoint());
    let error = error.at_any(endpoint);
    tracing::warn!(error = &error as &dyn StdError, "response body broken off");
    error
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;
    use crate::record::UploadState;

    type Silent = StreamBody<stream::Pending<Result<Frame<Bytes>, BoxError>>>;

    fn silent(deadlines: Deadlines) -> Pin<Box<DeadlineBody<Silent>>> {
        Box::pin(DeadlineBody::new(
            StreamBody::new(stream::pending()),
            Some(ExchangeGuard::new(Arc::default())),
            deadlines,
            TrailerRule::default(),
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_endpoint_is_idle() {
        let start = Instant::now();
        let idle = Some(Duration::from_secs(100));
        let mut body = silent(Deadlines {
            idle,
            ..Deadlines::default()
        });
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IdleTimeout);
        assert_eq!(
            body.exchange.as_ref().unwrap().record().unwrap().stopped(),
            Some(ErrorKind::IdleTimeout)
        );
        assert_eq!(start.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moving_upload_keeps_a_silent_response_alive() {
        let upload = Arc::new(Record::default());
        let idle = Some(Duration::from_secs(10));
        let start = Instant::now();
        let mut body = silent(Deadlines {
            idle,
            total: None,
            upload: Some(upload.clone()),
        });
        let mover = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            upload.begin_upload(UploadState::Held);
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            frame = body.frame() => frame.unwrap().unwrap_err(),
            () = mover => unreachable!(),
        };
        assert_eq!(error.kind(), ErrorKind::IdleTimeout);
        assert_eq!(start.elapsed().as_secs(), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn total_wins_when_it_is_first() {
        let total = Some(Instant::now() + Duration::from_secs(3));
        let idle = Some(Duration::from_secs(100));
        let mut body = silent(Deadlines {
            idle,
            total,
            upload: None,
        });
        let error = body.frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TotalTimeout);
    }
}
