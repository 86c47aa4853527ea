//! What is built from the settings of a [`ClientBuilder`], once they have been checked.

use std::sync::Arc;

#[cfg(feature = "_tls")]
use super::connect::Custom;
use super::{
    builder::ClientBuilder,
    client::Client,
    connect::{AddressCheck, Connector},
    dialer::Dialer,
    pool::Pool,
    target::{Scheme, Target, alone},
};
use crate::error::Error;

impl ClientBuilder {
    /// Builds a client for `url`: `http://`, `https://` or `h2c://`, a host, an optional port and an optional base
    /// path; or `unix:` and the path of a socket. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// A config error if the URL is invalid or needs a feature that is off, if a setting is out of its range, if
    /// [`resolve`](Self::resolve) was given no address for the host, if a connector is set and the endpoint is a Unix
    /// socket, or if no [`proxy_protocol`](Self::proxy_protocol) is possible.
    pub fn build(&self, url: &str) -> Result<Client, Error> {
        self.check()?;
        let mut target: Target = url.parse()?;
        if target.scheme == Scheme::Unix && self.custom.is_some() {
            return Err(Error::config(
                "connector",
                "it cannot connect to a unix: endpoint",
            ));
        }
        if self
            .resolver
            .given(target.host_name())
            .is_some_and(<[_]>::is_empty)
        {
            let missing = format!("no address for {}", target.host_name());
            return Err(Error::config("resolve", missing));
        }
        if let Some(why) = self.no_proxy_protocol(target.scheme) {
            return Err(Error::config("proxy_protocol", why));
        }
        if let Some(name) = &self.name {
            target.rename(name);
        }
        let target = Arc::new(target);
        let connector = Connector::new(
            self.resolver.clone(),
            self.custom.clone(),
            self.proxy_protocol,
        );
        #[cfg(feature = "_tls")]
        let connector = connector.with_tls(self.tls.clone(), self.custom_http1.clone());
        let counted = self.counted_as.clone();
        let counted = counted.map_or_else(|| target.id.clone(), |name| alone(&name, &target.url));
        let pool = Arc::new(Pool::new(target.clone(), connector, self.limits, &counted));
        Ok(Client::new_in(target, pool))
    }

    /// Returns why connections to an endpoint cannot begin with a PROXY header, or `None` if they can or need not.
    fn no_proxy_protocol(&self, scheme: Scheme) -> Option<&'static str> {
        self.proxy_protocol?;
        #[cfg(feature = "_tls")]
        if scheme == Scheme::Https
            && (self.custom_http1.is_some() || self.custom.as_ref().is_some_and(Custom::speaks_tls))
        {
            return Some("it is sent before the TLS handshake, which `tls_connector` performs");
        }
        let why = "PROXY headers need HTTP/1, where a connection is one client's; use http:// instead of h2c://";
        (scheme == Scheme::H2c).then_some(why)
    }

    /// Has the addresses of hosts checked before they are connected to, whatever their source. A connector of the
    /// user's looks names up itself, and its addresses are not checked.
    pub(crate) fn check_addresses(mut self, check: AddressCheck) -> Self {
        self.resolver.set_check(check);
        self
    }

    /// Returns whether connections are opened by a connector of the user's.
    pub(crate) fn has_connector(&self) -> bool {
        self.custom.is_some()
    }

    /// Returns whether connections begin with a PROXY header.
    pub(crate) fn has_proxy_protocol(&self) -> bool {
        self.proxy_protocol.is_some()
    }

    /// Counts all clients that are built together in the metrics, under this name. Where the number of endpoints is
    /// unbounded, each must not have series of its own.
    pub(crate) fn counted_as(mut self, name: &str) -> Self {
        self.counted_as = Some(name.into());
        self
    }

    /// Returns what opens TCP connections with these settings.
    pub(crate) fn dialer(&self) -> Dialer {
        let connector = Connector::new(self.resolver.clone(), None, None);
        Dialer::new(connector, self.limits.connect_timeout)
    }

    /// Returns a config error that names the first setting that is out of its range.
    fn check(&self) -> Result<(), Error> {
        let bounds = &self.limits.bounds;
        let none = [
            ("max_connections", self.limits.max_open == Some(0)),
            ("max_response_head", bounds.size == 0),
            ("max_response_fields", bounds.fields == 0),
        ];
        if let Some((setting, _)) = none.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(Error::config(setting, "it must be 1 or more"));
        }
        #[cfg(feature = "http2")]
        self.limits.http2.check()?;
        Ok(())
    }
}
