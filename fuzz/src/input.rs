//! Heads as text: a line of settings, a start line, and a line for each field.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
};

/// Pieces of heads that mean something to a proxy.
pub(crate) const FIELDS: &[&str] = &[
    "GET / HTTP/1.1\n",
    "POST /a/b?c HTTP/1.0\n",
    "OPTIONS * HTTP/1.1\n",
    "TRACE http://a/x HTTP/2\n",
    "CONNECT a:1 HTTP/1.1\n",
    "200\n",
    "204\n",
    "304\n",
    "426\n",
    "a",
    "p",
    "\n",
    " ",
    ":",
    ",",
    ";",
    "\"",
    "\t",
    "\u{e9}",
    "host: a\n",
    "host: a:80\n",
    "connection: ",
    "close",
    "upgrade",
    "keep-alive",
    "x-one",
    "x-two: 2\n",
    "x-one: 1\n",
    "x-forwarded-for: 6.6.6.6\n",
    "x_forwarded_host: a\n",
    "forwarded: for=6.6.6.6\n",
    "content-length: ",
    "3\n",
    "03\n",
    "3, 3\n",
    "transfer-encoding: chunked\n",
    "transfer-encoding: gzip, chunked\n",
    "te: trailers\n",
    "te: trailers;q=0\n",
    "trailer: x-one\n",
    "upgrade: websocket\n",
    "upgrade: h2c\n",
    "via: 1.1 fuzz\n",
    "via: 1.1 other (fuzz)\n",
    "max-forwards: 0\n",
    "max-forwards: 7\n",
    "cookie: a=1\n",
    "cookie: b=2\n",
    "expect: 100-continue\n",
    "proxy-authorization: x\n",
    "keep-alive: timeout=5\n",
    "http2-settings: x\n",
    "content-type: application/grpc\n",
];

/// More lines than any server lets through.
const MOST_LINES: usize = 500;

/// The settings, and what follows them.
pub(crate) fn split_settings(data: &[u8]) -> (&[u8], &[u8]) {
    split_once(data, b'\n').unwrap_or((data, &[]))
}

pub(crate) fn split_once(data: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = data.iter().position(|byte| *byte == at)?;
    Some((&data[..position], &data[position + 1..]))
}

/// The bytes as they are, except that `\0`, a number and a byte stand for 64 times that number of the byte.
pub(crate) fn repeated(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        match rest {
            [0, times, byte, after @ ..] => {
                bytes.extend(std::iter::repeat_n(*byte, 64 * usize::from(*times)));
                rest = after;
            }
            [byte, after @ ..] => {
                bytes.push(*byte);
                rest = after;
            }
            [] => return bytes,
        }
    }
}

/// `GET /path HTTP/1.1` and its fields; `None` if that is no request.
pub(crate) fn request(text: &[u8]) -> Option<Request<()>> {
    let (start, fields) = split_once(text, b'\n')?;
    let mut words = start.split(|byte| *byte == b' ');
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(words.next()?).ok()?;
    *request.uri_mut() = Uri::try_from(words.next()?).ok()?;
    *request.version_mut() = match words.next()? {
        b"HTTP/1.0" => Version::HTTP_10,
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/2" => Version::HTTP_2,
        _ => return None,
    };
    read_fields(fields, request.headers_mut());
    Some(request)
}

/// `200` and its fields; `None` if that is no response.
pub(crate) fn response(text: &[u8]) -> Option<Response<()>> {
    let (start, fields) = split_once(text, b'\n')?;
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_bytes(start).ok()?;
    read_fields(fields, response.headers_mut());
    Some(response)
}

/// A field a line.
pub(crate) fn fields(text: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    read_fields(text, &mut headers);
    headers
}

/// The number that the digits among the settings make, the rest left out.
pub(crate) fn seed(settings: &[u8]) -> u64 {
    let digits = settings.iter().filter(|byte| byte.is_ascii_digit());
    digits.fold(0, |seed: u64, digit| {
        seed.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    })
}

/// Lines that are no fields are left out, as no server lets them through.
fn read_fields(text: &[u8], headers: &mut HeaderMap) {
    for line in text.split(|byte| *byte == b'\n').take(MOST_LINES) {
        let Some((name, value)) = split_once(line, b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value.trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
}
