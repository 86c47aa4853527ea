//! The TLS of one listener: accepts connections with the settings that hold now.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use rustls::{ServerConfig, crypto::ring::Ticketer, server::ProducesTickets};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{client::ClientCertificate, load::LoadedFiles};
use crate::{BoxError, connection::RawStream, listen::TlsConfig};

/// The TLS of one listener. Shared by its threads.
#[derive(Debug)]
pub(crate) struct TlsServer {
    pub(super) config: TlsConfig,
    settings: ArcSwap<ServerConfig>,
    /// What was in the files that the settings were made of.
    digest: AtomicU64,
    /// Encrypts the state that clients keep to resume a session. It is this listener's own: a session of another one
    /// may have begun with another, or no, certificate of the client.
    ticketer: Arc<dyn ProducesTickets>,
}

/// The TLS of a listener that has just been loaded.
pub(crate) struct LoadedTls {
    pub(crate) server: Arc<TlsServer>,
    /// The names of its certificates.
    pub(crate) names: Vec<String>,
}

/// A connection whose handshake is over.
pub(crate) struct TlsConnection {
    pub(crate) stream: TlsStream<RawStream>,
    /// Whether the two have agreed on HTTP/2.
    pub(crate) is_http2: bool,
    /// What the client has proved to be.
    pub(crate) certificate: Option<ClientCertificate>,
}

impl TlsServer {
    /// Reads the files, and returns what is made of them. Blocks.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that is wrong.
    pub(crate) fn load(config: TlsConfig) -> Result<LoadedTls, BoxError> {
        let files = LoadedFiles::read(&config)?;
        let ticketer = Ticketer::new()?;
        let (settings, names) = files.settings(&config, Arc::clone(&ticketer))?;
        let server = Self {
            config,
            settings: ArcSwap::new(settings),
            digest: AtomicU64::new(files.digest()),
            ticketer,
        };
        Ok(LoadedTls {
            server: Arc::new(server),
            names,
        })
    }

    /// Reads the files again, and takes what is in them for connections from now on. Returns the names of the
    /// certificates, or `None` if nothing has changed. Blocks.
    ///
    /// # Errors
    ///
    /// Returns an error that names the file that is wrong. The settings stay as they are.
    pub(super) fn reload(&self) -> Result<Option<Vec<String>>, BoxError> {
        let files = LoadedFiles::read(&self.config)?;
        let digest = files.digest();
        if digest == self.digest.load(Relaxed) {
            return Ok(None);
        }
        // A session is resumed without its certificates: one that began with the certificate of a client must not
        // outlive the root that it was accepted for.
        let ticketer = match self.config.client {
            Some(_) => Ticketer::new()?,
            None => Arc::clone(&self.ticketer),
        };
        let (settings, names) = files.settings(&self.config, ticketer)?;
        self.settings.store(settings);
        self.digest.store(digest, Relaxed);
        Ok(Some(names))
    }

    /// Speaks TLS with a client, up to the end of the handshake.
    ///
    /// # Errors
    ///
    /// Returns an error if the two do not agree, or the client breaks off.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    pub(crate) async fn accept(&self, stream: RawStream) -> io::Result<TlsConnection> {
        let acceptor = TlsAcceptor::from(self.settings.load_full());
        let stream = acceptor.accept(stream).await?;
        let session = stream.get_ref().1;
        let leaf = session.peer_certificates().and_then(<[_]>::first);
        Ok(TlsConnection {
            is_http2: session.alpn_protocol() == Some(b"h2"),
            certificate: leaf.map(|leaf| ClientCertificate::new(leaf.clone().into_owned())),
            stream,
        })
    }
}
