//! The response body on its way down: idle and total deadlines, trailers checked, failures told apart.

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

use super::{Deadlines, Timer, gathered::GatheredBody};
use crate::{
    error::{BoxError, Error, ErrorKind},
    record::Record,
    rewrite::TrailerRule,
};

pin_project! {
    /// Fails when nothing has moved for the idle time or the total time is over. The timer runs only while a poll is
    /// pending: a client that does not read holds the body back without making the endpoint look idle.
    #[derive(Debug)]
    pub(crate) struct DeadlineBody<B> {
        // `None` when the exchange goes on as a tunnel.
        #[pin]
        inner: Option<GatheredBody<B>>,
        record: Option<Arc<Record>>,
        deadlines: Deadlines,
        trailers: Option<TrailerRule>,
        #[pin]
        timer: Timer,
        // When the pending poll began; `None` while frames flow.
        waiting: Option<Instant>,
    }
}

impl<B> DeadlineBody<B> {
    pub(crate) fn new(
        inner: B,
        record: Arc<Record>,
        deadlines: Deadlines,
        trailers: TrailerRule,
    ) -> Self {
        Self {
            inner: Some(GatheredBody::new(inner)),
            record: Some(record),
            deadlines,
            trailers: Some(trailers),
            timer: Timer::default(),
            waiting: None,
        }
    }

    /// The body of a 101: nothing.
    pub(crate) fn tunnel() -> Self {
        Self {
            inner: None,
            record: None,
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

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let stopped = match inner.poll_frame(cx) {
            // A body that never pauses would outrun its timer.
            Poll::Ready(_) if this.deadlines.is_over() => ErrorKind::TotalTimeout,
            Poll::Ready(Some(Ok(mut frame))) => {
                *this.waiting = None;
                if let (Some(trailers), Some(rule)) = (frame.trailers_mut(), &this.trailers) {
                    rule.strip(trailers);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Err(error))) => {
                let error = Error::own_or(ErrorKind::ResponseBody, error);
                return Poll::Ready(Some(Err(broken(error, this.record.as_deref()))));
            }
            Poll::Pending => {
                let since = *this.waiting.get_or_insert_with(Instant::now);
                ready!(this.timer.poll_due(cx, || this.deadlines.due(since)));
                this.deadlines.passed()
            }
        };
        if let Some(record) = this.record {
            record.stop(stopped);
        }
        Poll::Ready(Some(Err(broken(
            Error::new(stopped),
            this.record.as_deref(),
        ))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// The head has gone, so no status can tell the client: all it sees is a broken body.
fn broken(error: Error, record: Option<&Record>) -> Error {
    let endpoint = record
        .and_then(Record::last_attempt)
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
            Arc::default(),
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
            body.record.as_ref().unwrap().stopped(),
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
            upload.touch_upload(UploadState::Held);
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
