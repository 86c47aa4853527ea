//! Finds out which version of HTTP a client speaks, from the first bytes that it sends.
//!
//! Clients of HTTP/2 without TLS begin with its preface: they know beforehand that the server speaks it (RFC 9113 3.3).
//! The old way, an upgrade from HTTP/1.1 to `h2c`, is not supported.

use std::io;

use bytes::Bytes;
use tokio::io::AsyncReadExt;

use super::client_stream::ClientStream;

/// What an HTTP/2 connection begins with (RFC 9113 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Reads until it is known whether the client speaks HTTP/2, at most the length of its preface. Returns the answer,
/// and what has been read.
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
pub(super) async fn is_http2(stream: &mut ClientStream) -> io::Result<(bool, Bytes)> {
    let (mut bytes, mut len) = ([0; PREFACE.len()], 0);
    while len < PREFACE.len() && PREFACE.starts_with(&bytes[..len]) {
        match stream.read(&mut bytes[len..]).await? {
            0 => break,
            new => len += new,
        }
    }
    let read = &bytes[..len];
    Ok((read == PREFACE, Bytes::copy_from_slice(read)))
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncWriteExt,
        net::{TcpListener, TcpStream},
    };

    use super::{super::RawStream, *};

    async fn version_of(bytes: &[u8]) -> (bool, usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (server, _) = listener.accept().await.unwrap();
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut server = ClientStream::Raw(RawStream::Tcp(server));
        let (is_http2, read) = is_http2(&mut server).await.unwrap();
        (is_http2, read.len())
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
