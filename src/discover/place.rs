//! The URL of a host that is discovered, and the URLs of the endpoints that are found for it.

use std::net::{IpAddr, SocketAddr};

use http::{Uri, uri::PathAndQuery};

use super::reported::Located;
use crate::{
    endpoint::EndpointSpec,
    error::Error,
    upstream::{ClientBuilder, redacted},
};

/// The parts of the URL.
#[derive(Clone, Debug)]
pub(super) struct EndpointPlace {
    /// The whole of it.
    url: String,
    scheme: String,
    /// The name that is looked up.
    pub(super) name: String,
    #[cfg(feature = "dns")]
    port: Option<u16>,
    /// The base path, or nothing.
    base: String,
}

impl EndpointPlace {
    /// Parses a URL. Whether it is fit for an endpoint is up to [`ClientBuilder::build`].
    ///
    /// # Errors
    ///
    /// A config error if it is no URL of a host with a name.
    pub(super) fn new(url: &str) -> Result<Self, Error> {
        let fail =
            |why: &str| Error::config("URL to discover", format!("{:?} {why}", redacted(url)));
        let uri: Uri = url.parse().map_err(|_| fail("is not a URL"))?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(fail("has no scheme or no host"));
        };
        let name = authority.host();
        if name.starts_with('[') || name.parse::<IpAddr>().is_ok() {
            return Err(fail("has an address, and no name to look up"));
        }
        let path = uri.path_and_query().map_or("", PathAndQuery::as_str);
        if path.contains(';') {
            return Err(fail(
                "must have no options: each endpoint has a weight of its own",
            ));
        }
        Ok(Self {
            url: url.to_owned(),
            scheme: scheme.to_owned(),
            name: name.to_owned(),
            #[cfg(feature = "dns")]
            port: authority.port_u16(),
            base: path.trim_end_matches('/').to_owned(),
        })
    }

    /// Returns whether the URL has a port.
    #[cfg(feature = "dns")]
    pub(super) fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Describes the endpoint at one address of the name, which is the endpoint's name.
    #[cfg(feature = "dns")]
    pub(super) fn at(&self, client: &ClientBuilder, ip: IpAddr) -> Result<Located, Error> {
        let host = match ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let name = format!("{}://{host}{port}{}", self.scheme, self.base);
        // Of port 0, which stands for that of the URL.
        let addresses = vec![SocketAddr::new(ip, 0)];
        located(client.clone().name(name), &self.url, &self.name, addresses)
    }

    /// Describes the endpoint at these addresses, of which the first is the endpoint's name. There must be one.
    #[cfg(feature = "kubernetes")]
    pub(super) fn at_addresses(
        &self,
        client: &ClientBuilder,
        addresses: Vec<SocketAddr>,
    ) -> Result<Located, Error> {
        let first = addresses.first().map(SocketAddr::to_string);
        let name = format!(
            "{}://{}{}",
            self.scheme,
            first.unwrap_or_default(),
            self.base
        );
        located(client.clone().name(name), &self.url, &self.name, addresses)
    }

    /// Describes the endpoint at another host, whose addresses each connection looks up.
    #[cfg(feature = "kubernetes")]
    pub(super) fn at_host(
        &self,
        client: &ClientBuilder,
        host: &str,
        port: u16,
    ) -> Result<Located, Error> {
        let url = format!("{}://{host}:{port}{}", self.scheme, self.base);
        Ok(Located {
            spec: EndpointSpec::url_with(client, &url)?,
            addresses: Vec::new(),
        })
    }

    /// Describes the endpoint at a host that a record of the name has, which has these addresses.
    #[cfg(feature = "dns")]
    pub(super) fn of_host(
        &self,
        client: &ClientBuilder,
        host: &str,
        port: u16,
        addresses: Vec<IpAddr>,
    ) -> Result<Located, Error> {
        let url = format!("{}://{host}:{port}{}", self.scheme, self.base);
        let addresses = addresses.into_iter().map(|ip| SocketAddr::new(ip, port));
        located(client.clone().name(&*url), &url, host, addresses.collect())
    }
}

/// Describes an endpoint whose host is at these addresses.
fn located(
    client: ClientBuilder,
    url: &str,
    host: &str,
    addresses: Vec<SocketAddr>,
) -> Result<Located, Error> {
    let client = client.resolve(host, addresses.iter().copied()).build(url)?;
    Ok(Located {
        spec: EndpointSpec::from(client),
        addresses,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_in_no_error() {
        for url in [
            "http://user:secret@10.0.0.1",
            "http://user:secret @a",
            "user:secret@a",
            "http://user:secret@a/;weight=2",
        ] {
            let error = EndpointPlace::new(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
