//! Decodes chunked bodies (RFC 9112 7.1).
//!
//! The syntax is taken by the letter, as a reader that is lenient where another is strict is how responses are split:
//! lines end with CRLF, a size has one to sixteen digits, nothing but white space or extensions follows it. Extensions
//! are ignored (7.1.1), and bounded.

use std::str;

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use httparse::{EMPTY_HEADER, Status};

use super::{error::Http1Error, read_buffer::ReadBuffer, response_head::append};
use crate::upstream::bounds::MessageBounds;

/// The most bytes of a line with the size of a chunk.
const MAX_LINE: usize = 4 * 1024;

/// The most bytes of all chunk extensions of a body.
const MAX_EXTENSIONS: usize = 16 * 1024;

/// The most digits of a size: those of a number of 64 bits.
const MAX_DIGITS: usize = 16;

/// A chunked body that is being received.
#[derive(Debug)]
pub(super) struct Chunked {
    state: ChunkedState,
    /// Bytes of extensions so far.
    extensions: usize,
    bounds: MessageBounds,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
enum ChunkedState {
    /// The line with the size of a chunk.
    Size,
    /// So many bytes of a chunk.
    Data(u64),
    /// The line end after a chunk.
    DataEnd,
    /// The trailer section. So many bytes of it are known not to be all.
    Trailers(usize),
    /// Nothing.
    Ended,
}

/// What has been decoded.
pub(super) enum Decoded {
    /// Data, or trailers, which are the last.
    Frame(Frame<Bytes>),
    /// The body has ended.
    End,
    /// Nothing before more is read.
    Nothing,
}

impl Chunked {
    /// Returns the decoder of a body whose trailers have no more bytes and fields than `bounds` allows.
    pub(super) fn new(bounds: MessageBounds) -> Self {
        Self {
            state: ChunkedState::Size,
            extensions: 0,
            bounds,
        }
    }

    /// Returns whether the body has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.state == ChunkedState::Ended
    }

    /// Takes the next frame out of the buffer.
    ///
    /// The end is noticed together with the last chunk, if it has been read.
    ///
    /// # Errors
    ///
    /// The syntax is invalid, or a limit is exceeded.
    pub(super) fn decode(&mut self, buffer: &mut ReadBuffer) -> Result<Decoded, Http1Error> {
        loop {
            match self.state {
                ChunkedState::Size => match self.size(buffer)? {
                    Some(0) => self.state = ChunkedState::Trailers(0),
                    Some(size) => self.state = ChunkedState::Data(size),
                    None => return Ok(Decoded::Nothing),
                },
                ChunkedState::Data(left) => {
                    let data = buffer.take(usize::try_from(left).unwrap_or(usize::MAX));
                    if data.is_empty() {
                        return Ok(Decoded::Nothing);
                    }
                    self.state = match left - data.len() as u64 {
                        0 => ChunkedState::DataEnd,
                        left => ChunkedState::Data(left),
                    };
                    self.look_ahead(buffer);
                    return Ok(Decoded::Frame(Frame::data(data)));
                }
                ChunkedState::DataEnd => match line_end(buffer)? {
                    true => self.state = ChunkedState::Size,
                    false => return Ok(Decoded::Nothing),
                },
                ChunkedState::Trailers(seen) => {
                    return match self.trailers(buffer, seen)? {
                        Some(trailers) if trailers.is_empty() => Ok(Decoded::End),
                        Some(trailers) => Ok(Decoded::Frame(Frame::trailers(trailers))),
                        None => Ok(Decoded::Nothing),
                    };
                }
                ChunkedState::Ended => return Ok(Decoded::End),
            }
        }
    }

    /// Finds the end of a body right after its last data, so that the connection need not be read once more for it.
    ///
    /// Where it is not there, or anything is wrong, the next call says so.
    fn look_ahead(&mut self, buffer: &mut ReadBuffer) {
        const LAST: &[u8] = b"\r\n0\r\n\r\n";
        if self.state == ChunkedState::DataEnd && buffer.bytes().starts_with(LAST) {
            buffer.skip(LAST.len());
            self.state = ChunkedState::Ended;
        }
    }

    /// Takes the size of a chunk out of the buffer: a line of digits and extensions.
    fn size(&mut self, buffer: &mut ReadBuffer) -> Result<Option<u64>, Http1Error> {
        let invalid = Http1Error::Framing("invalid chunk size in the response");
        let bytes = buffer.bytes();
        let Some(end) = bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
            return match bytes.len() < MAX_LINE {
                true => Ok(None),
                false => Err(Http1Error::TooLarge("the line of a chunk size is too long")),
            };
        };
        let Some(line) = bytes[..end].strip_suffix(b"\r") else {
            return Err(invalid);
        };
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let (digits, rest) = line.split_at(digits);
        let blank = rest
            .iter()
            .take_while(|byte| matches!(byte, b' ' | b'\t'))
            .count();
        let extensions = &rest[blank..];
        if digits.is_empty()
            || digits.len() > MAX_DIGITS
            || !(extensions.is_empty() || extensions.starts_with(b";"))
            || rest.contains(&b'\r')
        {
            return Err(invalid);
        }
        self.extensions += extensions.len();
        if self.extensions > MAX_EXTENSIONS {
            return Err(Http1Error::TooLarge(
                "too many chunk extensions in the response",
            ));
        }
        let digits =
            str::from_utf8(digits).map_err(|_| Http1Error::Framing("invalid chunk size"))?;
        let size = u64::from_str_radix(digits, 16).map_err(|_| invalid)?;
        buffer.skip(end + 1);
        Ok(Some(size))
    }

    /// Takes the trailer section out of the buffer. Returns `None` if it is not complete; `seen` bytes of it are known
    /// not to be all.
    fn trailers(
        &mut self,
        buffer: &mut ReadBuffer,
        seen: usize,
    ) -> Result<Option<HeaderMap>, Http1Error> {
        let bytes = buffer.bytes();
        if bytes.starts_with(b"\r\n") {
            buffer.skip(2);
            self.state = ChunkedState::Ended;
            return Ok(Some(HeaderMap::new()));
        }
        let from = seen.saturating_sub(3);
        let end = bytes[from..].windows(4).position(|end| end == b"\r\n\r\n");
        let Some(end) = end.map(|at| from + at + 4) else {
            self.state = ChunkedState::Trailers(bytes.len());
            return match bytes.len() > self.bounds.size {
                true => Err(Http1Error::TooLarge("the response trailers are too large")),
                false => Ok(None),
            };
        };
        if end > self.bounds.size {
            return Err(Http1Error::TooLarge("the response trailers are too large"));
        }
        let section = buffer.take(end);
        self.state = ChunkedState::Ended;
        parse(&section, self.bounds.fields).map(Some)
    }
}

/// Takes a line end out of the buffer. Returns whether it was there.
fn line_end(buffer: &mut ReadBuffer) -> Result<bool, Http1Error> {
    match buffer.bytes() {
        [b'\r', b'\n', ..] => {
            buffer.skip(2);
            Ok(true)
        }
        [] | [b'\r'] => Ok(false),
        _ => Err(Http1Error::Framing("a chunk is longer than it says")),
    }
}

/// Parses a whole trailer section, the empty line after it included.
fn parse(section: &Bytes, most: usize) -> Result<HeaderMap, Http1Error> {
    let mut room = vec![EMPTY_HEADER; most];
    let fields = match httparse::parse_headers(section, &mut room) {
        // It may end sooner only by lines that end without CR.
        Ok(Status::Complete((len, fields))) if len == section.len() => fields,
        Ok(_) => return Err(Http1Error::Framing("invalid trailers in the response")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Http1Error::TooLarge("the response has too many trailers"));
        }
        Err(error) => return Err(Http1Error::Syntax(error)),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        append(
            &mut trailers,
            field.name.as_bytes(),
            section.slice_ref(field.value),
        )?;
    }
    Ok(trailers)
}
