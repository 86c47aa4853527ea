//! hyper's server, reading what has been written.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request::Parts};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http1::Builder, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What has been read of a request.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) head: Parts,
    /// Its data and its trailers.
    pub(super) body: Result<(Bytes, HeaderMap), hyper::Error>,
}

/// Reads the request that has been written, be it whole or not. `None` if not even its head has been written.
///
/// # Panics
///
/// If what has been written is no request, or several.
pub(super) async fn read(written: &[u8]) -> Option<Read> {
    let all = Arc::new(Mutex::new(Vec::new()));
    let seen = all.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = seen.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| {
                let trailers = body.trailers().cloned().unwrap_or_default();
                (body.to_bytes(), trailers)
            });
            seen.lock().unwrap().push(Read { head, body });
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let stream = TokioIo::new(Written(written.to_vec(), 0));
    // Or the end of the stream would be the end of the exchange, too.
    let mut server = Builder::new();
    server
        .half_close(true)
        .max_headers(1000)
        .max_buf_size(1024 * 1024)
        .max_header_size(512 * 1024);
    drop(server.serve_connection(stream, service).await);
    let mut all = all.lock().unwrap();
    let has_head = written.windows(4).any(|end| end == b"\r\n\r\n");
    let expected = usize::from(has_head);
    assert_eq!(
        all.len(),
        expected,
        "{:?}",
        written.escape_ascii().to_string()
    );
    all.pop()
}

/// A stream from which this is read.
struct Written(Vec<u8>, usize);

impl AsyncRead for Written {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let rest = &self.0[self.1..];
        let len = rest.len().min(buf.remaining());
        buf.put_slice(&rest[..len]);
        self.1 += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Written {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
