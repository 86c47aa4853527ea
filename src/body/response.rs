//! The response body on its way down: idle and total deadlines, trailers checked, failures told apart.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Progress;
use crate::error::{BoxError, Error, Kind};

/// What still bounds an exchange once the response head is here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    /// Longest time in which neither body moves.
    pub(crate) idle: Option<Duration>,
    /// When all must be over.
    pub(crate) total: Option<Instant>,
    /// The upload, if there is one: while it moves, a response that waits for it is not idle.
    pub(crate) upload: Option<Arc<Progress>>,
}

pin_project! {
    /// Fails when nothing has moved for the idle time or the total time is over. The timer runs only while a poll is
    /// pending: a client that does not read holds the body back without making the endpoint look idle.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        inner: B,
        deadlines: Deadlines,
        trailers: fn(&mut HeaderMap),
        #[pin]
        sleep: Option<Sleep>,
        // When the pending poll began; `None` while frames flow.
        waiting: Option<Instant>,
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn new(inner: B, deadlines: Deadlines, trailers: fn(&mut HeaderMap)) -> Self {
        Self { inner, deadlines, trailers, sleep: None, waiting: None }
    }
}

impl Deadlines {
    /// When the next deadline is due for an exchange that has been still since `since`.
    fn due(&self, since: Instant) -> Option<Instant> {
        let since = self.upload.as_ref().map_or(since, |upload| since.max(upload.last_moved()));
        match (self.idle.map(|idle| since + idle), self.total) {
            (Some(idle), Some(total)) => Some(idle.min(total)),
            (idle, total) => idle.or(total),
        }
    }
}

impl<B> Body for ResponseBody<B>
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
        let mut this = self.project();
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            // A body that never pauses would outrun its timer.
            if this.deadlines.total.is_some_and(|total| total <= Instant::now()) {
                return Poll::Ready(Some(Err(Error::new(Kind::TotalTimeout))));
            }
            *this.waiting = None;
            let frame = frame.map(|frame| match frame {
                Ok(mut frame) => {
                    if let Some(trailers) = frame.trailers_mut() {
                        (this.trailers)(trailers);
                    }
                    Ok(frame)
                }
                Err(error) => Err(broken(error.into())),
            });
            return Poll::Ready(frame);
        }

        let since = match *this.waiting {
            Some(since) => since,
            None => {
                let now = Instant::now();
                *this.waiting = Some(now);
                if let Some(due) = this.deadlines.due(now) {
                    this.sleep.set(Some(sleep_until(due)));
                }
                now
            }
        };
        // Fired is not due: the upload may have moved since the timer was set.
        while let Some(sleep) = this.sleep.as_mut().as_pin_mut() {
            if sleep.poll(cx).is_pending() {
                break;
            }
            let now = Instant::now();
            match this.deadlines.due(since) {
                Some(due) if due > now => this.sleep.set(Some(sleep_until(due))),
                _ => {
                    let total = this.deadlines.total.is_some_and(|total| total <= now);
                    let kind = if total { Kind::TotalTimeout } else { Kind::IdleTimeout };
                    return Poll::Ready(Some(Err(Error::new(kind))));
                }
            }
        }
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn broken(error: BoxError) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => *own,
        Err(other) => Error::new(Kind::ResponseBody).with(other),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Silent = StreamBody<stream::Pending<Result<Frame<Bytes>, BoxError>>>;

    fn silent(deadlines: Deadlines) -> Pin<Box<ResponseBody<Silent>>> {
        Box::pin(ResponseBody::new(StreamBody::new(stream::pending()), deadlines, |_| ()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_endpoint_is_idle() {
        let start = Instant::now();
        let idle = Some(Duration::from_secs(100));
        let error = silent(Deadlines { idle, ..Deadlines::default() }).frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::IdleTimeout);
        assert_eq!(start.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moving_upload_keeps_a_silent_response_alive() {
        let upload = Arc::new(Progress::new());
        let idle = Some(Duration::from_secs(10));
        let start = Instant::now();
        let mut body = silent(Deadlines { idle, total: None, upload: Some(upload.clone()) });
        let mover = async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            upload.touch(super::super::Upload::Held);
            std::future::pending::<()>().await;
        };
        let error = tokio::select! {
            frame = body.frame() => frame.unwrap().unwrap_err(),
            () = mover => unreachable!(),
        };
        assert_eq!(error.kind(), Kind::IdleTimeout);
        assert_eq!(start.elapsed().as_secs(), 17);
    }

    #[tokio::test(start_paused = true)]
    async fn total_wins_when_it_is_first() {
        let total = Some(Instant::now() + Duration::from_secs(3));
        let idle = Some(Duration::from_secs(100));
        let error = silent(Deadlines { idle, total, upload: None }).frame().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::TotalTimeout);
    }
}
