//! The proxy as a service that answers every request.

use std::{
    convert::Infallible,
    fmt,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body as AxumBody, response::IntoResponse};
use bytes::Bytes;
use http::{
    HeaderName, Request, Response, request::Parts as RequestParts, response::Parts as ResponseParts,
};
use ipnet::IpNet;
use tower::Service;

use super::{
    client_addr,
    future::ProxyFuture,
    http10::Http10,
    respond::{ErrorHook, ErrorResponder},
};
use crate::{
    body::Body,
    error::{BoxError, Error},
    forward::{Forward, Start},
    rewrite::{ClientAddr, HostPolicy, Via, parse_prefix},
    upstream::Client,
};

/// Forwards every request to a service, and answers what fails.
///
/// The service is a [`LoadBalance`](crate::LoadBalance), a [`Client`] for one server ([`ReverseProxy::to`]), or any
/// `tower::Service<Request<Body>>`, layers around one of these included. Clones share all settings.
///
/// It fits wherever axum takes a service: `fallback_service`, `route_service`, `nest_service`, alone under hyper, and
/// alone under `axum::serve`, there as the fallback of an empty router. It never fails: an [`Error`] becomes a
/// response, with the `Arc<Error>` in its extensions.
///
/// Changes to heads happen in a fixed order, your [`rewrite_request`](Self::rewrite_request) last: `docs/HEADERS.md`.
///
/// # Cancel safety
///
/// Dropping the future, or the response body, cancels the request upstream. A tunnel goes on when the proxy is dropped:
/// it ends when either side ends it, when nothing moves for the idle timeout, or by
/// [`close_tunnels`](Self::close_tunnels).
pub struct ReverseProxy<S = Client> {
    forward: Forward<S>,
    scheme: &'static str,
    client: Option<ClientAddr>,
    error_hook: Option<ErrorHook>,
}

impl ReverseProxy {
    /// A proxy for one server, by its URL; see [`EndpointSpec::url`](crate::EndpointSpec::url) for its form.
    ///
    /// ```
    /// let proxy = axum_upstream::ReverseProxy::to("http://127.0.0.1:5000/base")?;
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A config error that says what is wrong with the URL.
    pub fn to(url: &str) -> Result<Self, Error> {
        Client::new(url).map(Self::new)
    }
}

impl<S> ReverseProxy<S> {
    /// A proxy in front of `service`.
    pub fn new(service: S) -> Self {
        Self {
            forward: Forward::new(service),
            scheme: "http",
            client: None,
            error_hook: None,
        }
    }

    /// What the endpoint sees as `Host`. Default: its own authority.
    #[must_use]
    pub fn host(mut self, host: HostPolicy) -> Self {
        self.forward.config_mut().rewrite.host = host;
        self
    }

    /// Takes a prefix off the path, where the path has it; `X-Forwarded-Prefix` tells the endpoint. Default: none.
    ///
    /// Under `nest_service` the router has done so already.
    ///
    /// # Errors
    ///
    /// A config error when it is no path.
    pub fn strip_prefix(mut self, prefix: &str) -> Result<Self, Error> {
        self.forward.config_mut().rewrite.path.strip = Some(parse_prefix("strip_prefix", prefix)?);
        Ok(self)
    }

    /// Puts a prefix in front of the path, after [`strip_prefix`](Self::strip_prefix). Default: none.
    ///
    /// A path that would climb out of it (`/../admin`) gets a 400.
    ///
    /// # Errors
    ///
    /// A config error when it is no path.
    pub fn add_prefix(mut self, prefix: &str) -> Result<Self, Error> {
        self.forward.config_mut().rewrite.path.add = Some(parse_prefix("add_prefix", prefix)?);
        Ok(self)
    }

    /// Changes the path, after the prefixes; `None` leaves it as it is. Default: nothing.
    ///
    /// The path is as the client wrote it, with what is percent-encoded; the query is kept. Hooks that are added one
    /// after the other all run, in that order. What is returned must be a path: begin with `/`, and hold no query;
    /// anything else becomes a 500. A path that would climb out of its root gets a 400 and is not shown to the hook.
    ///
    /// ```
    /// # use axum_upstream::ReverseProxy;
    /// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?
    ///     .rewrite_path(|path| path.strip_suffix(".html").map(str::to_owned));
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn rewrite_path(
        mut self,
        hook: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let path = &mut self.forward.config_mut().rewrite.path;
        path.hooks.push(Arc::new(hook));
        self
    }

    /// Networks of the proxies in front of us, whose `X-Forwarded-*` fields are kept and added to. Default: none, so
    /// that what a client says of itself is replaced.
    ///
    /// A single address or a network: `10.0.0.0/8`, `::1`. Needs the client's address: `ConnectInfo<SocketAddr>`, as
    /// `into_make_service_with_connect_info` provides it, or a bare `SocketAddr` in the request's extensions.
    ///
    /// # Errors
    ///
    /// A config error that names what is no network.
    pub fn trusted_peers<I>(mut self, networks: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let networks = networks
            .into_iter()
            .map(|network| parse_network(network.as_ref()));
        self.forward.config_mut().rewrite.forwarded.trusted = networks.collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Also sends `Forwarded` (RFC 7239). Default: `X-Forwarded-*` only.
    #[must_use]
    pub fn with_forwarded(mut self) -> Self {
        self.forward.config_mut().rewrite.forwarded.rfc7239 = true;
        self
    }

    /// Sends no `Forwarded`, which is the default.
    #[must_use]
    pub fn without_forwarded(mut self) -> Self {
        self.forward.config_mut().rewrite.forwarded.rfc7239 = false;
        self
    }

    /// Clients reach us over TLS: `X-Forwarded-Proto` says `https`. Default: `http`.
    ///
    /// A `http::uri::Scheme` in a request's extensions, which a server of one's own can put there, goes before this.
    #[must_use]
    pub fn behind_tls(mut self) -> Self {
        self.scheme = "https";
        self
    }

    /// Clients reach us without TLS, which is the default.
    #[must_use]
    pub fn not_behind_tls(mut self) -> Self {
        self.scheme = "http";
        self
    }

    /// The address of the client, for a server of one's own that clones the proxy for each connection. Default: what
    /// the request's extensions say, `ConnectInfo<SocketAddr>` or a bare `SocketAddr`.
    ///
    /// Cheaper than an extension: the address is written out once per connection, not per request.
    #[must_use]
    pub fn client_addr(mut self, address: SocketAddr) -> Self {
        self.client = Some(address.into());
        self
    }

    /// Our name in `Via`, by which a loop is seen. Default: `axum-upstream-` and eight random hex digits.
    ///
    /// Processes that must not forward to each other share a name; a chain of proxies needs one name each.
    ///
    /// # Errors
    ///
    /// A config error when it is no token (RFC 9110 5.6.2).
    pub fn via(mut self, pseudonym: &str) -> Result<Self, Error> {
        let via = Via::new(pseudonym).map_err(|error| Error::config("via", error))?;
        self.forward.config_mut().rewrite.via = Some(via);
        Ok(self)
    }

    /// Sends no `Via` and sees no loops.
    #[must_use]
    pub fn without_via(mut self) -> Self {
        self.forward.config_mut().rewrite.via = None;
        self
    }

    /// Adds `Via` to responses too. Default: requests only.
    #[must_use]
    pub fn with_via_on_responses(mut self) -> Self {
        self.forward.config_mut().rewrite.via_on_responses = true;
        self
    }

    /// Adds `Via` to requests only, which is the default.
    #[must_use]
    pub fn without_via_on_responses(mut self) -> Self {
        self.forward.config_mut().rewrite.via_on_responses = false;
        self
    }

    /// Fields that a client cannot have removed by naming them in `Connection`: those which a layer in front of the
    /// proxy sets, as `X-Auth-User`. Default: only `Host`, framing, `Via`, `Max-Forwards` and forwarding fields. Fields
    /// that [`rewrite_request`](Self::rewrite_request) sets need no protection.
    #[must_use]
    pub fn protected_fields(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.forward.config_mut().rewrite.protected = names.into_iter().collect();
        self
    }

    /// Longest time from the last byte of the request to the response head: 504. Default 60 s; `None` for no limit.
    #[must_use]
    pub fn response_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.forward.config_mut().timeouts.head = timeout.into();
        self
    }

    /// Longest time in which nothing moves, in a body or a tunnel. Default 100 s; `None` for no limit.
    ///
    /// 408 when it is the client that does not send, 504 when the endpoint does not read; a broken body or a closed
    /// tunnel when the response has begun.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.forward.config_mut().timeouts.idle = timeout.into();
        self
    }

    /// Longest time for the whole exchange, both bodies included, but not for tunnels: 504, or a broken body. Default:
    /// no limit.
    #[must_use]
    pub fn total_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.forward.config_mut().timeouts.total = timeout.into();
        self
    }

    /// Most bytes of a request body: 413. Default: `None`, no limit; bodies stream and are never held.
    #[must_use]
    pub fn body_limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.forward.config_mut().body_limit = bytes.into().unwrap_or(u64::MAX);
        self
    }

    /// Protocols that HTTP/1.1 clients may upgrade to. Default: `websocket`. Any other goes as the plain request it
    /// also is.
    #[must_use]
    pub fn upgrades<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let protocols = protocols
            .into_iter()
            .map(|protocol| protocol.as_ref().to_ascii_lowercase());
        self.forward.config_mut().upgrades = protocols.collect();
        self
    }

    /// Changes each request head before it is sent, after all else, so that nothing undoes it. Default: nothing.
    ///
    /// Hooks that are added one after the other all run, in that order.
    ///
    /// The target is in origin form (`/path?query`), and has to stay so: the endpoint's base path comes in front of it
    /// later. A hook that sets an absolute URI chooses no other endpoint; such a request gets a 500. `Host` is what
    /// [`host`](Self::host) says, and what the hook sets instead is kept.
    ///
    /// ```
    /// # use axum_upstream::ReverseProxy;
    /// # use http::HeaderValue;
    /// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?.rewrite_request(|head| {
    ///     head.headers.insert("x-team", HeaderValue::from_static("blue"));
    /// });
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn rewrite_request(self, hook: impl Fn(&mut RequestParts) + Send + Sync + 'static) -> Self {
        self.try_rewrite_request(move |head| {
            hook(head);
            Ok::<_, Infallible>(())
        })
    }

    /// As [`rewrite_request`](Self::rewrite_request), by a hook that may refuse: what it returns as an error is the
    /// response, and the request goes no further. [`on_error`](Self::on_error) and
    /// [`rewrite_response`](Self::rewrite_response) do not see it.
    ///
    /// ```
    /// # use axum_upstream::ReverseProxy;
    /// use axum::http::StatusCode;
    ///
    /// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?.try_rewrite_request(|head| {
    ///     match head.headers.contains_key("x-tenant") {
    ///         true => Ok(()),
    ///         false => Err((StatusCode::FORBIDDEN, "which tenant?\n")),
    ///     }
    /// });
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn try_rewrite_request<R: IntoResponse>(
        mut self,
        hook: impl Fn(&mut RequestParts) -> Result<(), R> + Send + Sync + 'static,
    ) -> Self {
        self.forward.config_mut().hooks.on_request(move |head| {
            hook(head).map_err(|refusal| Box::new(refusal.into_response().map(Body::new)))
        });
        self
    }

    /// Changes each response head before it is sent on, after all else. Default: nothing. Errors of ours go to
    /// [`on_error`](Self::on_error) instead.
    ///
    /// Hooks that are added one after the other all run, in that order, those of
    /// [`rewrite_response_to`](Self::rewrite_response_to) among them.
    #[must_use]
    pub fn rewrite_response(
        mut self,
        hook: impl Fn(&mut ResponseParts) + Send + Sync + 'static,
    ) -> Self {
        self.forward.config_mut().hooks.on_response(hook);
        self
    }

    /// As [`rewrite_response`](Self::rewrite_response), by a hook that knows what the request was: it is shown the
    /// request's head, and returns what is to be done to the response's. So it keeps what it needs and no more.
    ///
    /// The head is the one that is sent to the endpoint, after all hooks on requests. What the client asked for stands
    /// in `X-Forwarded-Host`, `-Proto` and `-Prefix`, and what a hook on the request leaves in its extensions is there.
    ///
    /// ```
    /// # use axum_upstream::ReverseProxy;
    /// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?.rewrite_response_to(|request| {
    ///     let origin = request.headers.get("origin").cloned();
    ///     move |response| {
    ///         if let Some(origin) = origin {
    ///             response.headers.insert("access-control-allow-origin", origin);
    ///         }
    ///     }
    /// });
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn rewrite_response_to<F>(
        mut self,
        hook: impl Fn(&RequestParts) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: FnOnce(&mut ResponseParts) + Send + 'static,
    {
        let hooks = &mut self.forward.config_mut().hooks;
        hooks.on_response_to(move |request| Box::new(hook(request)));
        self
    }

    /// Changes the response that an error became: an error page, another status. Default: the status of
    /// [`Error::status`] and its name as text.
    ///
    /// Hooks that are added one after the other all run: each is given the response of the one before.
    ///
    /// ```
    /// # use axum_upstream::ReverseProxy;
    /// use axum::response::{Html, IntoResponse};
    ///
    /// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?
    ///     .on_error(|error, _| (error.status(), Html("<h1>Back soon</h1>")).into_response());
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn on_error(
        mut self,
        hook: impl Fn(&Error, Response<AxumBody>) -> Response<AxumBody> + Send + Sync + 'static,
    ) -> Self {
        let hook: ErrorHook = match self.error_hook.take() {
            None => Arc::new(hook),
            Some(before) => Arc::new(move |error: &Error, response: Response<AxumBody>| {
                hook(error, before(error, response))
            }),
        };
        self.error_hook = Some(hook);
        self
    }
}

impl<S> ReverseProxy<S> {
    /// Waits for all tunnels to end, and ends those that are still open after `grace`. Tunnels opened while it waits
    /// count as well; those opened later do not.
    ///
    /// A tunnel outlives the proxy it was opened through. To shut down, stop accepting connections and call this.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the tunnels open.
    pub async fn close_tunnels(&self, grace: Duration) {
        self.forward.close_tunnels(grace).await;
    }
}

impl<S, B, ReqBody> Service<Request<ReqBody>> for ReverseProxy<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
{
    type Response = Response<AxumBody>;
    type Error = Infallible;
    type Future = ProxyFuture<S>;

    /// Always ready: the service behind is asked by the call, so that a busy one delays its own requests only.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> ProxyFuture<S> {
        self.start(request)
    }
}

impl<S, B> ReverseProxy<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    /// Forwards a request from within a handler, which may have looked at it to choose the proxy. A failure is a
    /// response, as it is when the proxy is mounted.
    ///
    /// ```
    /// use std::{collections::HashMap, sync::Arc};
    ///
    /// use axum::{
    ///     Router,
    ///     extract::{Path, Request, State},
    ///     http::StatusCode,
    ///     response::{IntoResponse, Response},
    ///     routing::any,
    /// };
    /// use axum_upstream::ReverseProxy;
    ///
    /// type Tenants = Arc<HashMap<String, ReverseProxy>>;
    ///
    /// async fn by_tenant(
    ///     State(tenants): State<Tenants>,
    ///     Path((tenant, _)): Path<(String, String)>,
    ///     request: Request,
    /// ) -> Response {
    ///     match tenants.get(&tenant) {
    ///         Some(proxy) => proxy.forward(request).await,
    ///         None => StatusCode::NOT_FOUND.into_response(),
    ///     }
    /// }
    ///
    /// let blue = ReverseProxy::to("http://127.0.0.1:5000")?;
    /// let tenants = Tenants::new([("blue".to_owned(), blue)].into());
    /// let app: Router = Router::new().route("/{tenant}/{*rest}", any(by_tenant)).with_state(tenants);
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the request upstream.
    pub async fn forward<ReqBody>(&self, request: Request<ReqBody>) -> Response<AxumBody>
    where
        ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
        ReqBody::Error: Into<BoxError>,
    {
        let Ok(response) = self.start(request).await;
        response
    }

    fn start<ReqBody>(&self, request: Request<ReqBody>) -> ProxyFuture<S>
    where
        ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
        ReqBody::Error: Into<BoxError>,
    {
        let received = client_addr::received(&request, self.scheme, self.client.as_ref());
        let client = Http10::of(&request);
        let responder = ErrorResponder::new(&request, self.error_hook.as_ref());
        match self.forward.start(request.map(Body::new), &received) {
            Ok(Start::Sent(future)) => ProxyFuture::sent(future, responder, client),
            Ok(Start::Answered(response)) => ProxyFuture::done(response.map(AxumBody::new), client),
            Err(error) => ProxyFuture::done(responder.respond(error, None), client),
        }
    }
}

fn parse_network(network: &str) -> Result<IpNet, Error> {
    let address = || network.parse::<std::net::IpAddr>().map(IpNet::from).ok();
    let parsed = network.parse().ok().or_else(address);
    parsed.ok_or_else(|| {
        Error::config(
            "trusted_peers",
            format!("{network:?} is no IP address or network"),
        )
    })
}

impl<S: Clone> Clone for ReverseProxy<S> {
    fn clone(&self) -> Self {
        Self {
            forward: self.forward.clone(),
            scheme: self.scheme,
            client: self.client.clone(),
            error_hook: self.error_hook.clone(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ReverseProxy<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReverseProxy")
            .field("forward", &self.forward)
            .finish_non_exhaustive()
    }
}
