//! Finds out which version of HTTP a client speaks, from the first bytes that it sends.
//!
//! Clients of HTTP/2 without TLS begin with its preface: they know beforehand that the server speaks it (RFC 9113 3.3).
//! The old way, an upgrade from HTTP/1.1 to `h2c`, is not supported.

use std::io;

use tokio::{
    io::{AsyncReadExt, ReadBuf},
    net::TcpStream,
};

/// What an HTTP/2 connection begins with (RFC 9113 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What has been read of a connection, and not been used.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The buffer, of which `used..len` is left.
    bytes: [u8; PREFACE.len()],
    used: usize,
    len: usize,
}

impl Read {
    /// Moves as much as there is room for. Returns whether there was anything left.
    pub(super) fn move_to(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let left = &self.bytes[self.used..self.len];
        let now = left.len().min(buf.remaining());
        buf.put_slice(&left[..now]);
        self.used += now;
        now > 0
    }

    /// Returns whether everything that was read is the beginning of the preface.
    fn is_preface(&self) -> bool {
        self.bytes[..self.len] == PREFACE[..self.len]
    }
}

/// Reads until it is known whether the client speaks HTTP/2, at most the length of its preface. Returns the answer, the
/// stream, and what has been read from it.
///
/// A client that closes its sending half before that speaks HTTP/1, which then finds out what is missing.
///
/// # Errors
///
/// Returns the error of the socket.
///
/// # Cancel safety
///
/// Dropping the future closes the connection.
pub(super) async fn is_http2(mut stream: TcpStream) -> io::Result<(bool, TcpStream, Read)> {
    let mut read = Read::default();
    while read.len < PREFACE.len() && read.is_preface() {
        let new = stream.read(&mut read.bytes[read.len..]).await?;
        if new == 0 {
            return Ok((false, stream, read));
        }
        read.len += new;
    }
    Ok((read.is_preface(), stream, read))
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn version_of(bytes: &[u8]) -> (bool, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let (is_http2, _, read) = is_http2(server).await.unwrap();
        (is_http2, read.len)
    }

    #[tokio::test]
    async fn the_preface_decides() {
        assert_eq!(version_of(PREFACE).await, (true, 24));
        assert_eq!(version_of(b"GET / HTTP/1.1\r\n").await, (false, 16));
        assert_eq!(version_of(b"PRI * HTTP/1.1\r\n\r\n").await, (false, 18));
        assert_eq!(version_of(b"PUT").await, (false, 3));
        assert_eq!(version_of(b"PRI").await, (false, 3));
        assert_eq!(version_of(b"").await, (false, 0));
    }
}
