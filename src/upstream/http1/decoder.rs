//! Takes a response body out of what has been read, frame by frame.

use http_body::{Frame, SizeHint};

use super::{
    chunked::{Chunked, Decoded},
    error::{Arrival, Http1Error},
    read_buffer::ReadBuffer,
    response_length::ResponseLength,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder(length: ResponseLength) -> Decoder {
        Decoder::new(length, MessageBounds::default())
    }

    /// Decodes data, or `None` where it says that there are none.
    fn data(decoder: &mut Decoder, buffer: &mut ReadBuffer) -> Option<Vec<u8>> {
        match decoder.decode(buffer).unwrap() {
            Decoded::Frame(frame) => Some(frame.into_data().unwrap().to_vec()),
            Decoded::End | Decoded::Nothing => None,
        }
    }

    #[test]
    fn a_length_is_counted_down_and_not_exceeded() {
        let (mut decoder, mut buffer) =
            (decoder(ResponseLength::Exact(5)), ReadBuffer::with("abc"));
        assert_eq!(data(&mut decoder, &mut buffer).unwrap(), b"abc");
        assert_eq!(data(&mut decoder, &mut buffer), None);
        assert_eq!(decoder.size_hint().exact(), Some(2));
        assert!(!decoder.has_ended());
        assert!(decoder.close().is_err());
        buffer.add("defg");
        assert_eq!(data(&mut decoder, &mut buffer).unwrap(), b"de");
        assert!(decoder.has_ended());
        assert!(matches!(decoder.decode(&mut buffer), Ok(Decoded::End)));
        assert_eq!(buffer.bytes(), b"fg");
    }

    #[test]
    fn no_length_is_too_large() {
        let length = ResponseLength::Exact(u64::MAX);
        let (mut decoder, mut buffer) = (decoder(length), ReadBuffer::with("abc"));
        assert_eq!(data(&mut decoder, &mut buffer).unwrap(), b"abc");
        assert_eq!(decoder.size_hint().exact(), Some(u64::MAX - 3));
    }

    #[test]
    fn without_a_length_all_until_the_close_is_the_body() {
        let length = ResponseLength::UntilClose;
        let (mut decoder, mut buffer) = (decoder(length), ReadBuffer::with("abc"));
        assert_eq!(data(&mut decoder, &mut buffer).unwrap(), b"abc");
        assert_eq!(data(&mut decoder, &mut buffer), None);
        assert_eq!(decoder.size_hint().exact(), None);
        assert!(!decoder.has_ended());
        decoder.close().unwrap();
        assert!(decoder.has_ended());
        assert!(matches!(decoder.decode(&mut buffer), Ok(Decoded::End)));
    }

    /// RFC 9112 8: "A message body that uses the chunked transfer coding is incomplete if the zero-sized chunk that
    /// terminates the encoding has not been received."
    #[test]
    fn chunks_do_not_end_with_the_connection() {
        for bytes in [
            "",
            "1\r\na\r\n",
            "1\r\na\r\n0\r\n",
            "1\r\na\r\n0\r\nx: y\r\n",
        ] {
            let (mut decoder, mut buffer) =
                (decoder(ResponseLength::Chunked), ReadBuffer::with(bytes));
            while data(&mut decoder, &mut buffer).is_some() {}
            assert!(!decoder.has_ended());
            assert!(decoder.close().is_err(), "{bytes:?}");
        }
    }
}
