//! The flags of listeners, which stand in any order, and the listeners that they make.

use std::path::PathBuf;

use ipnet::IpNet;

use super::values::{parsed, value};
use crate::{
    BoxError,
    listen::{
        CertificateFiles, ClientCertificateConfig, ListenAddress, ListenerConfig, SocketMode,
        TlsConfig, TlsVersion,
    },
};

/// What was read of the command line.
#[derive(Debug, Default)]
pub(super) struct ListenerFlags {
    plain: Vec<ListenAddress>,
    tls: Vec<ListenAddress>,
    mode: SocketMode,
    certs: Vec<PathBuf>,
    keys: Vec<PathBuf>,
    min_version: Option<TlsVersion>,
    client_ca: Option<PathBuf>,
    client_optional: bool,
    redirect_https: bool,
    proxy_protocol: Vec<IpNet>,
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
            "unix-mode" => self.mode = value(parser, flag, SocketMode::parse)?,
            "tls-listen" => self.tls.push(value(parser, flag, parsed)?),
            "tls-cert" => self.certs.push(parser.value()?.into()),
            "tls-key" => self.keys.push(parser.value()?.into()),
            "tls-min-version" => self.min_version = Some(value(parser, flag, version)?),
            "tls-client-ca" => self.client_ca = Some(parser.value()?.into()),
            "tls-client-optional" => self.client_optional = true,
            "redirect-https" => self.redirect_https = true,
            "proxy-protocol" => self.proxy_protocol.push(value(parser, flag, network)?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns the listeners. There are none if no address was given.
    ///
    /// # Errors
    ///
    /// Returns an error that names the flag, if it is of no use alone.
    pub(super) fn finish(self) -> Result<Vec<ListenerConfig>, BoxError> {
        if self.certs.len() != self.keys.len() {
            return Err("each --tls-cert needs a --tls-key, in the same order".into());
        }
        if !self.tls.is_empty() && self.certs.is_empty() {
            return Err("--tls-listen needs --tls-cert and --tls-key".into());
        }
        if self.tls.is_empty() {
            let given = [
                ("--tls-cert", !self.certs.is_empty()),
                ("--tls-min-version", self.min_version.is_some()),
                ("--tls-client-ca", self.client_ca.is_some()),
                ("--redirect-https", self.redirect_https),
            ];
            if let Some((flag, _)) = given.iter().find(|(_, given)| *given) {
                return Err(format!("{flag} needs --tls-listen").into());
            }
        }
        if self.client_optional && self.client_ca.is_none() {
            return Err("--tls-client-optional needs --tls-client-ca".into());
        }
        if self.redirect_https && self.plain.is_empty() {
            return Err("--redirect-https needs --listen".into());
        }
        let pairs = self.certs.into_iter().zip(self.keys);
        let tls = TlsConfig {
            certificates: pairs
                .map(|(cert, key)| CertificateFiles { cert, key })
                .collect(),
            min_version: self.min_version.unwrap_or_default(),
            client: self.client_ca.map(|ca| ClientCertificateConfig {
                ca,
                optional: self.client_optional,
            }),
        };
        let one = |address: ListenAddress, tls: Option<&TlsConfig>| ListenerConfig {
            address,
            mode: self.mode,
            proxy_protocol: self.proxy_protocol.clone(),
            redirect_https: tls.is_none() && self.redirect_https,
            tls: tls.cloned(),
        };
        let plain = self.plain.into_iter().map(|address| one(address, None));
        let with_tls = self.tls.into_iter().map(|address| one(address, Some(&tls)));
        Ok(plain.chain(with_tls).collect())
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
