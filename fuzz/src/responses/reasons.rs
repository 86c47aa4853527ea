//! Where the crate's client may differ from hyper's, and why.

use super::{Answer, End, Script};

/// Why the crate's client refuses what hyper's accepts: a part of the error, and how the bytes show it.
type Strict = (&'static str, fn(&Script) -> bool);

/// All such reasons.
const STRICT: &[Strict] = &[
    // RFC 9110 15.2.2: a server switches protocols only for a request with `Upgrade`, which none of these has.
    ("switches protocols unasked", |script| {
        contains(&script.bytes, b" 101")
    }),
    // A size of 64 bits has 16 digits. RFC 9112 7.1: "recipients MUST anticipate potentially large hexadecimal
    // numerals and prevent parsing errors due to integer conversion overflows". Some parsers keep the last digits only.
    ("invalid chunk size", |script| {
        longest(&script.bytes, |byte| byte.is_ascii_hexdigit()) > 16
    }),
    // A line with a size is held in the buffer until it is whole. hyper reads it byte by byte, without a limit for
    // white space, and with one of 16 KiB for the extensions of all chunks together.
    ("the line of a chunk size is too long", |script| {
        longest(&script.bytes, |byte| byte != b'\n') >= 4 * 1024
    }),
    // The same limit as hyper's, but the semicolons count.
    ("too many chunk extensions", |script| {
        script.bytes.len() > 16 * 1024
    }),
    // RFC 9112 2.2 has a recipient recognize a bare LF in a head. In trailers, hyper waits for CRLF CRLF to end the
    // section, and drops what is between a bare empty line and that.
    ("invalid trailers", has_bare_lf),
    // They may be as long as a head, all together. hyper bounds each of them.
    ("too many interim responses", |script| {
        contains(&script.bytes, b"HTTP/1.1 1") || contains(&script.bytes, b"HTTP/1.0 1")
    }),
    // RFC 9112 2.2 has servers ignore an empty line before a request. hyper ignores any number before a response.
    ("invalid HTTP/1 response: invalid HTTP version", |script| {
        longest(&script.bytes, |byte| matches!(byte, b'\r' | b'\n')) > 16
    }),
];

/// Returns whether the crate's client may fail for this reason where hyper's does not.
pub(super) fn is_strict_for(script: &Script, reason: &str) -> bool {
    let mut reasons = STRICT.iter();
    reasons.any(|(part, is_shown)| reason.contains(part) && is_shown(script))
}

/// Returns whether the crate's client may accept what hyper's does not, or takes for something else.
pub(super) fn is_lenient_for(script: &Script, ours: &Answer, hypers: &Answer) -> bool {
    // hyper uses the two largest numbers of 64 bits for bodies whose length is not known.
    let is_huge = contains(&script.bytes, b"1844674407370955161")
        && ours.end != End::Complete
        && hypers.head.is_none();
    // RFC 9112 6.3: "If a Transfer-Encoding header field is present and the chunked transfer coding [...] is the final
    // encoding". hyper does not look at a line with bytes that are not ASCII.
    let is_not_ascii = ours.head.as_ref().is_some_and(|head| {
        let mut codings = head.fields.iter();
        codings.any(|(name, value)| name == "transfer-encoding" && value.to_str().is_err())
    });
    // hyper counts the empty lines before a head among its bytes. Here they have a limit of their own, of 16 bytes.
    let is_after_blank = matches!(&hypers.end, End::Failed(error) if error.contains("head is too large"))
        && (script.bytes.starts_with(b"\r")
            || script.bytes.starts_with(b"\n")
            || !ours.interim.is_empty());
    is_huge || is_not_ascii || is_after_blank
}

fn has_bare_lf(script: &Script) -> bool {
    let bytes = &script.bytes;
    let mut lines = bytes.split(|byte| *byte == b'\n').peekable();
    std::iter::from_fn(|| lines.next().filter(|_| lines.peek().is_some()))
        .any(|line| line.last() != Some(&b'\r'))
}

/// Returns the length of the longest run of such bytes.
fn longest(bytes: &[u8], is_such: impl Fn(u8) -> bool) -> usize {
    let runs = bytes.split(|byte| !is_such(*byte)).map(<[u8]>::len);
    runs.max().unwrap_or_default()
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}
