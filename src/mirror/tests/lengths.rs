//! Bodies that say their length.

use std::{
    future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tower::{Layer, service_fn, util::BoxCloneSyncService};

use super::{super::*, *};

/// A body whose length is known may have trailers, and a connection that knows the length may not ask for its end.
#[tokio::test]
async fn a_known_length_is_no_end() {
    let (second, seen) = keeping();
    let layer = MirrorLayer::new(second);
    let known = || {
        let fields = HeaderMap::from_iter([("grade".parse().unwrap(), "7".parse().unwrap())]);
        let frames = [data("ab"), Ok(Frame::trailers(fields))];
        let body = KnownLength(StreamBody::new(stream::iter(frames)), 2);
        Request::post("/").body(Body::new(body)).unwrap()
    };
    ask(&layer.layer(ok()), known()).await;
    settle(&layer.handle()).await;
    let copy = seen.try_recv().unwrap();
    assert_eq!((copy.body, copy.trailers.is_some()), ("ab".into(), true));

    let reads_data = service_fn(|request: Request<Body>| async move {
        request.into_body().frame().await.unwrap()?;
        Ok(Response::new("first".into()))
    });
    ask(&layer.layer(BoxCloneSyncService::new(reads_data)), known()).await;
    assert_eq!(settle(&layer.handle()).await.left_out_incomplete, 0);
    let copy = seen.try_recv().unwrap();
    assert_eq!(
        (copy.body, copy.trailers, copy.length),
        ("ab".into(), None, Some(2))
    );
}

/// Over HTTP/2, `Content-Length: 0` may come in a head that does not end the stream.
#[tokio::test]
async fn a_body_of_length_0_need_not_be_read() {
    let (second, seen) = keeping();
    let layer = MirrorLayer::new(second);
    let first = BoxCloneSyncService::new(service_fn(|_| {
        future::ready(Answer::Ok(Response::new("first".into())))
    }));
    let known = |length| {
        Body::new(KnownLength(
            StreamBody::new(stream::pending::<Item>()),
            length,
        ))
    };
    for length in [0, 1] {
        let request = Request::post("/").body(known(length)).unwrap();
        ask(&layer.layer(first.clone()), request).await;
    }
    let stats = settle(&layer.handle()).await;
    assert_eq!((stats.sent, stats.left_out_incomplete), (1, 1));
    assert_eq!(seen.try_recv().unwrap().length, Some(0));
}

/// A body that knows its length, and has trailers.
pub(super) struct KnownLength<B>(pub(super) B, pub(super) u64);

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for KnownLength<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.0).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.1 -= frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.1)
    }
}
