//! Opens one connection: transport, TLS where the scheme asks for it, and the kind of error if either fails.

use std::fmt;

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    connected::{Connected, Versions},
    custom::Custom,
    io::{Io, Transport},
    proxy_protocol::ProxyProtocol,
    resolver::{AddressDenied, Resolver},
    shortage::is_local_shortage,
    tcp::TcpConnector,
};
#[cfg(feature = "_tls")]
use super::{default_tls::default_tls, tls::Tls};
use crate::{
    error::{BoxError, Error, ErrorKind},
    record::ClientConnection,
    upstream::target::{Scheme, Target},
};

/// Opens the connections of one client. It keeps none.
pub(in crate::upstream) struct Connector {
    /// The transport if neither a connector nor a Unix socket is given.
    tcp: TcpConnector,
    /// The user's connector.
    custom: Option<Custom>,
    /// The version of the PROXY header that each connection begins with.
    proxy_protocol: Option<ProxyProtocol>,
    /// Takes the place of `custom` for `https`, where HTTP/1.1 alone may be spoken.
    #[cfg(feature = "_tls")]
    custom_http1: Option<Custom>,
    /// The user's TLS settings. `None` stands for the default ones.
    #[cfg(feature = "_tls")]
    tls: Option<Tls>,
}

impl Connector {
    /// Returns a connector with the default TLS settings.
    pub(in crate::upstream) fn new(
        resolver: Resolver,
        custom: Option<Custom>,
        proxy_protocol: Option<ProxyProtocol>,
    ) -> Self {
        Self {
            tcp: TcpConnector::new(resolver),
            custom,
            proxy_protocol,
            #[cfg(feature = "_tls")]
            custom_http1: None,
            #[cfg(feature = "_tls")]
            tls: None,
        }
    }

    /// Sets what concerns TLS: settings, and a connector for HTTP/1.1 alone.
    #[cfg(feature = "_tls")]
    pub(in crate::upstream) fn with_tls(mut self, tls: Option<Tls>, http1: Option<Custom>) -> Self {
        self.tls = tls;
        self.custom_http1 = http1;
        self
    }

    /// Returns whether each connection is told which client it is for. Then it can serve no other, and speaks HTTP/1.1.
    pub(in crate::upstream) fn tells_client(&self) -> bool {
        self.proxy_protocol.is_some()
    }

    /// Connects before the deadline, TLS handshake included. The connection is for requests of `client`, or is the
    /// proxy's own.
    ///
    /// # Errors
    ///
    /// Each names the endpoint.
    ///
    /// - `Connect`: no address, no answer, or the TLS handshake failed.
    /// - `ConnectTimeout`: the deadline has passed.
    /// - `LocalResources`: this process has run out of something that it connects with.
    /// - `Denied`: the addresses of the host must not be connected to.
    /// - `Config`: a setting is in the way, such as missing trust roots.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub(in crate::upstream) async fn connect(
        &self,
        target: &Target,
        versions: Versions,
        client: Option<ClientConnection>,
        deadline: Instant,
    ) -> Result<Connected, Error> {
        match timeout_at(deadline, self.stream(target, versions, client)).await {
            Ok(connected) => connected.map_err(|error| error.at(&target.name)),
            Err(_) => Err(Error::new(ErrorKind::ConnectTimeout).at(&target.name)),
        }
    }

    /// Connects over TCP before the deadline, without TLS: for a tunnel.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect), without a name.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what was opened.
    pub(in crate::upstream) async fn dial(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
    ) -> Result<TcpStream, Error> {
        match timeout_at(deadline, self.tcp.connect(host, port)).await {
            Ok(dialled) => dialled.map_err(failure),
            Err(_) => Err(Error::new(ErrorKind::ConnectTimeout)),
        }
    }

    /// Connects without a deadline.
    async fn stream(
        &self,
        target: &Target,
        versions: Versions,
        client: Option<ClientConnection>,
    ) -> Result<Connected, Error> {
        // Requests of several clients would share a connection of HTTP/2.
        let versions = match self.proxy_protocol {
            None => versions,
            Some(_) => Versions::Http1,
        };
        let custom = self.custom(target, versions);
        // Before anything is opened, because a connection cannot be used without TLS settings.
        #[cfg(feature = "_tls")]
        let tls = match &self.tls {
            _ if target.scheme != Scheme::Https || custom.is_some_and(Custom::speaks_tls) => None,
            Some(tls) => Some(tls.clone()),
            None => Some(default_tls().await?),
        };
        let (mut transport, negotiated) = match (custom, &target.socket) {
            (Some(custom), _) => {
                let (io, http2) = custom
                    .connect(target.origin.clone())
                    .await
                    .map_err(failure)?;
                (Transport::Custom(io), http2)
            }
            (None, Some(path)) => (Transport::unix(path).await.map_err(failure)?, false),
            (None, None) => {
                let stream = self.tcp.connect(target.host_name(), target.port()).await;
                (Transport::Tcp(stream.map_err(failure)?), false)
            }
        };
        if let Some(version) = self.proxy_protocol {
            let header = version.header(client, transport.remote_address());
            transport.write_all(&header).await.map_err(failure)?;
            transport.flush().await.map_err(failure)?;
        }
        #[cfg(feature = "_tls")]
        if let Some(tls) = tls {
            let (io, http2) = tls
                .handshake(target.host_name(), transport, versions)
                .await
                .map_err(failure)?;
            return Ok(Connected { io, http2 });
        }
        if negotiated {
            may_be_http2(versions)?;
        }
        Ok(Connected {
            io: Io::Plain(transport),
            http2: negotiated || target.scheme == Scheme::H2c,
        })
    }

    /// Returns the user's connector, if any, that opens a connection for these versions.
    #[cfg(feature = "_tls")]
    fn custom(&self, target: &Target, versions: Versions) -> Option<&Custom> {
        let only_http1 = versions == Versions::Http1 && target.scheme == Scheme::Https;
        let http1 = self.custom_http1.as_ref().filter(|_| only_http1);
        http1.or(self.custom.as_ref())
    }

    /// Returns the user's connector, if any.
    #[cfg(not(feature = "_tls"))]
    fn custom(&self, _: &Target, _: Versions) -> Option<&Custom> {
        self.custom.as_ref()
    }
}

/// Refuses HTTP/2 that the user's connector has negotiated where it cannot be spoken.
///
/// An upgrade would otherwise be sent as the plain request that it also is, and without the feature `http2`, bytes of
/// HTTP/1.1 would be sent to a server that expects frames.
fn may_be_http2(versions: Versions) -> Result<(), Error> {
    let why = match versions {
        _ if !cfg!(feature = "http2") => "it chose HTTP/2, which needs the feature `http2`",
        Versions::Http1 => {
            "it chose HTTP/2 for an upgrade, which needs HTTP/1.1: set `tls_connector_http1` beside it"
        }
        Versions::All => return Ok(()),
    };
    Err(Error::config("tls_connector", why))
}

/// Classifies the error of a transport or a TLS handshake: `LocalResources` if this process caused it, `Denied` if it
/// was not even tried, else `Connect`.
fn failure(error: impl Into<BoxError>) -> Error {
    let error = error.into();
    if error.is::<AddressDenied>() {
        return Error::new(ErrorKind::Denied)
            .detail("the address is not allowed")
            .with(error);
    }
    let kind = match is_local_shortage(&*error) {
        true => ErrorKind::LocalResources,
        false => ErrorKind::Connect,
    };
    Error::new(kind).with(error)
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("custom", &self.custom.is_some())
            .finish_non_exhaustive()
    }
}
