//! The flags of listeners, which stand in any order, and the listeners that they make.

use std::{num::NonZeroU16, path::PathBuf};

use ipnet::IpNet;

use super::values::{parsed, port, value};
use crate::{
    BoxError,
    listen::{
        CertificateFiles, ClientCertificateConfig, HttpsRedirectConfig, ListenAddress,
        ListenerConfig, SocketMode, TlsConfig, TlsVersion,
    },
};

/// What was read of the command line.
#[derive(Debug, Default)]
pub(super) struct ListenerFlags {
    plain: Vec<ListenAddress>,
    tls: Vec<ListenAddress>,
    overrides: ListenerOverrides,
    certs: Vec<PathBuf>,
    keys: Vec<PathBuf>,
    client_ca: Option<PathBuf>,
    client_optional: bool,
    redirect_https: bool,
    redirect_port: Option<NonZeroU16>,
}

/// What flags say of all listeners: those of the command line, those of a file, those that the service manager passes,
/// and the one that is there by default.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenerOverrides {
    mode: Option<SocketMode>,
    min_version: Option<TlsVersion>,
    proxy_protocol: Vec<IpNet>,
}

impl ListenerOverrides {
    /// Puts what the flags say in the place of what a listener says.
    pub(crate) fn apply(&self, listener: &mut ListenerConfig) {
        listener.mode = self.mode.unwrap_or(listener.mode);
        if let Some(tls) = &mut listener.tls {
            tls.min_version = self.min_version.unwrap_or(tls.min_version);
        }
        if !self.proxy_protocol.is_empty() {
            listener.proxy_protocol.clone_from(&self.proxy_protocol);
        }
    }
}

impl ListenerFlags {
    /// Reads the value of a flag. Returns whether it is one of listeners.
    ///
    /// # Errors
    ///
    /// Returns an error that names the flag, if its value does not fit.
    pub(super) fn take(
        &mut self,
        flag: &str,
        parser: &mut lexopt::Parser,
    ) -> Result<bool, BoxError> {
        match flag {
            "listen" => self.plain.push(value(parser, flag, parsed)?),
            "unix-mode" => self.overrides.mode = Some(value(parser, flag, SocketMode::parse)?),
            "tls-listen" => self.tls.push(value(parser, flag, parsed)?),
            "tls-cert" => self.certs.push(parser.value()?.into()),
            "tls-key" => self.keys.push(parser.value()?.into()),
            "tls-min-version" => self.overrides.min_version = Some(value(parser, flag, version)?),
            "tls-client-ca" => self.client_ca = Some(parser.value()?.into()),
            "tls-client-optional" => self.client_optional = true,
            "redirect-https" => self.redirect_https = true,
            "redirect-port" => self.redirect_port = Some(value(parser, flag, port)?),
            "proxy-protocol" => self
                .overrides
                .proxy_protocol
                .push(value(parser, flag, network)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the listeners, and what holds for all of them. `said` are those of the file, whose place is taken if an
    /// address was given.
    ///
    /// # Errors
    ///
    /// Returns an error that names the flag, if it is of no use alone.
    pub(super) fn finish(
        self,
        said: Vec<ListenerConfig>,
    ) -> Result<(Vec<ListenerConfig>, ListenerOverrides), BoxError> {
        let said = match self.plain.is_empty() && self.tls.is_empty() {
            true => said,
            false => Vec::new(),
        };
        self.check(&said)?;
        let pairs = self.certs.into_iter().zip(self.keys);
        let tls = TlsConfig {
            certificates: pairs
                .map(|(cert, key)| CertificateFiles { cert, key })
                .collect(),
            min_version: TlsVersion::default(),
            client: self.client_ca.map(|ca| ClientCertificateConfig {
                ca,
                optional: self.client_optional,
            }),
        };
        let redirect_https = match self.redirect_port {
            Some(port) => HttpsRedirectConfig::Port(port),
            None if self.redirect_https => HttpsRedirectConfig::FirstTls,
            None => HttpsRedirectConfig::Off,
        };
        let plain = self.plain.into_iter().map(|address| ListenerConfig {
            redirect_https,
            ..ListenerConfig::plain(address)
        });
        let with_tls = self.tls.into_iter().map(|address| ListenerConfig {
            tls: Some(tls.clone()),
            ..ListenerConfig::plain(address)
        });
        let all = said.into_iter().chain(plain).chain(with_tls);
        Ok((all.collect(), self.overrides))
    }

    /// Refuses flags that are of no use without others. `said` are the listeners that are there besides.
    fn check(&self, said: &[ListenerConfig]) -> Result<(), BoxError> {
        if self.certs.len() != self.keys.len() {
            return Err("each --tls-cert needs a --tls-key, in the same order".into());
        }
        if !self.tls.is_empty() && self.certs.is_empty() {
            return Err("--tls-listen needs --tls-cert and --tls-key".into());
        }
        let has_tls = said.iter().any(|listener| listener.tls.is_some());
        let min_version = self.overrides.min_version.is_some() && !has_tls;
        let redirect = self.redirect_https && self.redirect_port.is_none();
        let given = [
            ("--tls-cert", !self.certs.is_empty()),
            ("--tls-min-version", min_version),
            ("--tls-client-ca", self.client_ca.is_some()),
            ("--redirect-https", redirect),
        ];
        let useless = given.iter().find(|(_, given)| *given);
        if let Some((flag, _)) = useless.filter(|_| self.tls.is_empty()) {
            return Err(format!("{flag} needs --tls-listen").into());
        }
        if self.client_optional && self.client_ca.is_none() {
            return Err("--tls-client-optional needs --tls-client-ca".into());
        }
        if self.redirect_port.is_some() && !self.redirect_https {
            return Err("--redirect-port needs --redirect-https".into());
        }
        if self.redirect_https && self.plain.is_empty() {
            return Err("--redirect-https needs --listen".into());
        }
        let new = self.plain.iter().chain(&self.tls);
        let mut addresses = new.chain(said.iter().map(|listener| &listener.address));
        let is_unix = |address: &ListenAddress| matches!(address, ListenAddress::Unix(_));
        if self.overrides.mode.is_some() && !addresses.any(is_unix) {
            return Err("--unix-mode needs a Unix socket, like --listen unix:/path".into());
        }
        Ok(())
    }
}

/// Parses a version of TLS.
fn version(text: &str) -> Result<TlsVersion, &'static str> {
    match text {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        _ => Err("must be 1.2 or 1.3"),
    }
}

/// Parses a network, or an address that is one alone.
fn network(text: &str) -> Result<IpNet, &'static str> {
    text.parse()
        .or_else(|_| text.parse().map(|address: std::net::IpAddr| address.into()))
        .map_err(|_| "must be a network or an address, like 10.0.0.0/8 or ::1")
}
