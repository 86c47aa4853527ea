//! A WebSocket that echoes what ws-load sends: frames of up to 125 bytes, always with the same key.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, UPGRADE},
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers the example of RFC 6455 1.3, `dGhlIHNhbXBsZSBub25jZQ==`.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub fn accept(request: Request<Incoming>) -> Response<Full<Bytes>> {
    tokio::spawn(async {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let _ = echo(TokioIo::new(upgraded)).await;
        }
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response = response.header(CONNECTION, "upgrade").header(UPGRADE, "websocket");
    response.header(SEC_WEBSOCKET_ACCEPT, ACCEPT).body(Full::default()).expect("valid fields")
}

async fn echo(mut stream: TokioIo<hyper::upgrade::Upgraded>) -> std::io::Result<()> {
    let mut read = Vec::with_capacity(4096);
    loop {
        while let Some(frame) = unmasked(&read) {
            // A client's frame has a mask of four bytes.
            read.drain(..frame.len() + 4);
            stream.write_all(&frame).await?;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    }
}

/// The first frame, as a server sends it, once all of it is there.
fn unmasked(read: &[u8]) -> Option<Vec<u8>> {
    let length = usize::from(read.get(1)? & 0x7f);
    let payload = read.get(6..6 + length)?;
    let mut frame = vec![read[0], read[1] & 0x7f];
    frame.extend(payload.iter().zip(read[2..6].iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Some(frame)
}
