//! A connector of the user's: any tower service from a `Uri` to a stream.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower::{Service, ServiceExt, util::BoxCloneSyncService};

use crate::error::BoxError;

trait HyperIo: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> HyperIo for T {}

/// Whatever stream the connector made. Its type is its own, so here is the one box.
pub(in crate::upstream) struct CustomIo(TokioIo<Box<dyn HyperIo>>);

/// The connector itself.
#[derive(Clone)]
pub(in crate::upstream) struct Custom {
    /// Makes a stream, and says whether ALPN chose HTTP/2 on it.
    service: BoxCloneSyncService<Uri, (CustomIo, bool), BoxError>,
    #[cfg_attr(not(feature = "_tls"), expect(dead_code))]
    speaks_tls: bool,
}

impl Custom {
    /// `is_http2` tells what ALPN chose on a stream, where the connector `speaks_tls`.
    pub(in crate::upstream) fn new<C>(
        connector: C,
        speaks_tls: bool,
        is_http2: impl Fn(&C::Response) -> bool + Clone + Send + Sync + 'static,
    ) -> Self
    where
        C: Service<Uri> + Clone + Send + Sync + 'static,
        C::Response: Read + Write + Send + Unpin + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
    {
        let boxed = move |stream| {
            let http2 = is_http2(&stream);
            (
                CustomIo(TokioIo::new(Box::new(stream) as Box<dyn HyperIo>)),
                http2,
            )
        };
        let service = BoxCloneSyncService::new(connector.map_response(boxed).map_err(Into::into));
        Self {
            service,
            speaks_tls,
        }
    }

    #[cfg(feature = "_tls")]
    pub(super) fn speaks_tls(&self) -> bool {
        self.speaks_tls
    }

    /// A stream, and whether HTTP/2 was negotiated on it.
    pub(super) async fn connect(&self, origin: Uri) -> Result<(CustomIo, bool), BoxError> {
        self.service.clone().oneshot(origin).await
    }
}

impl AsyncRead for CustomIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for CustomIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl fmt::Debug for CustomIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CustomIo").finish_non_exhaustive()
    }
}
