//! A response body that holds a guard until its last byte has left.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// Drops its guard when the body has ended, has failed, or is dropped half way.
    #[derive(Debug)]
    pub struct Guarded<B, G> {
        #[pin]
        inner: B,
        guard: Option<G>,
    }
}

impl<B: Body, G> Guarded<B, G> {
    /// A body that has ended already gives the guard up at once: nobody will poll it. `hold` keeps it until the drop,
    /// for the empty body of a 101, whose exchange goes on as a tunnel.
    pub(crate) fn new(inner: B, guard: impl Into<Option<G>>, hold: bool) -> Self {
        let guard = guard.into().filter(|_| hold || !inner.is_end_stream());
        Self { inner, guard }
    }
}

impl<B: Body, G> Body for Guarded<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.inner.as_mut().poll_frame(cx));
        // The last frame ends the load, not the poll after it: hyper does not poll again once `is_end_stream` is true.
        if !matches!(frame, Some(Ok(_))) || this.inner.is_end_stream() {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Empty, Full};

    use super::*;

    #[tokio::test]
    async fn the_guard_goes_with_the_last_frame() {
        let guard = Arc::new(());
        let mut body = Guarded::new(Full::new(Bytes::from("x")), guard.clone(), false);
        assert_eq!(Arc::strong_count(&guard), 2);
        body.frame().await.unwrap().unwrap();
        assert_eq!(
            Arc::strong_count(&guard),
            1,
            "before anyone polls for the end"
        );
    }

    #[test]
    fn an_ended_body_keeps_nothing_unless_held() {
        let guard = Arc::new(());
        let _body = Guarded::new(Empty::<Bytes>::new(), guard.clone(), false);
        assert_eq!(Arc::strong_count(&guard), 1);
        let held = Guarded::new(Empty::<Bytes>::new(), guard.clone(), true);
        assert_eq!(Arc::strong_count(&guard), 2);
        drop(held);
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[test]
    fn dropped_half_way_gives_the_guard_up() {
        let guard = Arc::new(());
        drop(Guarded::new(
            Full::new(Bytes::from("x")),
            guard.clone(),
            false,
        ));
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
