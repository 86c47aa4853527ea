//! The settings of listeners, as plain data.

use std::{
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::address::ListenAddress;

/// One listener: where it listens, and what lies between its sockets and HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListenerConfig {
    /// Where it listens.
    pub(crate) address: ListenAddress,
    /// The access mode of a Unix socket. Default: 0660.
    #[serde(default)]
    pub(crate) mode: SocketMode,
    /// The networks whose connections begin with a PROXY header. Default: none.
    #[serde(default)]
    pub(crate) proxy_protocol: Vec<IpNet>,
    /// Whether requests are answered by a redirect to `https`, and to which port. Default: no.
    #[serde(default)]
    pub(crate) redirect_https: HttpsRedirectConfig,
    /// TLS, if it is spoken. Default: it is not.
    #[serde(default)]
    pub(crate) tls: Option<TlsConfig>,
}

impl ListenerConfig {
    /// Returns a listener for HTTP without TLS, with the defaults.
    pub(crate) fn plain(address: ListenAddress) -> Self {
        Self {
            address,
            mode: SocketMode::default(),
            proxy_protocol: Vec::new(),
            redirect_https: HttpsRedirectConfig::Off,
            tls: None,
        }
    }
}

/// Where clients that come without TLS are sent: `true`, `false` or a port in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(from = "SwitchOrPort")]
pub(crate) enum HttpsRedirectConfig {
    /// Nowhere: their requests are forwarded.
    #[default]
    Off,
    /// To the port of the first listener with TLS.
    FirstTls,
    /// To this port.
    Port(NonZeroU16),
}

/// [`HttpsRedirectConfig`] as it is written in a file.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected true, false or a port")]
enum SwitchOrPort {
    Switch(bool),
    Port(NonZeroU16),
}

impl From<SwitchOrPort> for HttpsRedirectConfig {
    fn from(written: SwitchOrPort) -> Self {
        match written {
            SwitchOrPort::Switch(true) => Self::FirstTls,
            SwitchOrPort::Switch(false) => Self::Off,
            SwitchOrPort::Port(port) => Self::Port(port),
        }
    }
}

/// The access mode of a Unix socket. Write permission on the socket allows connecting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketMode(pub(crate) u32);

impl Default for SocketMode {
    /// The user and the group of the process may connect.
    fn default() -> Self {
        Self(0o660)
    }
}

impl SocketMode {
    /// Parses the octal number of a mode, like `0660`.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        u32::from_str_radix(text, 8)
            .ok()
            .filter(|mode| *mode <= 0o777)
            .map(Self)
            .ok_or("must be an octal mode, like 0660")
    }
}

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// How a listener speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsConfig {
    /// The certificates. A client gets the one that has the name it asks for, or the first.
    pub(crate) certificates: Vec<CertificateFiles>,
    /// The lowest version. Default: 1.2.
    #[serde(default)]
    pub(crate) min_version: TlsVersion,
    /// Certificates of clients. Default: none are asked for.
    #[serde(default)]
    pub(crate) client: Option<ClientCertificateConfig>,
}

impl TlsConfig {
    /// Has relative paths begin at a folder.
    pub(crate) fn begin_at(&mut self, folder: &Path) {
        let join = |path: &mut PathBuf| *path = folder.join(&path);
        for files in &mut self.certificates {
            join(&mut files.cert);
            join(&mut files.key);
        }
        if let Some(client) = &mut self.client {
            join(&mut client.ca);
        }
    }
}

/// The files of a certificate, in PEM.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CertificateFiles {
    /// The certificate, followed by those that lead to its root.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Which certificates clients may present.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientCertificateConfig {
    /// The roots of those that are accepted, in PEM.
    pub(crate) ca: PathBuf,
    /// Whether a client may do without. One that presents a certificate of another root is refused all the same.
    /// Default: no.
    #[serde(default)]
    pub(crate) optional: bool,
}
