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

use super::{
    error::Http1Error,
    read_buffer::ReadBuffer,
    response_head::{append, field_name, possible_fields},
};
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
    // RFC 9112 2.2 allows a recipient to take LF alone for a line end. The parser does, and others do not.
    if has_bare_lf(section) {
        return Err(Http1Error::Framing("invalid trailers in the response"));
    }
    let mut room = vec![EMPTY_HEADER; most.min(possible_fields(section))];
    let fields = match httparse::parse_headers(section, &mut room) {
        Ok(Status::Complete((_, fields))) => fields,
        Ok(Status::Partial) => return Err(Http1Error::Framing("invalid trailers in the response")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Http1Error::TooLarge("the response has too many trailers"));
        }
        Err(error) => return Err(Http1Error::Syntax(error)),
    };
    let mut trailers = HeaderMap::new();
    for field in fields {
        let name = field_name(field.name.as_bytes())?;
        append(&mut trailers, name, section.slice_ref(field.value))?;
    }
    Ok(trailers)
}

/// Returns whether a line ends without CR.
fn has_bare_lf(section: &[u8]) -> bool {
    let mut before = 0;
    section.iter().any(|byte| {
        let is_bare = *byte == b'\n' && before != b'\r';
        before = *byte;
        is_bare
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: MessageBounds = MessageBounds {
        size: 100,
        fields: 4,
    };

    /// What has been decoded of a body.
    #[derive(Debug, Default, PartialEq)]
    struct Body {
        data: Vec<u8>,
        trailers: HeaderMap,
        has_ended: bool,
        /// What was read and does not belong to it.
        rest: Vec<u8>,
    }

    /// Decodes a body that arrives in these pieces.
    fn decode_pieces<T: AsRef<[u8]>>(
        pieces: impl IntoIterator<Item = T>,
    ) -> Result<Body, Http1Error> {
        let (mut chunked, mut buffer) = (Chunked::new(BOUNDS), ReadBuffer::default());
        let mut body = Body::default();
        for piece in pieces {
            buffer.add(piece);
            while let Decoded::Frame(frame) = chunked.decode(&mut buffer)? {
                match frame.into_data() {
                    Ok(data) => body.data.extend_from_slice(&data),
                    Err(frame) => body.trailers = frame.into_trailers().unwrap(),
                }
            }
        }
        body.has_ended = chunked.has_ended();
        body.rest = buffer.bytes().to_vec();
        Ok(body)
    }

    fn decode(bytes: impl AsRef<[u8]>) -> Result<Body, Http1Error> {
        decode_pieces([bytes])
    }

    /// Whether nothing is wrong yet, and more is needed.
    fn waits(bytes: impl AsRef<[u8]>) -> bool {
        !decode(bytes).unwrap().has_ended
    }

    fn is_too_large(decoded: &Result<Body, Http1Error>) -> bool {
        matches!(decoded, Err(Http1Error::TooLarge(_)))
    }

    #[test]
    fn chunks_arrive_in_any_pieces() {
        let body = "3\r\nabc\r\n\
            00A;x=\"y z\";q \r\n0123456789\r\n\
            a \t\r\n\r\n0\r\n\r\nXYZ\r\n\
            00 ;last\r\n\
            t: 1\r\nu:\r\nt: 2\r\n\r\n";
        let whole = decode([body, "HTTP/1.1"].concat()).unwrap();
        assert_eq!(whole.data, b"abc0123456789\r\n0\r\n\r\nXYZ");
        assert_eq!(whole.rest, b"HTTP/1.1");
        assert!(whole.has_ended);
        assert_eq!(whole.trailers["u"], "");
        let lines: Vec<_> = whole.trailers.get_all("t").iter().collect();
        assert_eq!(lines, ["1", "2"]);
        for len in 1..body.len() {
            let pieces = decode_pieces(body.as_bytes().chunks(len));
            assert_eq!(pieces.unwrap(), decode(body).unwrap(), "by {len}");
        }
        for end in 0..body.len() {
            assert!(waits(&body[..end]), "{:?}", &body[..end]);
        }
    }

    /// Its reader need not ask once more for the end, which has arrived already.
    #[test]
    fn the_end_is_noticed_with_the_last_data() {
        for (end, is_noticed) in [
            ("\r\n0\r\n\r\n", true),
            ("\r\n0\r\n\r", false),
            ("\r\n00\r\n\r\n", false),
            ("\r\n0\r\nt: 1\r\n\r\n", false),
            ("\r\n1\r\na\r\n0\r\n\r\n", false),
            ("", false),
        ] {
            let mut buffer = ReadBuffer::with(["1\r\na", end].concat());
            let mut chunked = Chunked::new(BOUNDS);
            let frame = chunked.decode(&mut buffer);
            assert!(matches!(frame, Ok(Decoded::Frame(_))));
            assert_eq!(chunked.has_ended(), is_noticed, "{end:?}");
        }
    }

    #[test]
    fn a_size_is_digits_and_extensions_alone() {
        for line in [
            "", "g", "-1", "+1", "0x1", "1_0", " 1", "\t1", "1 1", "1x", "1 x", "1\x0b", "1\0",
            ";a", "1\r", "1;a\rb", "1,1", "\u{661}",
        ] {
            let decoded = decode([line, "\r\n0123456789abcdefgh"].concat());
            assert!(matches!(decoded, Err(Http1Error::Framing(_))), "{line:?}");
        }
        for line_end in ["\n", "\n\r", "\n\r\n"] {
            let decoded = decode(["1", line_end, "a\r\n0\r\n\r\n"].concat());
            assert!(
                matches!(decoded, Err(Http1Error::Framing(_))),
                "{line_end:?}"
            );
        }
    }

    /// RFC 9112 7.1: "recipients MUST anticipate potentially large hexadecimal numerals".
    #[test]
    fn a_size_has_64_bits() {
        for size in ["ffffffffffffffff", "FFFFFFFFFFFFFFFF", "0000000000000002"] {
            assert_eq!(size.len(), MAX_DIGITS);
            assert_eq!(decode([size, "\r\nab"].concat()).unwrap().data, b"ab");
        }
        for size in ["10000000000000000", "00000000000000002"] {
            let decoded = decode([size, "\r\nab"].concat());
            assert!(matches!(decoded, Err(Http1Error::Framing(_))), "{size}");
        }
        let size = "ffffffffffffffff\r\n";
        let mut buffer = ReadBuffer::with([size, "abc"].concat());
        let mut chunked = Chunked::new(BOUNDS);
        chunked.decode(&mut buffer).unwrap();
        assert_eq!(chunked.state, ChunkedState::Data(u64::MAX - 3));
    }

    #[test]
    fn a_chunk_is_as_long_as_it_says() {
        for after in ["b\r\n", "\n", "\rb", "\r\r\n", "0\r\n\r\n"] {
            let decoded = decode(["1\r\na", after].concat());
            assert!(matches!(decoded, Err(Http1Error::Framing(_))), "{after:?}");
        }
        assert!(waits("1\r\na\r"));
    }

    #[test]
    fn the_line_of_a_size_has_as_many_bytes_as_it_may_have() {
        let line = |len: usize| format!("0;{}\r\n", "x".repeat(len - 4));
        assert!(
            decode([&line(MAX_LINE), "\r\n"].concat())
                .unwrap()
                .has_ended
        );
        assert!(is_too_large(&decode(line(MAX_LINE + 1))));
        // It is refused before it is complete.
        assert!(waits(&line(MAX_LINE)[..MAX_LINE - 1]));
        assert!(is_too_large(&decode(&line(MAX_LINE + 1)[..MAX_LINE])));
        assert!(is_too_large(&decode(" ".repeat(MAX_LINE))));
    }

    #[test]
    fn all_extensions_are_bounded_together() {
        let chunk = |len: usize| format!("1;{}\r\na\r\n", "x".repeat(len - 1));
        let most = chunk(MAX_EXTENSIONS / 16).repeat(16);
        assert_eq!(decode(&most).unwrap().data.len(), 16);
        // Neither the size nor white space after it counts.
        assert!(waits([&most, "1 \t\r\na"].concat()));
        assert!(is_too_large(&decode([&most, "1;\r\na"].concat())));
    }

    #[test]
    fn trailers_are_as_large_as_they_may_be() {
        let section = |len: usize| format!("x: {}\r\n\r\n", "a".repeat(len - 7));
        let decode = |section: &str| decode(["0\r\n", section].concat());
        let (most, more) = (section(BOUNDS.size), section(BOUNDS.size + 1));
        assert!(decode(&most).unwrap().has_ended);
        assert!(decode(&[&most, "next"].concat()).unwrap().has_ended);
        assert!(is_too_large(&decode(&more)));
        // They are refused before they are complete.
        assert!(!decode(&more[..BOUNDS.size]).unwrap().has_ended);
        assert!(is_too_large(&decode(
            &section(BOUNDS.size * 2)[..BOUNDS.size + 1]
        )));
    }

    #[test]
    fn there_are_as_many_trailers_as_there_may_be() {
        let decode = |fields| decode(format!("0\r\n{}\r\n", "x: y\r\n".repeat(fields)));
        assert_eq!(decode(BOUNDS.fields).unwrap().trailers.len(), BOUNDS.fields);
        assert!(is_too_large(&decode(BOUNDS.fields + 1)));
    }

    #[test]
    fn trailers_are_fields() {
        for section in [
            "x\r\n\r\n",
            "x y: z\r\n\r\n",
            "x : y\r\n\r\n",
            ": y\r\n\r\n",
            " x: y\r\n\r\n",
            // Obsolete line folding.
            "x: y\r\n z\r\n\r\n",
            "x: \0\r\n\r\n",
            "x: y\rz\r\n\r\n",
            "\rx: y\r\n\r\n",
            // LF alone ends no line, and so the section neither.
            "x: y\nz: y\r\n\r\n",
            "x: y\n\r\n\r\n",
            "x: y\r\n\nHTTP/1.1 200 OK\r\n\r\n",
            "\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let decoded = decode(["0\r\n", section].concat());
            assert!(
                matches!(decoded, Err(Http1Error::Framing(_) | Http1Error::Syntax(_))),
                "{section:?}"
            );
        }
        assert!(waits("0\r\n\n\n"));
    }
}
