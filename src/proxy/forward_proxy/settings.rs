//! [`ForwardProxy`], and all its settings.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body as AxumBody};
use http::Response;

use super::{connect::ConnectSettings, target_clients::TargetClients, target_policy::TargetPolicy};
use crate::{
    error::Error,
    proxy::reverse_proxy::ReverseProxy,
    rewrite::HostPolicy,
    tunnel::TunnelLimits,
    upstream::{Client, ClientBuilder},
};

/// A proxy for clients that are configured to use it: it connects to the server that a request names, if a
/// [`TargetPolicy`] allows that.
///
/// It takes all requests of a server. A CONNECT becomes a tunnel; a request with a target in absolute form,
/// `GET http://example.com/`, is forwarded; one in origin form, `GET /`, is meant for the server itself, and goes to
/// [`origin_form`](Self::origin_form). A router would match the paths of other servers with its own routes, so the
/// proxy is not mounted in one, but served by itself.
///
/// The default policy allows the public internet, and no private network;
/// [`docs::forward_proxy`](crate::docs::forward_proxy) says what it protects from. Clients are authenticated by a layer
/// in front, which adds a [`ProxyUser`](super::ProxyUser) to the request. Without such a layer, every client that can
/// connect to the proxy may use it.
///
/// Clones share the connections, the tunnels and their counts; a setting that is changed on a clone changes that clone
/// only.
///
/// ```no_run
/// use std::net::SocketAddr;
///
/// use axum::{ServiceExt, extract::Request, serve::ListenerExt};
/// use axum_upstream::{ForwardProxy, proxy::TargetPolicy};
///
/// #[tokio::main]
/// async fn main() -> Result<(), axum_upstream::BoxError> {
///     let policy = TargetPolicy::new().deny_hosts(["*.ads.example"])?;
///     let proxy = ForwardProxy::new(policy);
///     let listener = tokio::net::TcpListener::bind("127.0.0.1:3128").await?;
///     // Small messages in a tunnel must not be held back (`TCP_NODELAY`).
///     let listener = listener.tap_io(|io| drop(io.set_nodelay(true)));
///     // The policy, the log and the limit of tunnels need the client's address.
///     let proxy = ServiceExt::<Request>::into_make_service_with_connect_info::<SocketAddr>(proxy);
///     axum::serve(listener, proxy).await?;
///     Ok(())
/// }
/// ```
///
/// # Cancel safety
///
/// Dropping the response future, or the response body, cancels the request upstream, or closes the connection that was
/// to become a tunnel. A tunnel goes on when the proxy is dropped, until one of its limits or
/// [`close_tunnels`](Self::close_tunnels) ends it.
#[derive(Clone)]
pub struct ForwardProxy {
    /// Forwards requests in absolute form, and has the settings of all.
    pub(super) proxy: ReverseProxy<TargetClients>,
    pub(super) connect: ConnectSettings,
    /// Takes requests in origin form.
    pub(super) origin_form: Option<Router>,
}

impl ForwardProxy {
    /// Returns a proxy with the default settings.
    #[must_use]
    pub fn new(policy: TargetPolicy) -> Self {
        Self::over(policy, default_client())
    }

    /// Returns a proxy whose connections have other settings: timeouts, a resolver, trust roots for `https://` targets.
    ///
    /// Default: those of [`Client::builder`], with a `pool_max_idle` of 8, because there are many targets and few
    /// requests to most of them. The connect timeout and the resolver apply to tunnels, too.
    ///
    /// The policy checks the addresses of any resolver. It is asked once for each connection, and only addresses of
    /// that answer are connected to.
    ///
    /// # Errors
    ///
    /// Returns a config error if there is a connector, because it looks up names itself, so that their addresses cannot
    /// be checked; if connections are to begin with a PROXY header; or if a setting is out of its range.
    pub fn with_client(policy: TargetPolicy, client: ClientBuilder) -> Result<Self, Error> {
        if client.has_connector() {
            let why = "it looks up names itself, so that their addresses cannot be checked";
            return Err(Error::config("connector", why));
        }
        if client.has_proxy_protocol() {
            let why = "the servers of a forward proxy do not expect PROXY headers";
            return Err(Error::config("proxy_protocol", why));
        }
        // Finds what is wrong now, and not with the first request.
        client.build("http://localhost")?;
        Ok(Self::over(policy, client))
    }

    fn over(policy: TargetPolicy, client: ClientBuilder) -> Self {
        let policy = Arc::new(policy);
        let addresses = policy.clone();
        let client = client
            .counted_as("forward-proxy")
            .check_addresses(Arc::new(move |ip| addresses.check_address(ip)));
        let connect = ConnectSettings {
            policy: policy.clone(),
            dialer: Arc::new(client.dialer()),
            counts: Arc::default(),
            most: 256,
            limits: TunnelLimits {
                idle: Some(Duration::from_secs(15 * 60)),
                ..TunnelLimits::default()
            },
        };
        let mut proxy = ReverseProxy::new(TargetClients::new(policy, client, 1024))
            // RFC 9112 3.2.2: a proxy generates "a new Host field value based on the received request-target", which is
            // what the rewrite has made of the field before.
            .host(HostPolicy::Preserve)
            // RFC 6455 4.1 has clients open a tunnel for a WebSocket, too.
            .upgrades::<[&str; 0]>([]);
        proxy.forward_mut().config_mut().rewrite.forwarded.hidden = true;
        Self {
            proxy,
            connect,
            origin_form: None,
        }
    }

    /// Sets what answers requests in origin form, which are for this server itself: a page with instructions, a
    /// `proxy.pac`, a health check. Default: a 400.
    ///
    /// Over HTTP/2, such a request has no `:authority`.
    ///
    /// ```
    /// # use axum_upstream::{ForwardProxy, proxy::TargetPolicy};
    /// use axum::{Router, routing::get};
    ///
    /// let own = Router::new().route("/healthz", get(|| async { "ok" }));
    /// let proxy = ForwardProxy::new(TargetPolicy::new()).origin_form(own);
    /// ```
    #[must_use]
    pub fn origin_form(mut self, router: Router) -> Self {
        self.origin_form = Some(router);
        self
    }

    /// Sets the number of targets whose connections are kept; a target is a scheme, a host and a port. Default: 1024.
    ///
    /// For another target, the connections of the least recently used one are closed; one without a request in
    /// progress, if there is any. Requests in progress are not affected.
    #[must_use]
    pub fn max_targets(mut self, max: usize) -> Self {
        self.proxy.forward_mut().service_mut().keep(max);
        self
    }

    /// Sets the number of tunnels that a client may have at once, including those that are being opened. Default: 256.
    /// Another CONNECT gets a 429.
    ///
    /// A client is an IPv4 address, or an IPv6 network with a prefix of 64 bits, within which a host can choose its
    /// address. Clients whose address the server does not tell count as one.
    #[must_use]
    pub fn max_tunnels_per_client(mut self, max: usize) -> Self {
        self.connect.most = max;
        self
    }

    /// Sets the longest time in which no bytes arrive in a tunnel, from either side. Default: 15 minutes, as Squid has
    /// it. `None` is no limit.
    #[must_use]
    pub fn tunnel_idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect.limits.idle = timeout.into();
        self
    }

    /// Sets the longest time that a tunnel is open. Default: `None`, no limit.
    #[must_use]
    pub fn tunnel_total_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.connect.limits.total = timeout.into();
        self
    }

    /// Sets how many bytes a tunnel carries, both directions together. Default: `None`, no limit.
    ///
    /// The bytes up to the limit are passed on. Both connections close when another one arrives.
    #[must_use]
    pub fn tunnel_byte_limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.connect.limits.bytes = bytes.into();
        self
    }

    /// Sends `X-Forwarded-For`, `-Proto` and `-Host` to `http://` and `https://` targets. Default: the client is not
    /// disclosed, and such fields of its own are removed, including `Forwarded` and `X-Real-IP`.
    #[must_use]
    pub fn disclose_client(mut self) -> Self {
        self.proxy
            .forward_mut()
            .config_mut()
            .rewrite
            .forwarded
            .hidden = false;
        self
    }

    /// Does not disclose the client to targets. This is the default.
    #[must_use]
    pub fn hide_client(mut self) -> Self {
        self.proxy
            .forward_mut()
            .config_mut()
            .rewrite
            .forwarded
            .hidden = true;
        self
    }

    /// Sets the address of the client, as [`ReverseProxy::client_addr`] does.
    #[must_use]
    pub fn client_addr(mut self, address: SocketAddr) -> Self {
        self.proxy = self.proxy.client_addr(address);
        self
    }

    /// Sets this proxy's name in `Via`, by which request loops are detected, as [`ReverseProxy::via`] does. Default:
    /// `axum-upstream-` and eight random hexadecimal digits.
    ///
    /// # Errors
    ///
    /// Returns a config error if the name is not a token (RFC 9110 5.6.2).
    pub fn via(mut self, pseudonym: &str) -> Result<Self, Error> {
        self.proxy = self.proxy.via(pseudonym)?;
        Ok(self)
    }

    /// Sets the longest time from the last byte of a request to the response head. Default: 60 s. `None` is no limit.
    /// See [`ReverseProxy::response_timeout`].
    #[must_use]
    pub fn response_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.proxy = self.proxy.response_timeout(timeout);
        self
    }

    /// Sets the longest time in which nothing moves in a body. Default: 100 s. `None` is no limit. See
    /// [`ReverseProxy::idle_timeout`].
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.proxy = self.proxy.idle_timeout(timeout);
        self
    }

    /// Sets the longest time for a whole exchange, both bodies included, but not for tunnels. Default: `None`, no
    /// limit. See [`ReverseProxy::total_timeout`].
    #[must_use]
    pub fn total_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.proxy = self.proxy.total_timeout(timeout);
        self
    }

    /// Sets the largest size of a request body, in bytes: a larger one gets a 413. Default: `None`, no limit. See
    /// [`ReverseProxy::body_limit`].
    #[must_use]
    pub fn body_limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.proxy = self.proxy.body_limit(bytes);
        self
    }

    /// Adds a hook that changes the response which an error has become, as [`ReverseProxy::on_error`] does.
    #[must_use]
    pub fn on_error(
        mut self,
        hook: impl Fn(&Error, Response<AxumBody>) -> Response<AxumBody> + Send + Sync + 'static,
    ) -> Self {
        self.proxy = self.proxy.on_error(hook);
        self
    }

    /// Waits for all tunnels to end, and closes those that are still open after `grace`, as
    /// [`ReverseProxy::close_tunnels`] does.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before `grace` has passed leaves the tunnels open.
    pub async fn close_tunnels(&self, grace: Duration) {
        self.proxy.close_tunnels(grace).await;
    }
}

/// Returns the settings of connections by default.
fn default_client() -> ClientBuilder {
    Client::builder().pool_max_idle(8)
}

impl fmt::Debug for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardProxy")
            .field("policy", &self.connect.policy)
            .field("max_tunnels_per_client", &self.connect.most)
            .field("tunnels", &self.connect.limits)
            .finish_non_exhaustive()
    }
}
