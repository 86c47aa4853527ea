//! Reads the PROXY header with which a load balancer tells the address of its client, versions 1 and 2.
//!
//! The crate `proxy-header` understands it. What is here reads it from a stream, piece by piece, and no byte more: what
//! follows it belongs to HTTP or TLS. The size is bounded; the time is up to the caller. The checksum that version 2
//! may have is not verified: TCP has one.

use std::{error::Error as StdError, fmt, io, net::SocketAddr};

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The shortest header: "PROXY UNKNOWN\r\n". Whichever version it is, this much can be read.
const SHORTEST: usize = 15;

/// What version 1 begins with.
const V1: &[u8] = b"PROXY ";
/// The longest header of version 1, its line end included.
const V1_LONGEST: usize = 107;

/// What version 2 begins with.
const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The part of version 2 that has the length of the rest at its end.
const V2_FIXED: usize = 16;

/// The longest header of version 2 that is read. Addresses and what load balancers add to them take some hundred bytes.
pub const LONGEST: usize = 4096;

/// What a header says of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxiedClient {
    /// Its address and port. `None` if the load balancer speaks for itself, as in a health check, or if the client has
    /// no such address.
    pub address: Option<SocketAddr>,
    /// Whether the client speaks TLS with the load balancer. Only version 2 can tell.
    pub is_tls: bool,
}

/// Why there is no header.
#[derive(Debug)]
pub enum ProxyHeaderError {
    /// The stream has failed, or has ended within the header.
    Io(io::Error),
    /// What arrived is no header.
    Malformed,
    /// The header is longer than any should be.
    TooLong,
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(_) => f.write_str("no PROXY header"),
            Self::Malformed => f.write_str("malformed PROXY header"),
            Self::TooLong => f.write_str("PROXY header too long"),
        }
    }
}

impl StdError for ProxyHeaderError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::Malformed | Self::TooLong => None,
        }
    }
}

impl From<io::Error> for ProxyHeaderError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads a header, and nothing after it.
///
/// # Errors
///
/// Returns an error if there is none, or it is malformed or longer than [`LONGEST`]. The stream is of no use then.
///
/// # Cancel safety
///
/// Dropping the future loses what it has read.
pub async fn read_header<S: AsyncRead + Unpin>(
    stream: &mut S,
) -> Result<ProxiedClient, ProxyHeaderError> {
    let mut bytes = vec![0; SHORTEST];
    stream.read_exact(&mut bytes).await?;
    if bytes.starts_with(V1) {
        read_v1(stream, &mut bytes).await?;
    } else if bytes.starts_with(V2) {
        read_v2(stream, &mut bytes).await?;
    } else {
        return Err(ProxyHeaderError::Malformed);
    }
    parse(&bytes)
}

/// Reads the rest of a line. No more than what a line must have still is read at a time.
async fn read_v1<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
) -> Result<(), ProxyHeaderError> {
    loop {
        let missing: usize = match bytes.iter().position(|byte| *byte == b'\r') {
            None => 2,
            Some(at) if at + 1 == bytes.len() => 1,
            Some(at) if at + 2 == bytes.len() => return Ok(()),
            Some(_) => return Err(ProxyHeaderError::Malformed),
        };
        let len = bytes.len();
        if len + missing > V1_LONGEST {
            return Err(ProxyHeaderError::TooLong);
        }
        bytes.resize(len + missing, 0);
        stream.read_exact(&mut bytes[len..]).await?;
    }
}

/// Reads what the fixed part says the length of.
async fn read_v2<S: AsyncRead + Unpin>(
    stream: &mut S,
    bytes: &mut Vec<u8>,
) -> Result<(), ProxyHeaderError> {
    bytes.push(stream.read_u8().await?);
    let rest = u16::from_be_bytes([bytes[V2_FIXED - 2], bytes[V2_FIXED - 1]]);
    let len = V2_FIXED + usize::from(rest);
    if len > LONGEST {
        return Err(ProxyHeaderError::TooLong);
    }
    bytes.resize(len, 0);
    stream.read_exact(&mut bytes[V2_FIXED..]).await?;
    Ok(())
}

/// Returns what a whole header says.
fn parse(bytes: &[u8]) -> Result<ProxiedClient, ProxyHeaderError> {
    let parsed = ProxyHeader::parse(bytes, ParseConfig::default());
    let (header, len) = parsed.map_err(|_| ProxyHeaderError::Malformed)?;
    if len != bytes.len() {
        return Err(ProxyHeaderError::Malformed);
    }
    match header.proxied_address() {
        None => Ok(ProxiedClient {
            address: None,
            is_tls: false,
        }),
        Some(addresses) if addresses.protocol == Protocol::Stream => Ok(ProxiedClient {
            address: Some(addresses.source),
            is_tls: header.ssl().is_some_and(|tls| tls.client_ssl()),
        }),
        // There are no datagrams on a stream.
        Some(_) => Err(ProxyHeaderError::Malformed),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pieces::Pieces;

    /// What is read of these bytes, which arrive in pieces of this length, and how many are left.
    async fn read(bytes: &[u8], piece: usize) -> (Result<ProxiedClient, ProxyHeaderError>, usize) {
        let mut stream = Pieces::new(bytes, piece);
        let result = read_header(&mut stream).await;
        (result, stream.left())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let len = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2[..], &[command, family], &len, rest].concat()
    }

    const ADDRESSES: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80];

    #[tokio::test]
    async fn what_follows_a_header_is_not_read() {
        let client = Some("192.0.2.7:4660".parse().unwrap());
        let with_tls = [&ADDRESSES[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        let unix = [0; 216];
        let headers: [(Vec<u8>, Option<SocketAddr>, bool); 8] = [
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n".to_vec(),
                client,
                false,
            ),
            (
                b"PROXY TCP6 2001:db8::7 ::1 4660 80\r\n".to_vec(),
                Some("[2001:db8::7]:4660".parse().unwrap()),
                false,
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None, false),
            (b"PROXY UNKNOWN what ever\r\n".to_vec(), None, false),
            (v2(0x21, 0x11, &ADDRESSES), client, false),
            (v2(0x21, 0x11, &with_tls), client, true),
            (v2(0x20, 0, &[]), None, false),
            (v2(0x21, 0x31, &unix), None, false),
        ];
        for (header, address, is_tls) in headers {
            let sent = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            for piece in [1, 2, 3, 7, 1000] {
                let (result, left) = read(&sent, piece).await;
                let expected = ProxiedClient { address, is_tls };
                assert_eq!(result.unwrap(), expected, "{header:?}");
                assert_eq!(left, b"GET / HTTP/1.1\r\n".len(), "{header:?}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_an_error() {
        let long_line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let malformed: [&[u8]; 9] = [
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4660\r\n..............",
            b"PROXY TCP4 192.0.2.777 10.0.0.1 4660 80\r\n",
            b"PROXY TCP5 192.0.2.7 10.0.0.1 4660 80\r\n",
            b"PROXY UNKNOWN a\rb\r\n",
            &v2(0x11, 0x11, &ADDRESSES),
            &v2(0x22, 0x11, &ADDRESSES),
            &v2(0x21, 0x11, &ADDRESSES[..11]),
            &v2(0x21, 0x12, &ADDRESSES),
        ];
        for bytes in malformed {
            let (result, _) = read(bytes, 1).await;
            assert!(
                matches!(result, Err(ProxyHeaderError::Malformed)),
                "{bytes:?}: {result:?}"
            );
        }
        let too_long = v2(0x21, 0x11, &[0; LONGEST]);
        for bytes in [long_line.as_bytes(), &too_long] {
            let (result, _) = read(bytes, 1000).await;
            assert!(
                matches!(result, Err(ProxyHeaderError::TooLong)),
                "{result:?}"
            );
        }
        for bytes in [&b"PROXY TCP4 1"[..], &v2(0x21, 0x11, &ADDRESSES)[..20]] {
            let (result, _) = read(bytes, 1000).await;
            assert!(matches!(result, Err(ProxyHeaderError::Io(_))), "{result:?}");
        }
    }
}
