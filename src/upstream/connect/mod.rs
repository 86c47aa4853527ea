//! From an address to a connected stream: a transport, then TLS where the scheme asks for it.

mod custom;
mod io;
mod tcp;
#[cfg(feature = "tls")]
mod tls;

use std::fmt;

use tokio::time::{Instant, timeout_at};

use self::io::Transport;
#[cfg(feature = "tls")]
pub(super) use self::tls::{Tls, default_tls};
pub(super) use self::{custom::Custom, io::Io};
use super::target::{Scheme, Target};
use crate::error::{BoxError, Error, ErrorKind};

/// Makes the connections of one client.
#[derive(Clone)]
pub(super) struct Connector {
    custom: Option<Custom>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

/// A stream, and whether to speak HTTP/2 on it.
pub(super) struct Connected {
    pub(super) io: Io,
    #[cfg_attr(not(feature = "http2"), expect(dead_code))]
    pub(super) http2: bool,
}

/// What may be spoken on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    All,
    /// HTTP/1.1 alone, for an upgrade.
    Http1,
}

impl Connector {
    pub(super) fn new(custom: Option<Custom>) -> Self {
        Self {
            custom,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    #[cfg(feature = "tls")]
    pub(super) fn speaks_tls(&self) -> bool {
        self.custom.as_ref().is_some_and(Custom::speaks_tls)
    }

    /// Connects before the deadline, TLS handshake included.
    ///
    /// Dropping the future closes what was opened.
    pub(super) async fn connect(
        &self,
        target: &Target,
        versions: Versions,
        deadline: Instant,
    ) -> Result<Connected, Error> {
        match timeout_at(deadline, self.stream(target, versions)).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(Error::new(ErrorKind::Connect).with(error).at(&target.name)),
            Err(_) => Err(Error::new(ErrorKind::ConnectTimeout).at(&target.name)),
        }
    }

    async fn stream(&self, target: &Target, versions: Versions) -> Result<Connected, BoxError> {
        let (transport, negotiated) = match (&self.custom, &target.socket) {
            (Some(custom), _) => custom.connect(target.origin.clone()).await?,
            (None, Some(path)) => (Transport::unix(path).await?, false),
            (None, None) => (
                Transport::Tcp(tcp::connect(target.host_name(), target.port()).await?),
                false,
            ),
        };
        #[cfg(feature = "tls")]
        if let (Scheme::Https, Some(tls)) = (target.scheme, &self.tls) {
            return tls.handshake(target.host_name(), transport, versions).await;
        }
        let _ = versions;
        Ok(Connected {
            io: Io::Plain(transport),
            http2: negotiated || target.scheme == Scheme::H2c,
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("custom", &self.custom.is_some())
            .finish_non_exhaustive()
    }
}
