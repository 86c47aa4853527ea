//! A connector of the user's: any tower service from a `Uri` to a stream.
//!
//! Its type is erased, so that `Client` has no type parameter. That costs one allocation per connection, and a virtual
//! call per read and write, on streams of such connectors alone.

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

/// What the user's stream implements: hyper's I/O traits, as connectors written for hyper return.
trait HyperIo: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> HyperIo for T {}

/// The stream of a user's connector, boxed, with tokio's I/O traits on top of hyper's.
pub(in crate::upstream) struct CustomIo(TokioIo<Box<dyn HyperIo>>);

impl CustomIo {
    /// Boxes a stream.
    pub(super) fn new(stream: impl Read + Write + Send + Unpin + 'static) -> Self {
        Self(TokioIo::new(Box::new(stream)))
    }
}

/// A user's connector. Clones of the service are used, one for each connection.
#[derive(Clone)]
pub(in crate::upstream) struct Custom {
    /// Opens a stream, and returns whether ALPN chose HTTP/2 on it.
    service: BoxCloneSyncService<Uri, (CustomIo, bool), BoxError>,
    /// Whether the connector itself performs the TLS handshake if the scheme is `https`.
    #[cfg_attr(not(feature = "_tls"), expect(dead_code))]
    speaks_tls: bool,
}

impl Custom {
    /// Erases the type of a connector.
    ///
    /// `is_http2` returns whether ALPN chose HTTP/2 on a stream, if the connector `speaks_tls`.
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
            (CustomIo::new(stream), http2)
        };
        let service = BoxCloneSyncService::new(connector.map_response(boxed).map_err(Into::into));
        Self {
            service,
            speaks_tls,
        }
    }

    /// Returns whether the connector itself performs the TLS handshake.
    #[cfg(feature = "_tls")]
    pub(in crate::upstream) fn speaks_tls(&self) -> bool {
        self.speaks_tls
    }

    /// Opens a stream to an origin, `http://host:port` or `https://host:port`, and returns whether HTTP/2 was
    /// negotiated on it.
    ///
    /// Waits for the connector to be ready first, so its `poll_ready` may limit connections.
    ///
    /// # Errors
    ///
    /// The connector's own.
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
