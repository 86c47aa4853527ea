//! Takes a response body out of what has been read, frame by frame.

use http_body::{Frame, SizeHint};

use super::{
    chunked::{Chunked, Decoded},
    error::{Arrival, Http1Error},
    read_buffer::ReadBuffer,
    response_head::ResponseLength,
};
use crate::upstream::bounds::MessageBounds;

/// What is left of a response body.
#[derive(Debug)]
pub(super) enum Decoder {
    /// So many bytes.
    Exact(u64),
    /// Chunks.
    Chunked(Chunked),
    /// All until the connection ends.
    UntilClose,
}

impl Decoder {
    /// Returns the decoder of a body. `bounds` is for its trailers.
    pub(super) fn new(length: ResponseLength, bounds: MessageBounds) -> Self {
        match length {
            ResponseLength::Exact(length) => Self::Exact(length),
            ResponseLength::Chunked => Self::Chunked(Chunked::new(bounds)),
            ResponseLength::UntilClose => Self::UntilClose,
        }
    }

    /// Takes the next frame out of the buffer. A frame of data is never empty.
    ///
    /// # Errors
    ///
    /// The framing is invalid, or a limit is exceeded.
    pub(super) fn decode(&mut self, buffer: &mut ReadBuffer) -> Result<Decoded, Http1Error> {
        let data = match self {
            Self::Exact(0) => return Ok(Decoded::End),
            Self::Exact(left) => {
                let data = buffer.take(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
                data
            }
            Self::Chunked(chunked) => return chunked.decode(buffer),
            Self::UntilClose => buffer.take(usize::MAX),
        };
        Ok(match data.is_empty() {
            true => Decoded::Nothing,
            false => Decoded::Frame(Frame::data(data)),
        })
    }

    /// Records the end of the connection.
    ///
    /// # Errors
    ///
    /// The body should not have ended here.
    pub(super) fn close(&mut self) -> Result<(), Http1Error> {
        match self {
            Self::UntilClose => {
                *self = Self::Exact(0);
                Ok(())
            }
            _ => Err(Http1Error::Closed(Arrival::Part)),
        }
    }

    /// Returns whether the body has ended.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Exact(left) => *left == 0,
            Self::Chunked(chunked) => chunked.has_ended(),
            Self::UntilClose => false,
        }
    }

    /// Returns the length of what is left, if it is known.
    pub(super) fn size_hint(&self) -> SizeHint {
        match self {
            Self::Exact(left) => SizeHint::with_exact(*left),
            Self::Chunked(chunked) if chunked.has_ended() => SizeHint::with_exact(0),
            Self::Chunked(_) | Self::UntilClose => SizeHint::new(),
        }
    }
}
