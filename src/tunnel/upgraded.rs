//! The stream of an upgraded connection to an endpoint, and how it gets from the endpoint's client to the tunnel.
//!
//! It travels in the extensions of the 101, as hyper's does, and is ready when the request has been sent to its end,
//! which may be later than the response.

use std::{
    any::Any,
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::oneshot,
};

use crate::error::BoxError;

/// A connection to an endpoint that has switched protocols, as a stream of bytes.
///
/// Dropping it closes the connection.
pub struct Upgraded {
    /// What has been read of the new protocol together with the response.
    read_ahead: Bytes,
    io: Pin<Box<dyn TunnelIo>>,
    /// What is to be kept for as long as the connection is open.
    _held: Box<dyn Any + Send + Sync>,
}

/// What a tunnel is made of.
trait TunnelIo: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> TunnelIo for T {}

impl Upgraded {
    /// Returns the stream of `io`, which begins with `read_ahead`. `held` is dropped after it.
    pub(crate) fn new(
        io: impl AsyncRead + AsyncWrite + Send + 'static,
        read_ahead: Bytes,
        held: impl Send + Sync + 'static,
    ) -> Self {
        Self {
            read_ahead,
            io: Box::pin(io),
            _held: Box::new(held),
        }
    }
}

/// The upgraded connection of a response, in its extensions. Taken once.
#[derive(Clone)]
struct Offered(Arc<Mutex<Option<oneshot::Receiver<Upgraded>>>>);

/// Offers the connection of a response for an upgrade.
pub(crate) fn offer<B>(response: &mut Response<B>, connection: oneshot::Receiver<Upgraded>) {
    let offered = Offered(Arc::new(Mutex::new(Some(connection))));
    response.extensions_mut().insert(offered);
}

/// Takes the connection of a 101 out of the response of a [`Client`](crate::upstream::Client). `None` for any other
/// response, and for a second call.
///
/// Resolves when the request has been sent to its end. The body of the response ends at once; dropping it does not
/// close the connection.
///
/// # Errors
///
/// The request could not be sent to its end.
///
/// # Cancel safety
///
/// Dropping the future closes the connection, up to 30 s later if the request is still being sent.
pub fn upgrade<B>(response: &mut Response<B>) -> Option<Upgrade> {
    if let Some(Offered(offered)) = response.extensions_mut().remove() {
        let taken = offered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        return taken.map(|own| Upgrade(UpgradeSource::Own(own)));
    }
    // The endpoint may be a service of the user's that sends with hyper.
    let hyper = response.extensions_mut().remove::<OnUpgrade>()?;
    Some(Upgrade(UpgradeSource::Hyper(hyper)))
}

/// The future of an [`Upgraded`] connection: see [`upgrade`].
pub struct Upgrade(UpgradeSource);

enum UpgradeSource {
    Own(oneshot::Receiver<Upgraded>),
    Hyper(OnUpgrade),
}

impl Upgrade {
    /// Returns the future of a connection that is there already.
    pub(super) fn ready(connection: Upgraded) -> Self {
        let (sender, own) = oneshot::channel();
        // Cannot fail: the receiver is here.
        drop(sender.send(connection));
        Self(UpgradeSource::Own(own))
    }
}

impl Future for Upgrade {
    type Output = Result<Upgraded, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match &mut self.0 {
            UpgradeSource::Own(own) => {
                let closed = |_| "connection closed before the request was sent";
                ready!(Pin::new(own).poll(cx)).map_err(|error| closed(error).into())
            }
            UpgradeSource::Hyper(hyper) => match ready!(Pin::new(hyper).poll(cx)) {
                Ok(upgraded) => Ok(Upgraded::new(TokioIo::new(upgraded), Bytes::new(), ())),
                Err(error) => Err(error.into()),
            },
        })
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read_ahead.is_empty() {
            return self.io.as_mut().poll_read(cx, buf);
        }
        let len = self.read_ahead.len().min(buf.remaining());
        buf.put_slice(&self.read_ahead[..len]);
        self.read_ahead.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.io.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.as_mut().poll_shutdown(cx)
    }
}

impl fmt::Debug for Upgraded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgraded")
            .field("read_ahead", &self.read_ahead.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}
