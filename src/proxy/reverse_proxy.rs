//! [`ReverseProxy`], the proxy as a service that answers every request, and all its settings.
//!
//! Each setting is documented at its method, with its default; this file only stores it in `forward/settings.rs` or
//! here. No method takes a `bool`: what is turned on by one method is turned off by another (`behind_tls`,
//! `not_behind_tls`).
//!
//! [`ReverseProxy::start`] is the only way in, for the service and for [`ReverseProxy::forward`]. It collects what axum
//! knows of the request, and hands the rest to `forward/`.

use std::{
    convert::Infallible,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body as AxumBody, response::IntoResponse};
use bytes::Bytes;
use http::{
    Extensions, HeaderName, Request, Response, request::Parts as RequestParts,
    response::Parts as ResponseParts,
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
    forward::{Forward, Received, Start},
    record::Info,
    rewrite::{ClientAddr, HostPolicy, Via, parse_prefix},
    upstream::Client,
};

/// Forwards every request to a service, and turns what fails into a response.
///
/// The service is a [`LoadBalance`](crate::LoadBalance), a [`Client`] for one server ([`ReverseProxy::to`]), or any
/// `tower::Service<Request<Body>>`, layers around one of these included. Clones share all settings; a setting that is
/// changed on a clone changes that clone only.
///
/// It fits wherever axum takes a service: `fallback_service`, `route_service`, `nest_service`, alone under hyper, and,
/// as the fallback of an empty router, alone under `axum::serve`. It never fails: an [`Error`] becomes a response, with
/// the `Arc<Error>` in its extensions.
///
/// Changes to heads happen in a fixed order, in which your [`rewrite_request`](Self::rewrite_request) comes last: see
/// [`docs::headers`](crate::docs::headers).
///
/// # Cancel safety
///
/// Dropping the response future, or the response body, cancels the request upstream. A tunnel goes on when the proxy is
/// dropped. It ends when both sides have closed it, when either connection fails, when nothing moves for the idle
/// timeout, or by [`close_tunnels`](Self::close_tunnels).
pub struct ReverseProxy<S = Client> {
    /// The service, and all settings but those below.
    forward: Forward<S>,
    /// `http` or `https`: how clients reach the server, unless the request's extensions say it.
    scheme: &'static str,
    /// The client's address, if the proxy serves a single connection.
    client: Option<ClientAddr>,
    /// The hooks of [`on_error`](Self::on_error), composed into one.
    error_hook: Option<ErrorHook>,
}

impl ReverseProxy {
    /// Returns a proxy for one server, by its URL; see [`EndpointSpec::url`](crate::EndpointSpec::url) for its form.
    ///
    /// No connection is made before the first request.
    ///
    /// ```
    /// let proxy = axum_upstream::ReverseProxy::to("http://127.0.0.1:5000/base")?;
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns a config error that says what is wrong with the URL.
    pub fn to(url: &str) -> Result<Self, Error> {
        Client::new(url).map(Self::new)
    }
}

impl<S> ReverseProxy<S> {
    /// Returns a proxy in front of `service`, with the default settings.
    pub fn new(service: S) -> Self {
        Self {
            forward: Forward::new(service),
            scheme: "http",
            client: None,
            error_hook: None,
        }
    }

    /// Returns a proxy in front of another service, with the same settings. [`close_tunnels`](Self::close_tunnels) of
    /// either closes the tunnels of both.
    #[cfg(feature = "config")]
    pub(crate) fn to_service<T>(&self, service: T) -> ReverseProxy<T> {
        ReverseProxy {
            forward: self.forward.to(service),
            scheme: self.scheme,
            client: self.client.clone(),
            error_hook: self.error_hook.clone(),
        }
    }

    /// Sets what the endpoint sees as `Host`. Default: its own authority.
    #[must_use]
    pub fn host(mut self, host: HostPolicy) -> Self {
        self.forward.config_mut().rewrite.host = host;
        self
    }

    /// Removes a prefix from the path of requests that have it; `X-Forwarded-Prefix` tells the endpoint. Default: none.
    ///
    /// A path without the prefix is forwarded as it is: this is not a route. Under `nest_service` the router has
    /// removed its prefix already.
    ///
    /// # Errors
    ///
    /// Returns a config error if the prefix is not a path.
    pub fn strip_prefix(mut self, prefix: &str) -> Result<Self, Error> {
        self.forward.config_mut().rewrite.path.strip = Some(parse_prefix("strip_prefix", prefix)?);
        Ok(self)
    }

    /// Puts a prefix in front of the path, after [`strip_prefix`](Self::strip_prefix). Default: none.
    ///
    /// A request whose path would climb out of it (`/../admin`) gets a 400.
    ///
    /// # Errors
    ///
    /// Returns a config error if the prefix is not a path.
    pub fn add_prefix(mut self, prefix: &str) -> Result<Self, Error> {
        self.forward.config_mut().rewrite.path.add = Some(parse_prefix("add_prefix", prefix)?);
        Ok(self)
    }

    /// Adds a hook that changes the path, after the prefixes. `None` leaves it as it is. Default: no hook.
    ///
    /// The path is as the client wrote it, percent-encoding included; the query is kept. Hooks run in the order in
    /// which they were added, each on the result of the one before. What a hook returns must be a path: it begins with
    /// `/` and has no query. Anything else becomes a 500. A path that would climb out of its root gets a 400, and is
    /// not shown to the hook.
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

    /// Sets the networks of the proxies in front of this one, whose `X-Forwarded-*` fields are kept and appended to.
    /// Default: none, so that what a client says of itself is replaced.
    ///
    /// Each is an address or a network: `10.0.0.0/8`, `::1`. A later call replaces those of an earlier one.
    ///
    /// The client's address has to be known: from `ConnectInfo<SocketAddr>`, as `into_make_service_with_connect_info`
    /// provides it, from a bare `SocketAddr` in the request's extensions, or by [`client_addr`](Self::client_addr).
    /// Without it no peer is trusted.
    ///
    /// # Errors
    ///
    /// Returns a config error that names what is not a network.
    pub fn trusted_peers<I>(mut self, networks: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let networks = networks
            .into_iter()
            .map(|network| parse_network("trusted_peers", network.as_ref()));
        self.forward.config_mut().rewrite.forwarded.trusted = networks.collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Sends `Forwarded` (RFC 7239) besides `X-Forwarded-*`. Default: `X-Forwarded-*` only.
    #[must_use]
    pub fn with_forwarded(mut self) -> Self {
        self.forward.config_mut().rewrite.forwarded.rfc7239 = true;
        self
    }

    /// Sends no `Forwarded`. This is the default.
    #[must_use]
    pub fn without_forwarded(mut self) -> Self {
        self.forward.config_mut().rewrite.forwarded.rfc7239 = false;
        self
    }

    /// Declares that clients reach this server over TLS, so that `X-Forwarded-Proto` says `https`. Default: `http`.
    ///
    /// An `http::uri::Scheme` in a request's extensions, which a server of your own can put there, takes precedence.
    #[must_use]
    pub fn behind_tls(mut self) -> Self {
        self.scheme = "https";
        self
    }

    /// Declares that clients reach this server without TLS. This is the default.
    #[must_use]
    pub fn not_behind_tls(mut self) -> Self {
        self.scheme = "http";
        self
    }

    /// Sets the address of the client, for a server of your own that clones the proxy for each connection. Default:
    /// what the request's extensions say, `ConnectInfo<SocketAddr>` or a bare `SocketAddr`.
    ///
    /// This is cheaper than an extension: the address is written out once per connection, not per request. It takes
    /// precedence over the extensions.
    #[must_use]
    pub fn client_addr(mut self, address: SocketAddr) -> Self {
        self.client = Some(address.into());
        self
    }

    /// Sets this proxy's name in `Via`, by which request loops are detected. Default: `axum-upstream-` and eight random
    /// hexadecimal digits, drawn for each proxy and shared by its clones.
    ///
    /// A request that has this name in its `Via` already gets a 508. Processes that must not forward to each other
    /// share a name; a chain of proxies needs a name for each.
    ///
    /// # Errors
    ///
    /// Returns a config error if the name is not a token (RFC 9110 5.6.2).
    pub fn via(mut self, pseudonym: &str) -> Result<Self, Error> {
        let via = Via::new(pseudonym).map_err(|error| Error::config("via", error))?;
        self.forward.config_mut().rewrite.via = Some(via);
        Ok(self)
    }

    /// Sends no `Via`, and detects no request loops.
    ///
    /// RFC 9110 7.6.3 demands the field of a gateway's requests.
    #[must_use]
    pub fn without_via(mut self) -> Self {
        self.forward.config_mut().rewrite.via = None;
        self
    }

    /// Adds `Via` to responses too. Default: to requests only.
    #[must_use]
    pub fn with_via_on_responses(mut self) -> Self {
        self.forward.config_mut().rewrite.via_on_responses = true;
        self
    }

    /// Adds `Via` to requests only. This is the default.
    #[must_use]
    pub fn without_via_on_responses(mut self) -> Self {
        self.forward.config_mut().rewrite.via_on_responses = false;
        self
    }

    /// Maps what an endpoint says of its own address in a response to what the client asked for: the URLs of
    /// `Location`, `Content-Location`, `Refresh` and `Link`, and `Path`, `Domain` and `Secure` of `Set-Cookie`.
    /// Default: they are relayed as they are.
    ///
    /// This is for applications that do not know of the proxy: they take their own host and the path that they receive
    /// for those of the client. It is the inverse of what was done to the request, for the endpoint that answers:
    ///
    /// - A URL of the endpoint's scheme, host and port, or of those of the `Host` that it was sent, gets the client's.
    /// - The base path of the endpoint's URL and [`add_prefix`](Self::add_prefix) are removed from the front of its
    ///   path, and of paths that stand alone; what a router or [`strip_prefix`](Self::strip_prefix) has removed is put
    ///   there. [`rewrite_path`](Self::rewrite_path) cannot be reversed.
    /// - A cookie keeps its name and value. A `Domain` that is the endpoint's host is removed, which leaves the cookie
    ///   to the host that the client has asked, and `Secure` is removed for a client of plain http, unless a browser
    ///   would refuse the cookie without it. A `__Host-` cookie stays as it is.
    ///
    /// Behind a server that terminates TLS, the scheme is known by [`behind_tls`](Self::behind_tls), or by
    /// [`trusted_peers`](Self::trusted_peers); without either it is taken for plain http, and `Secure` is removed.
    ///
    /// Everything else is relayed byte for byte: other hosts, other paths, what is malformed. The client's scheme, host
    /// and prefix are those that `X-Forwarded-*` tells the endpoint. An application that makes URLs of these fields
    /// itself does not need the mapping, and paths would get their prefix twice.
    ///
    /// ```
    /// # use axum_upstream::ReverseProxy;
    /// // `Location: http://127.0.0.1:5000/app/login` becomes `https://example.com/login`.
    /// let proxy = ReverseProxy::to("http://127.0.0.1:5000/app")?
    ///     .behind_tls()
    ///     .with_reverse_mapping();
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn with_reverse_mapping(mut self) -> Self {
        self.forward.config_mut().rewrite.reverse_mapping = true;
        self
    }

    /// Relays what an endpoint says of its own address as it is. This is the default.
    #[must_use]
    pub fn without_reverse_mapping(mut self) -> Self {
        self.forward.config_mut().rewrite.reverse_mapping = false;
        self
    }

    /// Sets the fields that a client cannot have removed by naming them in `Connection`: those that a layer in front of
    /// the proxy sets, such as `X-Auth-User`. Default: only `Host`, framing, `Via`, `Max-Forwards` and forwarding
    /// fields, which are always protected.
    ///
    /// A later call replaces the fields of an earlier one. Fields that [`rewrite_request`](Self::rewrite_request) sets
    /// need no protection.
    #[must_use]
    pub fn protected_fields(mut self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.forward.config_mut().rewrite.protected = names.into_iter().collect();
        self
    }

    /// Sets the longest time from the last byte of the request to the response head. Default: 60 s. `None` is no limit.
    ///
    /// Waiting for an endpoint and for a connection to it is part of the time. The client gets a 504.
    /// [`RequestTimeouts`](crate::RequestTimeouts) replaces it for a single request.
    #[must_use]
    pub fn response_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.forward.config_mut().timeouts.head = timeout.into();
        self
    }

    /// Sets the longest time in which nothing moves, in a body or a tunnel. Default: 100 s. `None` is no limit.
    ///
    /// Before the response head, the client gets a 408 if it is the client that does not send, and a 504 if the
    /// endpoint does not read. Once the response has begun, its body is cut short, or the tunnel closed. A client that
    /// does not read its response for this time loses it too, and its endpoint is released.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.forward.config_mut().timeouts.idle = timeout.into();
        self
    }

    /// Sets the longest time for the whole exchange, both bodies included, but not for tunnels. Default: `None`, no
    /// limit.
    ///
    /// Before the response head, the client gets a 504, or a 408 if it was still sending. Once the response has begun,
    /// its body is cut short. A gRPC client's `grpc-timeout` is enforced in the same way, if it is sooner.
    #[must_use]
    pub fn total_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.forward.config_mut().timeouts.total = timeout.into();
        self
    }

    /// Sets the largest size of a request body, in bytes: a larger one gets a 413. Default: `None`, no limit; bodies
    /// are streamed and never held.
    ///
    /// A request that declares a larger body is refused before anything is sent. One that does not declare its length
    /// fails when it crosses the limit, by which time the endpoint may have received a part of it.
    #[must_use]
    pub fn body_limit(mut self, bytes: impl Into<Option<u64>>) -> Self {
        self.forward.config_mut().body_limit = bytes.into().unwrap_or(u64::MAX);
        self
    }

    /// Sets the protocols that clients may upgrade to. Default: `websocket`.
    ///
    /// Names are compared without regard to case. A later call replaces those of an earlier one. A request for any
    /// other protocol is forwarded as the plain request that it also is.
    ///
    /// Over HTTP/2 a client may open a WebSocket alone, by extended CONNECT (RFC 8441), if the server around the proxy
    /// offers it, as `axum::serve` does; any other extended CONNECT gets a 501. Routers and
    /// [`ProxyLayer`](crate::ProxyLayer) match such a request by the method CONNECT. Hooks see it as the GET that it is
    /// over HTTP/1.1, and the endpoint gets it in the form that it offers. Needs the feature `http2`.
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

    /// Adds a hook that changes each request head before it is sent, after everything else, so that nothing undoes it.
    /// Default: no hook.
    ///
    /// Hooks run in the order in which they were added. They are synchronous: what has to wait belongs in a layer in
    /// front.
    ///
    /// The target is in origin form (`/path?query`), and has to stay so: the endpoint's base path is put in front of it
    /// later. A hook that sets an absolute URI does not choose another endpoint; such a request gets a 500. `Host` is
    /// what [`host`](Self::host) says, and what the hook sets instead is kept.
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

    /// Adds a hook as [`rewrite_request`](Self::rewrite_request) does, one that may refuse the request: what it returns
    /// as an error is the response, and the request goes no further.
    ///
    /// Hooks that were added later do not run then, and neither [`on_error`](Self::on_error) nor
    /// [`rewrite_response`](Self::rewrite_response) sees the response.
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

    /// Adds a hook that changes each response head before it is relayed, after everything else. Default: no hook.
    ///
    /// Hooks run in the order in which they were added, those of [`rewrite_response_to`](Self::rewrite_response_to)
    /// among them. They see the response to an upgrade (101) as well. Errors of this proxy go to
    /// [`on_error`](Self::on_error) instead.
    #[must_use]
    pub fn rewrite_response(
        mut self,
        hook: impl Fn(&mut ResponseParts) + Send + Sync + 'static,
    ) -> Self {
        self.forward.config_mut().hooks.on_response(hook);
        self
    }

    /// Adds a hook as [`rewrite_response`](Self::rewrite_response) does, one that knows what the request was: it is
    /// shown the request's head, and returns the change for the response's. So it keeps what it needs and no more.
    ///
    /// The head is the one that is sent to the endpoint, after all hooks on requests. What the client asked for is in
    /// `X-Forwarded-Host`, `-Proto` and `-Prefix`, and what a hook on the request leaves in its extensions is there
    /// too.
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

    /// Adds `Server-Timing` to the responses to requests for which `wanted` returns true: how long the request waited
    /// for an endpoint, a connection and the response head, which the developer tools of browsers show. Default: to
    /// none.
    ///
    /// The field names no endpoint, but tells how long what takes, so it is for clients that are trusted. The head is
    /// the one that is sent to the endpoint, as with [`rewrite_response_to`](Self::rewrite_response_to). Entries of the
    /// endpoint's own stay.
    ///
    /// ```
    /// # use axum_upstream::ReverseProxy;
    /// #[derive(Clone)]
    /// struct Staff;
    ///
    /// // An authentication in front has put it into the extensions.
    /// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?
    ///     .server_timing(|request| request.extensions.get::<Staff>().is_some());
    /// # Ok::<(), axum_upstream::Error>(())
    /// ```
    #[must_use]
    pub fn server_timing(
        self,
        wanted: impl Fn(&RequestParts) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.rewrite_response_to(move |request| {
            let wanted = wanted(request);
            move |response| {
                let info = response.extensions.get::<Info>().filter(|_| wanted);
                if let Some(timing) = info.and_then(Info::server_timing) {
                    let name = HeaderName::from_static("server-timing");
                    response.headers.append(name, timing);
                }
            }
        })
    }

    /// Adds a hook that changes the response which an error has become: an error page, another status. Default: the
    /// status of [`Error::status`], with its name as text.
    ///
    /// Hooks run in the order in which they were added, each on the response of the one before. A hook that makes a new
    /// response loses the fields of the one it was given, such as the `Retry-After` of a 503. Fields that HTTP
    /// requires, `Allow` in a 405 and `Connection: close` after a malformed request, are put back. The error is in the
    /// response's extensions afterwards, whatever the hooks return. An error that occurs after the response head has
    /// been sent does not come here.
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
    /// Waits for all tunnels to end, and closes those that are still open after `grace`. Tunnels that are opened while
    /// it waits are included; those that are opened later are not.
    ///
    /// A tunnel outlives the proxy that it was opened through. To shut down, stop accepting connections and call this.
    /// It concerns the tunnels of all clones.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before `grace` has passed leaves the tunnels open.
    pub async fn close_tunnels(&self, grace: Duration) {
        self.forward.close_tunnels(grace).await;
    }
}

/// What a [`ForwardProxy`](crate::ForwardProxy) is made of.
impl<S> ReverseProxy<S> {
    pub(super) fn forward_mut(&mut self) -> &mut Forward<S> {
        &mut self.forward
    }

    pub(super) fn forwarding(&self) -> &Forward<S> {
        &self.forward
    }

    /// Returns what is known of a request beyond its head.
    pub(super) fn received<B>(&self, request: &Request<B>) -> Received {
        client_addr::received(request, self.scheme, self.client.as_ref())
    }

    /// Returns the address of the client that has sent a request with these extensions.
    pub(super) fn client_of(&self, extensions: &Extensions) -> Option<IpAddr> {
        let client = client_addr::client(extensions, self.client.as_ref())?;
        Some(client.ip())
    }

    /// Returns what answers a request that fails.
    pub(super) fn responder<B>(&self, request: &Request<B>) -> ErrorResponder {
        ErrorResponder::new(request, self.error_hook.as_ref())
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

    /// Always ready. The call waits for the service behind to be ready, so that a busy one delays its own requests
    /// only.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Forwards a request. See [`forward`](ReverseProxy::forward) for a call from within a handler.
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
    /// Forwards a request from within a handler, which may have looked at it to choose the proxy. Returns a response
    /// for every failure too, as a mounted proxy does.
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
    /// Dropping the future cancels the request upstream, as dropping the response's body does.
    pub async fn forward<ReqBody>(&self, request: Request<ReqBody>) -> Response<AxumBody>
    where
        ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
        ReqBody::Error: Into<BoxError>,
    {
        let Ok(response) = self.start(request).await;
        response
    }

    /// Starts a request, for the service and for [`forward`](Self::forward).
    fn start<ReqBody>(&self, request: Request<ReqBody>) -> ProxyFuture<S>
    where
        ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
        ReqBody::Error: Into<BoxError>,
    {
        let received = self.received(&request);
        let _entered = received.span.enter();
        let client = Http10::of(&request);
        let responder = self.responder(&request);
        match self.forward.start(request.map(Body::new), &received) {
            Ok(Start::Sent(future)) => ProxyFuture::sent(future, responder, client),
            Ok(Start::Answered(response)) => ProxyFuture::done(response.map(AxumBody::new), client),
            Err(error) => ProxyFuture::done(responder.respond(error, None), client),
        }
    }
}

/// Parses a network, or an address as the network that contains only it.
///
/// # Errors
///
/// Returns a config error of `setting` that names what is neither.
pub(super) fn parse_network(setting: &'static str, network: &str) -> Result<IpNet, Error> {
    let address = || network.parse::<IpAddr>().map(IpNet::from).ok();
    let parsed = network.parse().ok().or_else(address);
    parsed.ok_or_else(|| Error::config(setting, format!("{network:?} is no IP address or network")))
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
