//! Uploads, and the pieces in which they reach endpoints.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    authority::{Authority, Folder},
    support::{Conn, Gateway, Origin, soon},
};

/// The size of the upload in bytes.
const LEN: usize = 1 << 20;

/// Uploads one chunk. Returns the number of chunks in which the endpoint gets it.
async fn chunks<S: AsyncRead + AsyncWrite + Unpin>(client: &mut Conn<S>, origin: &Origin) -> usize {
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")
        .await;
    let mut server = origin.accept().await;
    server.head().await;
    let chunk = format!("{LEN:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(LEN));
    let counts = async {
        let (mut count, mut total) = (0, 0);
        loop {
            let len = usize::from_str_radix(server.line().await.trim(), 16).unwrap();
            let data = server.exactly(len + 2).await;
            if len == 0 {
                assert_eq!(total, LEN);
                return count;
            }
            assert!(data[..len].iter().all(|byte| *byte == b'x'));
            (count, total) = (count + 1, total + len);
        }
    };
    let ((), count) = tokio::join!(client.send(&chunk), counts);
    count
}

/// The gateway looks at a client that it does not read, and has to read a byte to do so over TLS.
#[tokio::test]
async fn an_upload_over_tls_is_not_forwarded_byte_by_byte() {
    let (authority, folder, origin) = (Authority::new(), Folder::new(), Origin::new().await);
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let mut flags = vec!["--tls-listen", "127.0.0.1:0"];
    flags.extend(pair.iter().map(String::as_str));
    let gateway = Gateway::start(&origin, &flags);
    let address = gateway.address_of(1);
    let stream = authority.connect(address, "a.example", &[], None).await;
    let count = chunks(&mut Conn::over(stream.unwrap()), &origin).await;
    assert!(count <= LEN >> 10, "{count}");
}

#[tokio::test]
async fn an_upload_over_a_unix_socket_is_not_forwarded_byte_by_byte() {
    let (folder, origin) = (Folder::new(), Origin::new().await);
    let address = format!("unix:{}", folder.text("socket"));
    let _gateway = Gateway::start(&origin, &["--listen", &address]);
    let connects = tokio::net::UnixStream::connect(folder.path("socket"));
    let mut client = Conn::over(soon(connects).await.unwrap());
    let count = chunks(&mut client, &origin).await;
    assert!(count <= LEN >> 10, "{count}");
}
