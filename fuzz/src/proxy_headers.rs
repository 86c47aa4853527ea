//! PROXY headers, as the gateway reads them.

use futures_util::FutureExt;
use gateway::proxy_protocol::{LONGEST, ProxiedClient, read_header};

use self::pieces::Pieces;
use crate::input::{seed, split_settings};

#[path = "../../examples/gateway/src/pieces.rs"]
mod pieces;

pub(crate) const PIECES: &[&str] = &[
    "7\n",
    "PROXY ",
    "PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n",
    "PROXY TCP6 2001:db8::7 ::1 4660 80\r\n",
    "PROXY UNKNOWN",
    "TCP4 ",
    "TCP6 ",
    "UNKNOWN ",
    "192.0.2.7 ",
    "255.255.255.255 ",
    "2001:db8::7 ",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ",
    "65535 ",
    "65536",
    "0",
    " ",
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n\0\r\nQUIT\n",
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    "\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24",
    "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
    "\x21\x11",
    "\x21\x12",
    "\x21\x31",
    "\x20",
    "\0\x0c",
    "\0\x14",
    "\x10\0",
    "\x7f\x7f",
    "\0\0\0\0",
    "\x01\x02\x03\x04",
    "\x20\0\x05\x01\0\0\0\0",
    "\x02\0\x01a",
    "\x03\0\x04",
    "GET / HTTP/1.1\r\n\r\n",
];

/// What a client sends, in pieces of as many bytes as the settings say. A header is read, and not a byte more; how it
/// arrives makes no difference.
pub fn proxy_headers(data: &[u8]) {
    let (settings, sent) = split_settings(data);
    let piece = usize::try_from(seed(settings) % 64).unwrap_or(0) + 1;
    let (result, used) = read(sent, usize::MAX);
    assert_eq!((result.clone(), used), read(sent, piece));
    assert!(used <= LONGEST);
    if result.is_err() {
        return;
    }
    let header = &sent[..used];
    match header.starts_with(b"PROXY ") {
        true => assert!(used <= 107 && header.ends_with(b"\r\n")),
        false => assert!(header.starts_with(b"\r\n\r\n\0\r\nQUIT\n")),
    }
    // What follows is not looked at, and there is no shorter one.
    assert_eq!(read(header, piece), (result, used));
    let (shorter, _) = read(&header[..used - 1], piece);
    assert!(shorter.is_err(), "{header:?}");
}

/// Reads a header of these bytes. Returns what is wrong with it as text, and how many bytes were read.
fn read(sent: &[u8], piece: usize) -> (Result<ProxiedClient, String>, usize) {
    let mut stream = Pieces::new(sent, piece);
    let result = read_header(&mut stream).now_or_never().unwrap();
    let result = result.map_err(|error| error.to_string());
    (result, sent.len() - stream.left())
}
