//! The response body on its way down: idle and total deadlines, trailers checked, failures told apart.

use std::{
    error::Error as StdError,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{Progress, Trailers};
use crate::{
    clock::after,
    error::{BoxError, Error, Kind},
};

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
        // `None` when the exchange goes on as a tunnel.
        #[pin]
        inner: Option<B>,
        endpoint: Option<Arc<str>>,
        deadlines: Deadlines,
        trailers: Option<Trailers>,
        #[pin]
        sleep: Option<Sleep>,
        // When the pending poll began; `None` while frames flow.
        waiting: Option<Instant>,
    }
}

impl<B> ResponseBody<B> {
    pub(crate) fn new(
        inner: B,
        deadlines: Deadlines,
        trailers: Trailers,
        endpoint: Option<Arc<str>>,
    ) -> Self {
        Self {
            inner: Some(inner),
            endpoint,
            deadlines,
            trailers: Some(trailers),
            sleep: None,
            waiting: None,
        }
    }

    /// The body of a 101: nothing.
    pub(crate) fn tunnel() -> Self {
        let deadlines = Deadlines::default();
        Self {
            inner: None,
            endpoint: None,
            deadlines,
            trailers: None,
            sleep: None,
            waiting: None,
        }
    }
}

impl Deadlines {
    /// When the next deadline is due for an exchange that has been still since `since`.
    fn due(&self, since: Instant) -> Option<Instant> {
        let since = self
            .upload
            .as_ref()
            .map_or(since, |upload| since.max(upload.last_moved()));
        match (self.idle.map(|idle| after(since, idle)), self.total) {
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
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            return Poll::Ready(None);
        };
        let mut watch = Watch {
            deadlines: this.deadlines,
            sleep: this.sleep,
            waiting: this.waiting,
        };
        let frame = match inner.poll_frame(cx) {
            // A body that never pauses would outrun its timer.
            Poll::Ready(_) if watch.is_over() => Some(Err(Error::new(Kind::TotalTimeout))),
            Poll::Ready(frame) => {
                *watch.waiting = None;
                frame.map(|frame| {
                    frame.map_err(|error| Error::own_or(Kind::ResponseBody, error.into()))
                })
            }
            Poll::Pending => Some(Err(Error::new(ready!(watch.poll_expired(cx))))),
        };
        Poll::Ready(frame.map(|frame| match frame {
            Ok(mut frame) => {
                if let (Some(trailers), Some(rule)) = (frame.trailers_mut(), &this.trailers) {
                    rule.strip(trailers);
                }
                Ok(frame)
            }
            Err(error) => {
                let error = error.at_any(this.endpoint.as_ref());
                // The head has gone, so no status can tell the client: all it sees is a broken body.
                tracing::warn!(error = &error as &dyn StdError, "the response broke off");
                Err(error)
            }
        }))
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

/// The clock of one body.
struct Watch<'a> {
    deadlines: &'a Deadlines,
    sleep: Pin<&'a mut Option<Sleep>>,
    waiting: &'a mut Option<Instant>,
}

impl Watch<'_> {
    fn is_over(&self) -> bool {
        self.deadlines
            .total
            .is_some_and(|total| total <= Instant::now())
    }

    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Kind> {
        let since = match *self.waiting {
            Some(since) => since,
            None => {
                let now = *self.waiting.insert(Instant::now());
                self.sleep.set(self.deadlines.due(now).map(sleep_until));
                now
            }
        };
        // Fired is not due: the upload may have moved since the timer was set.
        while let Some(sleep) = self.sleep.as_mut().as_pin_mut() {
            ready!(sleep.poll(cx));
            match self.deadlines.due(since) {
                Some(due) if due > Instant::now() => self.sleep.set(Some(sleep_until(due))),
                _ if self.is_over() => return Poll::Ready(Kind::TotalTimeout),
                _ => return Poll::Ready(Kind::IdleTimeout),
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    type Silent = StreamBody<stream::Pending<Result<Frame<Bytes>, BoxError>>>;

    fn silent(deadlines: Deadlines) -> Pin<Box<ResponseBody<Silent>>> {
        Box::pin(ResponseBody::new(
            StreamBody::new(stream::pending()),
            deadlines,
            Trailers::new(|_, _| (), vec![]),
            None,
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_endpoint_is_idle() {
        let start = Instant::now();
        let idle = Some(Duration::from_secs(100));
        let error = silent(Deadlines {
            idle,
            ..Deadlines::default()
        })
        .frame()
        .await
        .unwrap()
        .unwrap_err();
        assert_eq!(error.kind(), Kind::IdleTimeout);
        assert_eq!(start.elapsed().as_secs(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_moving_upload_keeps_a_silent_response_alive() {
        let upload = Arc::new(Progress::new());
        let idle = Some(Duration::from_secs(10));
        let start = Instant::now();
        let mut body = silent(Deadlines {
            idle,
            total: None,
            upload: Some(upload.clone()),
        });
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
        let error = silent(Deadlines {
            idle,
            total,
            upload: None,
        })
        .frame()
        .await
        .unwrap()
        .unwrap_err();
        assert_eq!(error.kind(), Kind::TotalTimeout);
    }
}
