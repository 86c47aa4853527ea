//! The way up: turns a request as it was received into one that is sent.
//!
//! [`Forward::start`] does this in a fixed order, and everything it does is synchronous: nothing is awaited before the
//! service is called.
//!
//! 1. A request to upgrade is recognised, and the client's end of its connection taken out, before hop-by-hop fields
//!    are removed.
//! 2. The record of the exchange is made, with what is known of the client, from the forwarding fields as they were
//!    received.
//! 3. The head is rewritten (`rewrite/head.rs` has the order of that), and `Upgrade` put back on it.
//! 4. The user's request hooks run, last of all changes to the head.
//! 5. The body is limited and linked to the record, and the deadlines are computed, both from the head that the hooks
//!    left.
//!
//! Nothing is sent in here: the service is called when the future that is returned is polled.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyStream, StreamBody};
use tower::{Service, util::Oneshot};
use tracing::Span;

use super::{
    answer::answer,
    future::{Exchange, ForwardFuture},
    head_timer::HeadTimer,
    hooks::Refused,
    settings::ForwardSettings,
};
use crate::{
    body::{Body, GatheredBody, RequestBody, UnreadWatch},
    error::{Error, ErrorKind},
    record::{ClientFacts, ExchangeGuard, InfoSlot, Record},
    rewrite::{
        ClientAddr, Downstream, NextStep, Rewrite, Seen, TrailerRule, is_grpc, wants_trailers,
    },
    telemetry::open_request,
    tunnel::{OpenTunnels, Tunnel, TunnelReport, UpgradeRequest},
};

/// What the proxy knows of a request beyond its head, from the server and the router around it.
#[derive(Debug)]
pub(crate) struct Received {
    /// The remote address of the connection. `None` if the server does not tell it: no peer is trusted then.
    pub(crate) client: Option<ClientAddr>,
    /// `http` or `https`: how the client reached the server.
    pub(crate) scheme: &'static str,
    /// The path prefix that a router has removed before.
    pub(crate) prefix: Option<String>,
    /// The span of the request, which may be disabled.
    pub(crate) span: Span,
}

/// Forwards requests to a service, as a gateway must.
///
/// Clones are cheap, and share the settings, the open tunnels and the watch for clients that do not read. The service
/// is cloned for each request, and asked for its readiness by the clone: a busy service delays its own requests only.
#[derive(Clone, Debug)]
pub(crate) struct Forward<S> {
    service: S,
    /// Shared by clones, and copied by one that changes it.
    config: Arc<ForwardSettings>,
    /// The tunnels that were opened through this proxy, which outlive it.
    tunnels: Arc<OpenTunnels>,
    /// Releases the endpoints of responses that are not read.
    unread: Arc<UnreadWatch>,
}

/// What becomes of a request.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once, by the caller that was given it"
)]
pub(crate) enum Start<S: Service<Request<Body>>> {
    /// It is forwarded.
    Sent(ForwardFuture<S>),
    /// It goes no further: it was for the proxy itself, or a hook has answered it.
    Answered(Response<Body>),
}

impl<S> Forward<S> {
    /// Forwards to `service` with the default settings.
    pub(crate) fn new(service: S) -> Self {
        Self {
            service,
            config: Arc::default(),
            tunnels: Arc::default(),
            unread: Arc::default(),
        }
    }

    /// Returns one to another service with the same settings. Both share their open tunnels and the name in `Via`.
    #[cfg(feature = "config")]
    pub(crate) fn to<T>(&self, service: T) -> Forward<T> {
        Forward {
            service,
            config: self.config.clone(),
            tunnels: self.tunnels.clone(),
            unread: self.unread.clone(),
        }
    }

    /// Returns the settings for a change. Clones that were made before keep theirs.
    pub(crate) fn config_mut(&mut self) -> &mut ForwardSettings {
        Arc::make_mut(&mut self.config)
    }

    /// Returns the service for a change. Clones that were made before keep theirs.
    pub(crate) fn service_mut(&mut self) -> &mut S {
        &mut self.service
    }

    /// Begins the exchange of a request: makes its record, with what is known of the client, and lets those know of it
    /// that have asked.
    ///
    /// `parts` is the head as it was received: a rewrite replaces the fields that say who the client is.
    pub(crate) fn begin(&self, parts: &Parts, received: &Received) -> Arc<Record> {
        let record = Arc::new(Record::observed(
            client_facts(&self.config.rewrite, parts, received),
            self.config.metrics.begin(&parts.method),
        ));
        open_request(&record, &received.span);
        if let Some(slot) = parts.extensions.get::<InfoSlot>() {
            slot.fill(&record);
        }
        record
    }

    /// Checks the head of a CONNECT, which is not forwarded.
    ///
    /// # Errors
    ///
    /// Those of [`Rewrite::check_connect`].
    pub(crate) fn check_connect(&self, parts: &Parts) -> Result<(), Error> {
        self.config.rewrite.check_connect(parts)
    }

    /// Opens a tunnel that is one of this proxy's, and has `ended` called at its end.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub(crate) fn open_tunnel<B>(
        &self,
        tunnel: Tunnel<B>,
        ended: impl FnOnce(TunnelReport) + Send + 'static,
    ) where
        B: http_body::Body + Send + 'static,
    {
        self.tunnels.open(tunnel, ended);
    }

    /// Waits for all tunnels to end, and closes those that are still open after `grace`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before `grace` has passed leaves the tunnels open.
    pub(crate) async fn close_tunnels(&self, grace: Duration) {
        self.tunnels.close(grace).await;
    }
}

impl<S> Forward<S>
where
    S: Service<Request<Body>> + Clone,
{
    /// Checks and rewrites the head, limits the body, and hands both to a clone of the service.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the request: a 400, 405, 413, 501 or 508. Returns a 500 for what a hook made of it.
    /// Nothing has been sent in either case.
    pub(crate) fn start(
        &self,
        mut request: Request<Body>,
        received: &Received,
    ) -> Result<Start<S>, Error> {
        let config = &self.config;
        let seen = Seen::in_head(request.headers());
        let upgrade = UpgradeRequest::take(&mut request, seen, &config.upgrades);
        let (mut parts, body) = request.into_parts();
        let version = parts.version;
        let record = self.begin(&parts, received);
        // The exchange ends with it if the request goes no further.
        let end = Some(ExchangeGuard::new(record.clone()));
        let refused = |error: Error| {
            record.fail(error.kind());
            record.set_status(error.status());
            error
        };
        let upgrade = upgrade.map_err(refused)?;

        let prefix = config
            .rewrite
            .path
            .taken_off(received.prefix.as_deref(), parts.uri.path());
        // A prefix is part of a path, and always a valid value.
        let prefix = prefix.and_then(|prefix| HeaderValue::try_from(prefix).ok());
        let downstream = Downstream {
            client: received.client.as_ref(),
            scheme: received.scheme,
            prefix: prefix.as_ref(),
        };
        let answered = |response: Response<Body>| {
            record.set_status(response.status());
            Ok(Start::Answered(response))
        };
        let next = config.rewrite.request(&mut parts, seen, downstream);
        let trailers = match next.map_err(refused)? {
            NextStep::Forward(trailers) => trailers,
            NextStep::Answer => return answered(answer(&parts)),
        };
        // Only now, because the rewrite removes the field.
        if let Some(upgrade) = &upgrade {
            upgrade.ask(&mut parts.headers);
        }
        let mut asked_for = config.rewrite.asked_for(&parts);
        let changes = match config.hooks.request(&mut parts) {
            Ok(changes) => changes,
            Err(Refused::Answer(response)) => {
                let upgrade = upgrade.as_ref();
                if upgrade.is_some_and(|upgrade| upgrade.is_agreed_by_mistake(response.status())) {
                    return Err(refused(Error::new(ErrorKind::Hook)));
                }
                return answered(*response);
            }
            Err(Refused::Error(error)) => return Err(refused(error)),
        };
        if let Some(asked_for) = &mut asked_for {
            asked_for.sent_as(&parts.headers);
        }

        let body = self.limit(&parts, trailers, body).map_err(refused)?;
        let body = body.with_record(record.clone());
        // Here the hooks have run: one of them may have set deadlines of this request.
        let timeouts = config.timeouts.of_request(&parts);
        let timer = HeadTimer::new(timeouts, record);
        let response = Oneshot::new(self.service.clone(), Request::from_parts(parts, body));
        Ok(Start::Sent(ForwardFuture::new(Exchange {
            config: config.clone(),
            tunnels: self.tunnels.clone(),
            unread: self.unread.clone(),
            upgrade,
            version,
            end,
            asked_for,
            changes,
            response,
            timer,
        })))
    }

    /// Returns the body within its limit, with the trailers that it may have.
    ///
    /// An empty body is replaced by one that costs nothing. A limit of a layer in front counts too, but is noticed only
    /// when the body is read.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::BodyTooLarge`], a 413, if the body says that it is longer than the limit. One that does not
    /// say its length fails when it passes the limit.
    fn limit(&self, parts: &Parts, trailers: TrailerRule, body: Body) -> Result<Body, Error> {
        if body.is_end_stream() {
            return Ok(Body::empty());
        }
        let limit = self.config.body_limit;
        if body.size_hint().lower() > limit {
            return Err(Error::new(ErrorKind::BodyTooLarge));
        }
        let trailers = wants_trailers(parts).then_some(trailers);
        let body = Body::new(GatheredBody::new(RequestBody::new(body, limit, trailers)));
        let declared = parts.headers.contains_key(header::CONTENT_LENGTH);
        Ok(match is_grpc(&parts.method, &parts.headers) && !declared {
            true => without_length(body),
            false => body,
        })
    }
}

/// Returns a body that does not say how long it will be.
///
/// A layer that translates between forms of gRPC, as tonic-web does, removes the length from the head, but its body
/// reports that of the bytes it reads, and not of those it will yield. A `Content-Length` made from that would be
/// wrong, and the endpoint would wait for more or cut the message off.
fn without_length(body: Body) -> Body {
    match body.size_hint().exact() {
        Some(_) => Body::new(StreamBody::new(BodyStream::new(body))),
        None => body,
    }
}

/// Returns what is known of the client, behind any trusted proxies in front.
///
/// `parts` is the head as it was received.
fn client_facts(rewrite: &Rewrite, parts: &Parts, received: &Received) -> ClientFacts {
    let peer = received.client.as_ref();
    ClientFacts {
        address: rewrite.forwarded.client_address(&parts.headers, peer),
        peer: peer.map(ClientAddr::socket),
        tls: rewrite
            .forwarded
            .is_tls(&parts.headers, peer, received.scheme),
    }
}
