//! Opens connections that no HTTP is spoken on.

use std::time::Duration;

use tokio::{net::TcpStream, time::Instant};

use super::connect::Connector;
use crate::{clock::after, error::Error};

/// Opens TCP connections for tunnels, in the way that a client opens them for its requests: see
/// [`ClientBuilder::resolver`](super::ClientBuilder::resolver).
#[derive(Debug)]
pub(crate) struct Dialer {
    connector: Connector,
    /// The longest time for one, the name lookup included.
    timeout: Duration,
}

impl Dialer {
    pub(super) fn new(connector: Connector, timeout: Duration) -> Self {
        Self { connector, timeout }
    }

    /// Connects to one of the addresses of a host.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`](crate::ErrorKind::Connect), `ConnectTimeout`, `LocalResources` or `Denied`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub(crate) async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let deadline = after(Instant::now(), self.timeout);
        self.connector.dial(host, port, deadline).await
    }
}
