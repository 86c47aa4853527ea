//! The open tunnels of a proxy: spawning, counting and closing them.

use std::{fmt, time::Duration};

use http_body::Body;
use tokio::{sync::watch, time::timeout};
use tracing::Instrument;

use super::{end::TunnelReport, relay::Tunnel};

/// The open tunnels of a proxy, shared by its clones.
///
/// Each tunnel has a task of its own, which ends when both sides have closed, when the connection of either fails, when
/// one of its limits is reached, or when [`close`](Self::close) ends it.
///
/// The task does not end with the proxy. A proxy that serves a single request, or that is replaced by one with a new
/// configuration, leaves its tunnels to their two sides.
pub(crate) struct OpenTunnels {
    /// How many calls are closing tunnels. Each tunnel holds a receiver, so the channel counts them and notifies when
    /// the last one ends.
    closing: watch::Sender<usize>,
}

impl Default for OpenTunnels {
    fn default() -> Self {
        Self {
            closing: watch::Sender::new(0),
        }
    }
}

impl OpenTunnels {
    /// Spawns the task of a tunnel. `ended` is told how it ended, unless the runtime ends before.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub(crate) fn open<B>(
        &self,
        tunnel: Tunnel<B>,
        ended: impl FnOnce(TunnelReport) + Send + 'static,
    ) where
        B: Body + Send + 'static,
    {
        let mut closing = self.closing.subscribe();
        let span = tunnel.span();
        let run = async move {
            let alone = async {
                if closing.wait_for(|closing| *closing > 0).await.is_err() {
                    // The proxy is gone, and with it the only caller of `close`.
                    std::future::pending::<()>().await;
                }
            };
            ended(tunnel.run(alone).await);
        };
        tokio::spawn(run.instrument(span));
    }

    /// Returns the number of open tunnels.
    pub(crate) fn len(&self) -> usize {
        self.closing.receiver_count()
    }

    /// Waits for the tunnels to end, and closes those that are still open after `grace`.
    ///
    /// Tunnels that are opened before it returns are waited for, and closed, as well.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before `grace` has passed leaves the tunnels open.
    pub(crate) async fn close(&self, grace: Duration) {
        if timeout(grace, self.closing.closed()).await.is_err() {
            let _closing = Closing::begin(&self.closing);
            self.closing.closed().await;
        }
    }
}

/// One call that closes tunnels. Its end lets new ones be opened, unless there is another call; also when it is dropped
/// half way.
struct Closing<'a>(&'a watch::Sender<usize>);

impl<'a> Closing<'a> {
    fn begin(calls: &'a watch::Sender<usize>) -> Self {
        calls.send_modify(|calls| *calls += 1);
        Self(calls)
    }
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

impl fmt::Debug for OpenTunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTunnels")
            .field("open", &self.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::poll;
    use tokio::time::advance;

    use super::*;

    /// A call that is dropped half way must not keep another one from closing the tunnels that it waits for.
    #[tokio::test(start_paused = true)]
    async fn each_of_two_calls_closes() {
        let tunnels = OpenTunnels::default();
        let mut tunnel = tunnels.closing.subscribe();
        let mut first = pin!(tunnels.close(Duration::ZERO));
        {
            let mut second = pin!(tunnels.close(Duration::ZERO));
            for _ in 0..2 {
                assert!(poll!(first.as_mut()).is_pending());
                assert!(poll!(second.as_mut()).is_pending());
                advance(Duration::from_millis(1)).await;
            }
        }
        assert!(tunnel.wait_for(|closing| *closing > 0).await.is_ok());
        drop(tunnel);
        first.await;
        assert_eq!(*tunnels.closing.borrow(), 0);
    }
}
