//! The way up: from a request as it was received to one on its way.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyStream, StreamBody};
use tower::{Service, util::Oneshot};

use super::{
    answer::answer,
    config::Config,
    future::{Exchange, ForwardFuture},
    head_timer::HeadTimer,
    hooks::Refused,
};
use crate::{
    body::{Body, GatheredBody, RequestBody, UnreadWatch},
    error::{Error, ErrorKind},
    record::{ClientFacts, Record},
    rewrite::{
        ClientAddr, Downstream, NextStep, Rewrite, Seen, TrailerRule, is_grpc, wants_trailers,
    },
    tunnel::{OpenTunnels, UpgradeRequest},
};

/// What the proxy knows of a request beyond its head.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) client: Option<ClientAddr>,
    pub(crate) scheme: &'static str,
    /// A prefix that a router took off the path before.
    pub(crate) prefix: Option<String>,
}

/// Sends requests to a service, as a gateway must.
#[derive(Clone, Debug)]
pub(crate) struct Forward<S> {
    service: S,
    config: Arc<Config>,
    tunnels: Arc<OpenTunnels>,
    unread: Arc<UnreadWatch>,
}

/// How a request goes on.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once, by the caller that was given it"
)]
pub(crate) enum Start<S: Service<Request<Body>>> {
    Sent(ForwardFuture<S>),
    /// It was for the proxy itself, or a hook has answered it.
    Answered(Response<Body>),
}

impl<S> Forward<S> {
    pub(crate) fn new(service: S) -> Self {
        Self {
            service,
            config: Arc::default(),
            tunnels: Arc::default(),
            unread: Arc::default(),
        }
    }

    /// The settings, to change them; clones made before keep theirs.
    pub(crate) fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }

    /// Waits for all tunnels to end, and ends those that are left after `grace`.
    pub(crate) async fn close_tunnels(&self, grace: Duration) {
        self.tunnels.close(grace).await;
    }
}

impl<S> Forward<S>
where
    S: Service<Request<Body>> + Clone,
{
    /// Checks and rewrites the head, limits the body, and hands both to the service.
    ///
    /// # Errors
    ///
    /// What is wrong with the request: 400, 405, 413, 501 or 508; or 500 for what a hook made of it. Nothing has been
    /// sent then.
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
        let record = Arc::new(Record::new(client_facts(&config.rewrite, &parts, received)));

        let prefix = config
            .rewrite
            .path
            .taken_off(received.prefix.as_deref(), parts.uri.path());
        let prefix = prefix.and_then(|prefix| HeaderValue::try_from(prefix).ok());
        let downstream = Downstream {
            client: received.client.as_ref(),
            scheme: received.scheme,
            prefix: prefix.as_ref(),
        };
        let trailers = match config.rewrite.request(&mut parts, seen, downstream)? {
            NextStep::Forward(trailers) => trailers,
            NextStep::Answer => return Ok(Start::Answered(answer(&parts))),
        };
        if let Some(upgrade) = &upgrade {
            upgrade.ask(&mut parts.headers);
        }
        let changes = match config.hooks.request(&mut parts) {
            Ok(changes) => changes,
            Err(Refused::Answer(response)) => return Ok(Start::Answered(*response)),
            Err(Refused::Error(error)) => return Err(error),
        };

        let body = self
            .limit(&parts, trailers, body)?
            .with_record(record.clone());
        let timeouts = config.timeouts.of_request(&parts, seen);
        let timer = HeadTimer::new(timeouts, record.clone());
        let response = Oneshot::new(self.service.clone(), Request::from_parts(parts, body));
        Ok(Start::Sent(ForwardFuture::new(Exchange {
            config: config.clone(),
            tunnels: self.tunnels.clone(),
            unread: self.unread.clone(),
            upgrade,
            version,
            record,
            changes,
            response,
            timer,
        })))
    }

    /// The body within its limit, with the trailers it may have.
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

/// A body that does not say how long it will be.
///
/// What translates between the forms of gRPC, as tonic-web does, takes the length off the head, but its body says that
/// of the bytes it reads, not that of those it will give: a `Content-Length` made of it would be a lie.
fn without_length(body: Body) -> Body {
    match body.size_hint().exact() {
        Some(_) => Body::new(StreamBody::new(BodyStream::new(body))),
        None => body,
    }
}

/// What is known of the client behind any trusted proxies.
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
