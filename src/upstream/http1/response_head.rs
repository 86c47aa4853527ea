//! Parses response heads.
//!
//! The syntax is that of [`httparse`]; the limits are here, and how a body is framed is in `response_length.rs`.
//!
//! A head is parsed when it is complete. The values of its fields are slices of what was read.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::{
    error::Http1Error,
    read_buffer::ReadBuffer,
    response_length::{FramingFields, ResponseLength, length},
};
use crate::{rewrite::tokens, upstream::bounds::MessageBounds};

/// A response head, and what it says of its body and of its connection.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) response: Response<()>,
    pub(super) length: ResponseLength,
    /// Whether the connection may be used for another request, once the body has ended.
    pub(super) keeps_alive: bool,
}

/// Fields whose room is on the stack. For more it is allocated.
const ON_STACK: usize = 256;

/// Fields that are likely to be added to a response on its way down.
const SPARE_FIELDS: usize = 4;

/// Bytes of empty lines before a head that are ignored, as after a body that is longer than it says by a line end.
const MAX_BLANK: usize = 16;

/// Parses the heads of the responses on one connection.
#[derive(Debug)]
pub(super) struct HeadParser {
    bounds: MessageBounds,
    /// How many bytes of the buffer are known not to complete a head.
    seen: usize,
    /// Bytes of line ends that have been skipped before the head.
    blank: usize,
    /// Bytes of interim responses since the last other one.
    interim: usize,
    /// Where the fields are within the head, while it is taken apart. Kept for the next head.
    fields: Vec<Field>,
}

/// The places of a field's name and value within its head.
#[derive(Clone, Copy, Debug)]
struct Field {
    name: (usize, usize),
    value: (usize, usize),
}

impl HeadParser {
    /// Returns a parser whose heads have no more bytes and fields than `bounds` allows.
    pub(super) fn new(bounds: MessageBounds) -> Self {
        Self {
            bounds,
            seen: 0,
            blank: 0,
            interim: 0,
            fields: Vec::new(),
        }
    }

    /// Takes a head out of the buffer, that of a response to a request with `method`. Returns `None` if it is not
    /// complete.
    ///
    /// # Errors
    ///
    /// The head is not HTTP, exceeds a limit, or its framing is invalid.
    pub(super) fn parse(
        &mut self,
        buffer: &mut ReadBuffer,
        method: &Method,
    ) -> Result<Option<ResponseHead>, Http1Error> {
        self.skip_blank(buffer)?;
        // Every line ends with it, so without one nothing has changed. Otherwise an endpoint that sends a large head
        // byte by byte would have all of it parsed for each byte.
        if !buffer.bytes()[self.seen..].contains(&b'\n') {
            self.seen = buffer.bytes().len();
            return self.incomplete(buffer);
        }
        let parsed = match self.bounds.fields {
            ..=ON_STACK => {
                let mut room = [const { MaybeUninit::uninit() }; ON_STACK];
                let fields = self.bounds.fields;
                locate(buffer.bytes(), &mut room[..fields], &mut self.fields)?
            }
            most => {
                let bytes = buffer.bytes();
                let mut room = Box::new_uninit_slice(most.min(possible_fields(bytes)));
                locate(bytes, &mut room, &mut self.fields)?
            }
        };
        let Some(line) = parsed else {
            self.seen = buffer.bytes().len();
            return self.incomplete(buffer);
        };
        if line.len > self.bounds.size {
            return Err(too_large());
        }
        (self.seen, self.blank) = (0, 0);
        self.count_interim(&line)?;
        let reason = line.reason(buffer.bytes());
        let head = buffer.take(line.len);
        let mut response = Response::new(());
        *response.status_mut() = line.status;
        *response.version_mut() = line.version;
        let said = self.headers(&head, response.headers_mut())?;
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        complete(response, method, said).map(Some)
    }

    /// Skips line ends before a head. RFC 9112 2.2 has servers ignore at least one before a request; here it is the
    /// mistake of a server whose last body was longer than it said.
    fn skip_blank(&mut self, buffer: &mut ReadBuffer) -> Result<(), Http1Error> {
        loop {
            // A CR alone is no line end, and what begins with one is no response.
            let len = match buffer.bytes() {
                [b'\r', b'\n', ..] => 2,
                [b'\n', ..] => 1,
                _ => return Ok(()),
            };
            self.blank += len;
            if self.blank > MAX_BLANK {
                return Err(Http1Error::Syntax(httparse::Error::Version));
            }
            buffer.skip(len);
            self.seen = 0;
        }
    }

    /// Bounds interim responses, which all together may be as long as a head.
    fn count_interim(&mut self, line: &StatusLine) -> Result<(), Http1Error> {
        self.interim = match line.status.is_informational() {
            true => self.interim + line.len,
            false => 0,
        };
        match self.interim > self.bounds.size {
            true => Err(Http1Error::TooLarge("too many interim responses")),
            false => Ok(()),
        }
    }

    /// Returns `None`, unless what is there is too large already.
    fn incomplete(&self, buffer: &ReadBuffer) -> Result<Option<ResponseHead>, Http1Error> {
        match buffer.bytes().len() > self.bounds.size {
            true => Err(too_large()),
            false => Ok(None),
        }
    }

    /// Puts the fields that have been found in `head` into `headers`. Returns what is among them.
    fn headers(&self, head: &Bytes, headers: &mut HeaderMap) -> Result<FramingFields, Http1Error> {
        let room = HeaderMap::try_with_capacity(self.fields.len() + SPARE_FIELDS);
        *headers = room.map_err(|_| too_many())?;
        let mut said = FramingFields::default();
        for field in &self.fields {
            let ((name, name_end), (value, value_end)) = (field.name, field.value);
            let name = field_name(&head[name..name_end])?;
            match name {
                header::CONNECTION => said.connection = true,
                header::CONTENT_LENGTH => said.content_length = true,
                header::TRANSFER_ENCODING => said.transfer_encoding = true,
                _ => {}
            }
            append(headers, name, head.slice(value..value_end))?;
        }
        Ok(said)
    }

    /// Gives back memory.
    pub(super) fn shrink(&mut self) {
        self.fields = Vec::new();
    }
}

/// Returns the most fields that so many bytes could hold, of three bytes each: `a:` and a line end.
pub(super) fn possible_fields(bytes: &[u8]) -> usize {
    bytes.len() / 3 + 1
}

/// Returns the name of a field that has been parsed.
///
/// # Errors
///
/// It is longer than a name can be.
pub(super) fn field_name(name: &[u8]) -> Result<HeaderName, Http1Error> {
    HeaderName::from_bytes(name).map_err(|_| Http1Error::Syntax(httparse::Error::HeaderName))
}

/// Appends a field that has been parsed.
///
/// # Errors
///
/// The map has no room for more.
pub(super) fn append(
    headers: &mut HeaderMap,
    name: HeaderName,
    value: Bytes,
) -> Result<(), Http1Error> {
    let value = HeaderValue::from_maybe_shared(value);
    let value = value.map_err(|_| Http1Error::Syntax(httparse::Error::HeaderValue))?;
    match headers.try_append(name, value) {
        Ok(_) => Ok(()),
        Err(_) => Err(too_many()),
    }
}

fn too_many() -> Http1Error {
    Http1Error::TooLarge("the response has too many fields")
}

fn too_large() -> Http1Error {
    Http1Error::TooLarge("the response head is too large")
}

/// The first line of a head, and the length of the head.
struct StatusLine {
    status: StatusCode,
    version: Version,
    /// The place of the reason phrase, unless it is the usual one of the status.
    reason: Option<(usize, usize)>,
    len: usize,
}

impl StatusLine {
    /// Returns the reason phrase, if it is not the usual one. The server in front sends it on.
    fn reason(&self, head: &[u8]) -> Option<ReasonPhrase> {
        let (from, to) = self.reason?;
        ReasonPhrase::try_from(&head[from..to]).ok()
    }
}

/// Finds the head at the beginning of `bytes`, and the places of its fields. `None` if it is not complete.
fn locate<'a>(
    bytes: &'a [u8],
    room: &mut [MaybeUninit<Header<'a>>],
    fields: &mut Vec<Field>,
) -> Result<Option<StatusLine>, Http1Error> {
    let mut response = httparse::Response::new(&mut []);
    let mut config = ParserConfig::default();
    // RFC 9112 5.1: "A proxy MUST remove any such whitespace from a response message before forwarding".
    config.allow_spaces_after_header_name_in_responses(true);
    let len = match config.parse_response_with_uninit_headers(&mut response, bytes, room) {
        Ok(Status::Complete(len)) => len,
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(too_many()),
        Err(error) => return Err(Http1Error::Syntax(error)),
    };
    let place = |part: &[u8]| {
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        (start, start + part.len())
    };
    fields.clear();
    fields.extend(response.headers.iter().map(|field| Field {
        name: place(field.name.as_bytes()),
        value: place(field.value),
    }));
    let status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|_| Http1Error::Syntax(httparse::Error::Status))?;
    let reason = response.reason.unwrap_or_default();
    let is_usual = status.canonical_reason() == Some(reason);
    Ok(Some(StatusLine {
        status,
        version: match response.version {
            Some(1) => Version::HTTP_11,
            _ => Version::HTTP_10,
        },
        // An empty one is no slice of `bytes`.
        reason: (!is_usual && !reason.is_empty()).then(|| place(reason.as_bytes())),
        len,
    }))
}

/// Completes a head with what it says of its body and its connection.
fn complete(
    response: Response<()>,
    method: &Method,
    said: FramingFields,
) -> Result<ResponseHead, Http1Error> {
    let closes = |option: &[u8]| option.eq_ignore_ascii_case(b"close");
    // A connection of HTTP/1.0 is not reused, whatever the head says: the next request could not be chunked.
    let keeps_alive = response.version() == Version::HTTP_11
        && !(said.connection && tokens(response.headers(), &header::CONNECTION).any(closes));
    // RFC 9112 6.3: a message with both "might indicate an attempt to perform request smuggling or response splitting".
    let is_twofold = said.transfer_encoding && said.content_length;
    let length = length(&response, method, said)?;
    Ok(ResponseHead {
        response,
        length,
        keeps_alive: keeps_alive && !is_twofold && length != ResponseLength::UntilClose,
    })
}

#[cfg(test)]
mod tests {
    use super::{ResponseLength::*, *};

    const BOUNDS: MessageBounds = MessageBounds {
        size: 100,
        fields: 4,
    };

    fn parse_with(
        bounds: MessageBounds,
        head: impl AsRef<[u8]>,
    ) -> Result<Option<ResponseHead>, Http1Error> {
        HeadParser::new(bounds).parse(&mut ReadBuffer::with(head), &Method::GET)
    }

    /// The head of a response to a GET, whole.
    fn parse(head: impl AsRef<[u8]>) -> Result<ResponseHead, Http1Error> {
        parse_with(MessageBounds::default(), head).map(Option::unwrap)
    }

    fn length_of(method: &Method, status_line: &str, fields: &str) -> ResponseLength {
        let mut buffer = ReadBuffer::with(format!("{status_line}\r\n{fields}\r\n"));
        let head = HeadParser::new(MessageBounds::default()).parse(&mut buffer, method);
        head.unwrap().unwrap().length
    }

    fn is_too_large<T>(parsed: &Result<T, Http1Error>) -> bool {
        matches!(parsed, Err(Http1Error::TooLarge(_)))
    }

    /// RFC 9112 6.3, rules 1 and 2: whatever the fields say.
    #[test]
    fn some_responses_have_no_body() {
        for fields in [
            "",
            "content-length: 5\r\n",
            "content-length: x\r\n",
            "transfer-encoding: chunked\r\n",
        ] {
            for status_line in ["HTTP/1.1 101 A", "HTTP/1.1 204 A", "HTTP/1.0 304 A"] {
                assert_eq!(length_of(&Method::GET, status_line, fields), Exact(0));
            }
            assert_eq!(
                length_of(&Method::HEAD, "HTTP/1.1 200 OK", fields),
                Exact(0)
            );
        }
    }

    /// Whatever the limits are, an endpoint can only make a response fail.
    #[test]
    fn limits_may_be_beyond_what_is_possible() {
        for (fields, passes) in [(20_000, true), (30_000, false)] {
            let bounds = MessageBounds {
                size: usize::MAX,
                fields: usize::MAX,
            };
            let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:\r\n".repeat(fields));
            let parsed = HeadParser::new(bounds).parse(&mut ReadBuffer::with(head), &Method::GET);
            match passes {
                true => assert_eq!(parsed.unwrap().unwrap().response.headers().len(), fields),
                false => assert!(matches!(parsed, Err(Http1Error::TooLarge(_)))),
            }
        }
    }

    /// RFC 9112 6.3, rules 3 to 8.
    #[test]
    fn the_fields_tell_how_a_body_ends() {
        for (fields, expected) in [
            ("", UntilClose),
            ("content-length: 0\r\n", Exact(0)),
            ("content-length: 05\r\n", Exact(5)),
            ("content-length: 18446744073709551615\r\n", Exact(u64::MAX)),
            ("transfer-encoding: chunked\r\n", Chunked),
            ("transfer-encoding: gzip ,\tChunked\r\n", Chunked),
            (
                "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
                Chunked,
            ),
            ("transfer-encoding: chunked, gzip\r\n", UntilClose),
            ("transfer-encoding: chunked,\r\n", UntilClose),
            ("transfer-encoding: xchunked\r\n", UntilClose),
            ("transfer-encoding:\r\ncontent-length: 5\r\n", UntilClose),
            (
                "content-length: 5\r\ntransfer-encoding: chunked\r\n",
                Chunked,
            ),
            (
                "content-length: x\r\ntransfer-encoding: chunked\r\n",
                Chunked,
            ),
        ] {
            let length = length_of(&Method::GET, "HTTP/1.1 200 OK", fields);
            assert_eq!(length, expected, "{fields}");
        }
    }

    /// RFC 9112 6.3, rule 5.
    #[test]
    fn there_is_one_length() {
        let parse = |lines: &str| parse(format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n"));
        for lines in [
            "content-length: 5, 5 ,5",
            "content-length: 5\r\ncontent-length: 5",
        ] {
            assert_eq!(parse(lines).unwrap().length, Exact(5), "{lines}");
        }
        for lines in [
            "content-length: 5, 6",
            "content-length: 5\r\ncontent-length: 6",
            "content-length:",
            "content-length: 5,",
            "content-length: 5\r\ncontent-length:",
            "content-length: +5",
            "content-length: -5",
            "content-length: 0x5",
            "content-length: 5 5",
            "content-length: 5.0",
            "content-length: \u{665}",
            "content-length: 18446744073709551616",
        ] {
            let parsed = parse(lines);
            assert!(matches!(parsed, Err(Http1Error::Framing(_))), "{lines}");
        }
    }

    /// RFC 9112 6.1.
    #[test]
    fn a_response_of_http_1_0_is_not_chunked() {
        let parsed = parse("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        assert!(matches!(parsed, Err(Http1Error::Framing(_))));
    }

    /// RFC 9112 9.3.
    #[test]
    fn a_connection_is_kept_if_the_body_has_an_end_and_nothing_says_otherwise() {
        for (head, keeps) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 0", true),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: x-close",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: a, Close",
                false,
            ),
            (
                "HTTP/1.1 200 OK\r\nconnection: close\r\nconnection: a\r\ncontent-length: 0",
                false,
            ),
            ("HTTP/1.1 200 OK\r\nconnection: keep-alive", false),
            (
                "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 0",
                false,
            ),
            ("HTTP/1.1 204 No", true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked", true),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3",
                false,
            ),
        ] {
            let parsed = parse(format!("{head}\r\n\r\n"));
            assert_eq!(parsed.unwrap().keeps_alive, keeps, "{head}");
        }
    }

    #[test]
    fn a_head_is_found_in_any_pieces() {
        let head = "\r\n\nHTTP/1.1 200 Fine\r\nx: 1\r\ny : 2\t\r\nx:\r\ncontent-length: 3\r\n\r\n";
        let (mut parser, mut buffer) = (HeadParser::new(BOUNDS), ReadBuffer::default());
        let mut found = None;
        for byte in format!("{head}abc").bytes() {
            buffer.add([byte]);
            if found.is_none() {
                found = parser.parse(&mut buffer, &Method::GET).unwrap();
            }
        }
        assert_eq!(buffer.bytes(), b"abc");
        let ResponseHead {
            response, length, ..
        } = found.unwrap();
        assert_eq!(length, Exact(3));
        assert_eq!(response.version(), Version::HTTP_11);
        let fields: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let expected: [(&str, &[u8]); 4] = [
            ("x", b"1"),
            ("x", b""),
            ("y", b"2"),
            ("content-length", b"3"),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn heads_follow_one_another() {
        let mut parser = HeadParser::new(BOUNDS);
        let mut buffer = ReadBuffer::with("HTTP/1.1 103 A\r\n\r\nHTTP/1.1 204 B\r\n\r\nHTTP/1.1 2");
        let mut next = || {
            let head = parser.parse(&mut buffer, &Method::GET).unwrap();
            head.map(|head| head.response.status().as_u16())
        };
        assert_eq!([next(), next(), next()], [Some(103), Some(204), None]);
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for head in [
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
            "HTTP/1.1 099 No\r\n\r\n",
            "HTTP/1.1 20 No\r\n\r\n",
            "HTTP/1.1 200 O\rK\r\n\r\n",
            // Obsolete line folding (RFC 9112 5.2).
            "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
            "HTTP/1.1 200 OK\r\n x: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\rb\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: a\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx y: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: a\r\n\r\n",
            // CR alone is no line end (RFC 9112 2.2).
            "\rHTTP/1.1 200 OK\r\n\r\n",
            "\r\rHTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert!(
                matches!(parse(head), Err(Http1Error::Syntax(_))),
                "{head:?}"
            );
        }
    }

    /// RFC 9112 2.2: "a recipient MAY recognize a single LF as a line terminator".
    #[test]
    fn lines_of_a_head_may_end_with_lf() {
        let head = parse("HTTP/1.1 200 OK\nx: a\ncontent-length: 1\n\n").unwrap();
        assert_eq!(head.response.headers()["x"], "a");
        assert_eq!(head.length, Exact(1));
    }

    #[test]
    fn only_so_many_empty_lines_come_before_a_head() {
        let head = "HTTP/1.1 204 No\r\n\r\n";
        for blank in ["\n", "\r\n", "\n\r\n"] {
            let most = blank.repeat(MAX_BLANK / blank.len());
            assert!(parse(format!("{most}{head}")).is_ok());
            let more = parse(format!("{most}{blank}{head}"));
            assert!(matches!(more, Err(Http1Error::Syntax(_))), "{blank:?}");
        }
        // They are counted when they come one by one, too.
        let (mut parser, mut buffer) = (HeadParser::new(BOUNDS), ReadBuffer::default());
        let mut add = |bytes| {
            buffer.add(bytes);
            parser.parse(&mut buffer, &Method::GET)
        };
        for _ in 0..MAX_BLANK {
            assert!(matches!(add("\n"), Ok(None)));
        }
        assert!(add("\n").is_err());
    }

    #[test]
    fn a_head_is_as_large_as_it_may_be() {
        let head = |size: usize| {
            let fixed = "HTTP/1.1 200 OK\r\nx: \r\n\r\n";
            format!(
                "HTTP/1.1 200 OK\r\nx: {}\r\n\r\n",
                "a".repeat(size - fixed.len())
            )
        };
        let (most, more) = (head(BOUNDS.size), head(BOUNDS.size + 1));
        assert!(parse_with(BOUNDS, format!("{most}body")).unwrap().is_some());
        assert!(is_too_large(&parse_with(BOUNDS, &more)));
        // It is refused before it is complete.
        let incomplete = &more[..BOUNDS.size];
        assert!(matches!(parse_with(BOUNDS, incomplete), Ok(None)));
        assert!(is_too_large(&parse_with(
            BOUNDS,
            head(BOUNDS.size * 2).trim_end()
        )));
        assert!(is_too_large(&parse_with(
            BOUNDS,
            "a".repeat(BOUNDS.size + 1)
        )));
    }

    #[test]
    fn a_head_has_as_many_fields_as_it_may_have() {
        for most in [1, BOUNDS.fields, ON_STACK, ON_STACK + 1] {
            let bounds = MessageBounds {
                size: 10_000,
                fields: most,
            };
            let head = |fields| format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(fields));
            let parsed = parse_with(bounds, head(most)).unwrap().unwrap();
            assert_eq!(parsed.response.headers().len(), most);
            assert!(is_too_large(&parse_with(bounds, head(most + 1))));
        }
    }

    #[test]
    fn interim_responses_are_bounded_together() {
        let interim = "HTTP/1.1 100 A\r\nx:\r\n\r\n"; // 22 bytes
        let (mut parser, mut buffer) = (HeadParser::new(BOUNDS), ReadBuffer::default());
        let mut parse = |head: &str| {
            buffer.add(head);
            parser.parse(&mut buffer, &Method::GET)
        };
        for _ in 0..2 {
            for _ in 0..BOUNDS.size / interim.len() {
                assert!(parse(interim).unwrap().is_some());
            }
            assert!(parse("HTTP/1.1 200 OK\r\n\r\n").unwrap().is_some());
        }
        for _ in 0..BOUNDS.size / interim.len() {
            assert!(parse(interim).unwrap().is_some());
        }
        assert!(is_too_large(&parse(interim)));
    }

    #[test]
    fn a_reason_is_kept_unless_it_is_the_usual_one() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK", None),
            ("HTTP/1.1 200 ok", Some("ok")),
            ("HTTP/1.1 200 ", None),
            ("HTTP/1.1 200", None),
            ("HTTP/1.1 299 OK", Some("OK")),
            ("HTTP/1.1 299", None),
            // The parser drops those with bytes that are not ASCII.
            ("HTTP/1.1 299 \u{e9}", None),
        ] {
            let head = parse(format!("{line}\r\n\r\n")).unwrap();
            let reason = head.response.extensions().get::<ReasonPhrase>();
            let reason = reason.map(ReasonPhrase::as_bytes);
            assert_eq!(reason, expected.map(str::as_bytes), "{line}");
        }
    }
}
