//! Parses response heads.
//!
//! The syntax is that of [`httparse`]; the rules about how a response is framed, and what a head says of its
//! connection, are here.
//!
//! A head is parsed when it is complete. The values of its fields are slices of what was read.

use std::{mem::MaybeUninit, str};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header};
use httparse::{Header, ParserConfig, Status};
use hyper::ext::ReasonPhrase;

use super::{error::Http1Error, read_buffer::ReadBuffer};
use crate::{rewrite::tokens, upstream::bounds::MessageBounds};

/// A response head, and what it says of its body and of its connection.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) response: Response<()>,
    pub(super) length: ResponseLength,
    /// Whether the connection may be used for another request, once the body has ended.
    pub(super) keeps_alive: bool,
}

/// How the end of a response body is found (RFC 9112 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseLength {
    /// By the number of bytes, which may be 0.
    Exact(u64),
    /// By the last chunk.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// Fields whose room is on the stack. For more it is allocated.
const ON_STACK: usize = 256;

/// Fields that are likely to be added to a response on its way down.
const SPARE_FIELDS: usize = 4;

/// Empty bytes before a head that are ignored, as after a body that is longer than it says by a line end.
const MAX_BLANK: usize = 16;

/// Parses the heads of the responses on one connection.
#[derive(Debug)]
pub(super) struct HeadParser {
    bounds: MessageBounds,
    /// How many bytes of the buffer are known not to complete a head.
    seen: usize,
    /// How many line ends have been skipped before the head, in bytes.
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
            most => locate(
                buffer.bytes(),
                &mut Box::new_uninit_slice(most),
                &mut self.fields,
            )?,
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
        *response.headers_mut() = self.headers(&head)?;
        if let Some(reason) = reason {
            response.extensions_mut().insert(reason);
        }
        complete(response, method).map(Some)
    }

    /// Skips line ends before a head. RFC 9112 2.2 has servers ignore at least one before a request; here it is the
    /// mistake of a server whose last body was longer than it said.
    fn skip_blank(&mut self, buffer: &mut ReadBuffer) -> Result<(), Http1Error> {
        while let Some(b'\r' | b'\n') = buffer.bytes().first() {
            if self.blank == MAX_BLANK {
                return Err(Http1Error::Syntax(httparse::Error::Version));
            }
            self.blank += 1;
            buffer.skip(1);
            self.seen = 0;
        }
        Ok(())
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

    /// Returns the fields that have been found in `head`.
    fn headers(&self, head: &Bytes) -> Result<HeaderMap, Http1Error> {
        let mut headers = HeaderMap::with_capacity(self.fields.len() + SPARE_FIELDS);
        for field in &self.fields {
            let ((name, name_end), (value, value_end)) = (field.name, field.value);
            append(
                &mut headers,
                &head[name..name_end],
                head.slice(value..value_end),
            )?;
        }
        Ok(headers)
    }
}

/// Appends a field that has been parsed.
///
/// # Errors
///
/// The map has no room for more, or the name is longer than a name can be.
pub(super) fn append(headers: &mut HeaderMap, name: &[u8], value: Bytes) -> Result<(), Http1Error> {
    let name = HeaderName::from_bytes(name);
    let name = name.map_err(|_| Http1Error::Syntax(httparse::Error::HeaderName))?;
    let value = HeaderValue::from_maybe_shared(value);
    let value = value.map_err(|_| Http1Error::Syntax(httparse::Error::HeaderValue))?;
    match headers.try_append(name, value) {
        Ok(_) => Ok(()),
        Err(_) => Err(Http1Error::TooLarge("the response has too many fields")),
    }
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
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Http1Error::TooLarge("the response has too many fields"));
        }
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
fn complete(response: Response<()>, method: &Method) -> Result<ResponseHead, Http1Error> {
    let closes = |option: &[u8]| option.eq_ignore_ascii_case(b"close");
    // A connection of HTTP/1.0 is not reused, whatever the head says: the next request could not be chunked.
    let keeps_alive = response.version() == Version::HTTP_11
        && !tokens(response.headers(), &header::CONNECTION).any(closes);
    let length = length(&response, method)?;
    Ok(ResponseHead {
        response,
        length,
        keeps_alive: keeps_alive && length != ResponseLength::UntilClose,
    })
}

/// Returns how the end of a body is found, by the rules of RFC 9112 6.3 in their order.
fn length(response: &Response<()>, method: &Method) -> Result<ResponseLength, Http1Error> {
    let headers = response.headers();
    match response.status().as_u16() {
        100..=199 | 204 | 304 => return Ok(ResponseLength::Exact(0)),
        200..=299 if method == Method::CONNECT => return Ok(ResponseLength::Exact(0)),
        _ if method == Method::HEAD => return Ok(ResponseLength::Exact(0)),
        _ => {}
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // RFC 9112 6.1: "A server MUST NOT send a response containing Transfer-Encoding" to be read as HTTP/1.0.
        if response.version() == Version::HTTP_10 {
            return Err(Http1Error::Framing(
                "Transfer-Encoding in an HTTP/1.0 response",
            ));
        }
        let last = tokens(headers, &header::TRANSFER_ENCODING).last();
        let is_chunked = last.is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        return Ok(match is_chunked {
            true => ResponseLength::Chunked,
            false => ResponseLength::UntilClose,
        });
    }
    let mut lengths = tokens(headers, &header::CONTENT_LENGTH).map(decimal);
    let Some(first) = lengths.next() else {
        return Ok(ResponseLength::UntilClose);
    };
    match first {
        Some(length) if lengths.all(|other| other == first) => Ok(ResponseLength::Exact(length)),
        _ => Err(Http1Error::Framing(
            "invalid Content-Length in the response",
        )),
    }
}

/// Parses a number of digits alone. `None` if it is not one, or too large.
fn decimal(digits: &[u8]) -> Option<u64> {
    // `parse` would allow a sign.
    let is_number = digits.iter().all(u8::is_ascii_digit);
    str::from_utf8(digits)
        .ok()
        .filter(|_| is_number)?
        .parse()
        .ok()
}
