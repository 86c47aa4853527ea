//! Sends the body of a request.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};

use super::{
    error::Http1Error,
    request_head::{RequestLength, write_trailers},
    writer::Writer,
};
use crate::{body::Body, error::BoxError, upstream::connect::Io};

/// How long an upload may continue after its response has ended. nginx's `lingering_time` has the same default.
///
/// An endpoint that answers early may still be reading what is on its way, so closing at once could lose its response:
/// a close with unread bytes resets the connection.
pub(super) const LINGER: Duration = Duration::from_secs(30);

/// Frames in one turn of a task. Fewer than tokio's budget for a turn has operations, of which some must be left to
/// read.
const TURN: usize = 32;

/// How much of a request body is yet to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyUpload {
    /// So many bytes, at least one.
    Exact(u64),
    /// Chunks, and the last one.
    Chunked,
    /// Nothing.
    Ended,
}

impl From<RequestLength> for BodyUpload {
    fn from(length: RequestLength) -> Self {
        match length {
            RequestLength::None | RequestLength::Exact(0) => Self::Ended,
            RequestLength::Exact(length) => Self::Exact(length),
            RequestLength::Chunked => Self::Chunked,
        }
    }
}

impl BodyUpload {
    /// Returns whether the body has been handed to the writer to its end.
    pub(super) fn has_ended(self) -> bool {
        self == Self::Ended
    }

    /// Moves frames from the body to the writer, and writes them. Ready when all of the body has been written.
    ///
    /// A frame is asked for only when there is room for it, so an endpoint that does not read stops the client. After
    /// [`TURN`] frames it gives way, so that what the endpoint sends is looked at, and other tasks run, although a body
    /// has always more to give.
    ///
    /// # Errors
    ///
    /// The body failed, or is not as long as it said. The request is then incomplete, and the connection must close.
    ///
    /// # Cancel safety
    ///
    /// What was taken from the body is in the writer.
    pub(super) fn poll(
        &mut self,
        body: &mut Body,
        writer: &mut Writer,
        io: &mut Io,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Http1Error>> {
        for _ in 0..TURN {
            if self.has_ended() {
                return writer.poll_flush(io, cx).map(Ok);
            }
            if !writer.has_room() {
                ready!(writer.poll_flush(io, cx));
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Ready(frame) => self.add(frame.transpose(), body, writer)?,
                Poll::Pending => {
                    ready!(writer.poll_flush(io, cx));
                    return Poll::Pending;
                }
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Appends a frame of the body, or its end.
    fn add(
        &mut self,
        frame: Result<Option<Frame<Bytes>>, BoxError>,
        body: &mut Body,
        writer: &mut Writer,
    ) -> Result<(), Http1Error> {
        let Some(frame) = frame.map_err(Http1Error::RequestBody)? else {
            return self.end(body, None, writer);
        };
        match (frame.into_data(), &mut *self) {
            (Ok(data), _) if data.is_empty() => {}
            (Ok(data), Self::Exact(left)) => {
                let len = data.len() as u64;
                *left = left.checked_sub(len).ok_or_else(too_long)?;
                writer.append(data);
                if *left == 0 {
                    self.ended(body);
                }
            }
            (Ok(data), _) => {
                let is_last = body.is_end_stream();
                writer.append_chunk(data, is_last);
                if is_last {
                    self.ended(body);
                }
            }
            (Err(frame), _) => {
                return self.end(body, frame.into_trailers().ok(), writer);
            }
        }
        Ok(())
    }

    /// Appends the end of the body.
    fn end(
        &mut self,
        body: &mut Body,
        trailers: Option<HeaderMap>,
        writer: &mut Writer,
    ) -> Result<(), Http1Error> {
        if let Self::Exact(_) = self {
            return Err(Http1Error::RequestBody("it is shorter than it said".into()));
        }
        let out = writer.buffer();
        out.extend_from_slice(b"0\r\n");
        write_trailers(&trailers.unwrap_or_default(), out);
        self.ended(body);
        Ok(())
    }

    /// Drops a body that has been taken to its end, which makes that known to its exchange.
    fn ended(&mut self, body: &mut Body) {
        *self = Self::Ended;
        drop(mem::take(body));
    }
}

/// Returns the error of a body that has more data than it said.
fn too_long() -> Http1Error {
    Http1Error::RequestBody("it is longer than it said".into())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http_body::SizeHint;
    use tokio::io::AsyncReadExt;

    use super::*;

    /// A body of so many frames of one length, which knows when it has ended.
    struct Frames {
        left: usize,
        len: usize,
    }

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            let left = self.left.checked_sub(1);
            let len = self.len;
            Poll::Ready(left.map(|left| {
                self.left = left;
                Ok(Frame::data(Bytes::from(vec![b'a'; len])))
            }))
        }

        fn is_end_stream(&self) -> bool {
            self.left == 0
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::new()
        }
    }

    /// Whether a frame is copied or not, and although the end of the body is known with its last frame.
    #[tokio::test]
    async fn chunks_are_whole_and_in_order() {
        for len in [1, 8 * 1024, 8 * 1024 + 1, 40_000] {
            let (mut io, mut other) = Io::in_memory(1000);
            let (mut upload, mut writer) = (BodyUpload::Chunked, Writer::default());
            let mut body = Body::new(Frames { left: 3, len });
            let sent = async {
                let upload = poll_fn(|cx| upload.poll(&mut body, &mut writer, &mut io, cx));
                upload.await.unwrap();
                drop(io);
            };
            let mut received = Vec::new();
            let ((), read) = tokio::join!(sent, other.read_to_end(&mut received));
            read.unwrap();
            let chunk = format!("{len:x}\r\n{}\r\n", "a".repeat(len));
            let expected = format!("{}0\r\n\r\n", chunk.repeat(3));
            assert_eq!(received.len(), expected.len());
            assert!(received == expected.as_bytes(), "{len}");
        }
    }

    /// An endpoint that does not read any more takes everything at once, and the body never has to wait.
    #[tokio::test]
    async fn a_body_that_never_waits_gives_way() {
        let (mut io, other) = Io::in_memory(1000);
        drop(other);
        let (mut upload, mut writer) = (BodyUpload::Chunked, Writer::default());
        let (left, len) = (1000, 20_000);
        let mut body = Body::new(Frames { left, len });
        let mut polls = 0;
        let sent = poll_fn(|cx| {
            polls += 1;
            upload.poll(&mut body, &mut writer, &mut io, cx)
        });
        sent.await.unwrap();
        assert!(writer.has_failed());
        assert_eq!(polls, 1000 / TURN + 1);
    }
}
