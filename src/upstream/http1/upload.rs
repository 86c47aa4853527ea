//! Sends the body of a request.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
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
    /// A frame is asked for only when there is room for it, so an endpoint that does not read stops the client.
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
        while !self.has_ended() {
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
        writer.poll_flush(io, cx).map(Ok)
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
            (Ok(data), _) => writer.append_chunk(data),
            (Err(frame), _) => {
                return self.end(body, frame.into_trailers().ok(), writer);
            }
        }
        if *self == Self::Chunked && body.is_end_stream() {
            return self.end(body, None, writer);
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
