//! The tunnels that are open.

use std::{fmt, time::Duration};

use http_body::Body;
use tokio::{sync::watch, time::timeout};

use super::relay::Tunnel;

/// The tunnels of a proxy.
///
/// A tunnel has a task of its own, which ends when either side ends it, when nothing moves for the idle time, or by
/// [`close`](Self::close). The task does not end with the proxy: one that serves a single request, or that is replaced
/// by a new configuration, leaves its tunnels to the two sides.
pub(crate) struct OpenTunnels {
    /// Each tunnel holds a receiver, so the channel knows how many there are. A new value closes those there are.
    closing: watch::Sender<()>,
}

impl Default for OpenTunnels {
    fn default() -> Self {
        Self {
            closing: watch::Sender::new(()),
        }
    }
}

impl OpenTunnels {
    pub(crate) fn open<B>(&self, tunnel: Tunnel<B>)
    where
        B: Body + Send + 'static,
    {
        let mut closing = self.closing.subscribe();
        tokio::spawn(async move {
            let alone = async {
                if closing.changed().await.is_err() {
                    // The proxy is gone, and with it the one who could close this.
                    std::future::pending::<()>().await;
                }
            };
            tunnel.run(alone).await;
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.closing.receiver_count()
    }

    /// Waits for the tunnels to end, and ends those that are left after `grace`.
    ///
    /// Dropping the future leaves them open.
    pub(crate) async fn close(&self, grace: Duration) {
        if timeout(grace, self.closing.closed()).await.is_err() {
            self.closing.send_replace(());
            self.closing.closed().await;
        }
    }
}

impl fmt::Debug for OpenTunnels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenTunnels")
            .field("open", &self.len())
            .finish()
    }
}
