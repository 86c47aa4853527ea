//! Writes request heads.
//!
//! A head is written as it stands, with two exceptions: the fields that frame the body and those that belong to the
//! connection are never taken from it. The head that arrives here has none of them, unless a user of the client has put
//! them there, and two statements about the length of one body are how requests are smuggled.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body::Body as _;

use crate::{
    body::Body,
    rewrite::{Fields, Seen},
};

/// How the body of a request is framed (RFC 9112 6). HTTP/2 needs none of this, since its frames delimit a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestLength {
    /// There is none, and no field says so.
    None,
    /// So many bytes, which may be 0.
    Exact(u64),
    /// Chunks.
    Chunked,
}

impl RequestLength {
    /// Returns how the body of a request is framed. `seen` describes the fields of its head.
    ///
    /// What the body knows of its length decides, whatever the head says: a layer may have read or replaced the body
    /// since the head was written.
    pub(super) fn of(request: &Request<Body>, seen: Seen) -> Self {
        let body = request.body();
        if body.is_end_stream() {
            // RFC 9110 8.6: "a user agent normally sends Content-Length in a POST request even when the value is 0".
            let tells_zero = seen.any(Fields::CONTENT_LENGTH)
                || matches!(
                    *request.method(),
                    Method::POST | Method::PUT | Method::PATCH
                );
            return if tells_zero {
                Self::Exact(0)
            } else {
                Self::None
            };
        }
        match body.size_hint().exact() {
            Some(length) => Self::Exact(length),
            None => Self::Chunked,
        }
    }
}

/// Appends the head of a request to `out`. `host` takes the place of the `Host` in it, if there is one.
pub(super) fn write(
    request: &Request<Body>,
    host: Option<&HeaderValue>,
    length: RequestLength,
    seen: Seen,
    out: &mut Vec<u8>,
) {
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    let method = request.method().as_str();
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    // RFC 9110 7.2: "A user agent that sends Host SHOULD send it as the first field".
    if let Some(host) = host {
        write_field(&header::HOST, host, out);
    }
    for (name, value) in request.headers() {
        if host.is_none() || *name != header::HOST {
            write_field(name, value, out);
        }
    }
    match length {
        RequestLength::None => {}
        RequestLength::Exact(length) => {
            let mut digits = [0; 20];
            out.extend_from_slice(b"content-length: ");
            out.extend_from_slice(decimal(length, &mut digits));
            out.extend_from_slice(b"\r\n");
        }
        RequestLength::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    // RFC 9110 7.8 and 10.1.4: a sender of Upgrade or TE has to name it in Connection.
    out.extend_from_slice(match (seen.any(Fields::UPGRADE), seen.any(Fields::TE)) {
        (false, false) => b"\r\n",
        (true, false) => b"connection: upgrade\r\n\r\n",
        (false, true) => b"connection: te\r\n\r\n",
        (true, true) => b"connection: upgrade, te\r\n\r\n",
    });
}

/// Appends the trailers of a chunked request, and the empty line after them.
pub(super) fn write_trailers(trailers: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in trailers {
        write_field(name, value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the line of a field, unless that belongs to the connection.
fn write_field(name: &HeaderName, value: &HeaderValue, out: &mut Vec<u8>) {
    if let header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION = *name {
        return;
    }
    let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
    // Once for each field, instead of with each piece.
    out.reserve(name.len() + value.len() + 4);
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Returns the digits of a number.
fn decimal(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(request: &Request<Body>) -> String {
        let seen = Seen::in_head(request.headers());
        let mut out = Vec::new();
        let length = RequestLength::of(request, seen);
        write(request, None, length, seen, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_is_written_as_it_is() {
        let request = Request::get("/a%2f?b=%20")
            .header("host", "a")
            .header("x-a", "1")
            .header("x-b", "")
            .header("x-a", "2")
            .body(Body::empty())
            .unwrap();
        let lines = "GET /a%2f?b=%20 HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-a: 2\r\nx-b: \r\n\r\n";
        assert_eq!(written(&request), lines);
    }

    #[test]
    fn the_host_of_the_endpoint_comes_first() {
        let request = Request::get("/")
            .header("x", "1")
            .header("host", "a")
            .body(Body::empty());
        let (request, mut out) = (request.unwrap(), Vec::new());
        let (host, seen) = (
            HeaderValue::from_static("b"),
            Seen::in_head(request.headers()),
        );
        write(&request, Some(&host), RequestLength::None, seen, &mut out);
        assert_eq!(out, b"GET / HTTP/1.1\r\nhost: b\r\nx: 1\r\n\r\n");
    }

    /// Whatever the head says, its body is framed once, and by what it is.
    #[test]
    fn there_is_one_framing() {
        let post = || {
            Request::post("/")
                .header("content-length", "7")
                .header("transfer-encoding", "gzip, chunked")
                .header("connection", "x, close")
                .header("upgrade", "a")
                .header("te", "trailers")
        };
        let known = post().body(Body::from("abc")).unwrap();
        let rest = "upgrade: a\r\nte: trailers\r\n";
        let after = "connection: upgrade, te\r\n\r\n";
        assert_eq!(
            written(&known),
            format!("POST / HTTP/1.1\r\n{rest}content-length: 3\r\n{after}")
        );
        let streamed = futures_util::stream::pending::<Result<_, crate::BoxError>>();
        let streamed = Body::new(http_body_util::StreamBody::new(streamed));
        assert_eq!(
            written(&post().body(streamed).unwrap()),
            format!("POST / HTTP/1.1\r\n{rest}transfer-encoding: chunked\r\n{after}")
        );
    }

    #[test]
    fn no_body_is_told_where_it_is_expected() {
        for (method, says) in [
            ("GET", false),
            ("POST", true),
            ("PATCH", true),
            ("X", false),
        ] {
            let request = Request::builder().method(method).body(Body::empty());
            let written = written(&request.unwrap());
            assert_eq!(written.contains("content-length: 0\r\n"), says, "{written}");
        }
        let said = Request::get("/")
            .header("content-length", "0")
            .body(Body::empty());
        assert!(written(&said.unwrap()).contains("content-length: 0\r\n"));
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 9, 10, 4096, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
