//! The way up: from a request as it was received to one on its way.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
    request::Parts as RequestParts, response::Parts as ResponseParts,
};
use http_body::Body as _;
use tower::{Service, util::Oneshot};

use super::{
    future::{Exchange, ForwardFuture},
    timeout::{HeadTimer, Timeouts},
    upgrade::{self, Tunnels},
};
use crate::{
    body::{Body, Progress, RequestBody, Trailers},
    error::{Error, Kind},
    info::Tracker,
    rewrite::{
        ClientAddr, Downstream, Rewrite, Seen, Verdict, accepts_trailers, is_grpc, is_sensitive,
        strip_trailers,
    },
};

type Hook<P> = Arc<dyn Fn(&mut P) + Send + Sync>;

/// All settings of forwarding, shared by the clones of a proxy.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) rewrite: Rewrite,
    pub(crate) timeouts: Timeouts,
    /// Bytes a request body may have.
    pub(crate) body_limit: u64,
    /// Tokens of `Upgrade` that may go through, lower case.
    pub(crate) upgrades: Vec<String>,
    pub(crate) request_hook: Option<Hook<RequestParts>>,
    pub(crate) response_hook: Option<Hook<ResponseParts>>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rewrite: Rewrite::default(),
            timeouts: Timeouts::default(),
            body_limit: u64::MAX,
            upgrades: vec!["websocket".into()],
            request_hook: None,
            response_hook: None,
        }
    }
}

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
    tunnels: Arc<Tunnels>,
}

/// How a request goes on.
#[expect(
    clippy::large_enum_variant,
    reason = "taken apart at once, by the caller that was given it"
)]
pub(crate) enum Start<S: Service<Request<Body>>> {
    Sent(ForwardFuture<S>),
    /// It was for us.
    Answered(Response<Body>),
}

impl<S> Forward<S> {
    pub(crate) fn new(service: S) -> Self {
        Self {
            service,
            config: Arc::default(),
            tunnels: Arc::default(),
        }
    }

    /// The settings, to change them; clones made before keep theirs.
    pub(crate) fn config_mut(&mut self) -> &mut Config {
        Arc::make_mut(&mut self.config)
    }
}

impl<S> Forward<S>
where
    S: Service<Request<Body>> + Clone,
{
    /// Checks and rewrites the head, watches the body, and hands both to the service.
    ///
    /// # Errors
    ///
    /// What is wrong with the request: 400, 405, 413, 501 or 508. Nothing has been sent then.
    pub(crate) fn start(
        &self,
        mut request: Request<Body>,
        received: &Received,
    ) -> Result<Start<S>, Error> {
        let config = &self.config;
        let seen = Seen::in_head(request.headers());
        let asked = upgrade::asked(&mut request, seen, &config.upgrades);
        let (mut parts, body) = request.into_parts();
        let version = parts.version;

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
        let nominated = match config.rewrite.request(&mut parts, seen, downstream)? {
            Verdict::Forward { nominated } => nominated,
            Verdict::Answer => return Ok(Start::Answered(answer(&parts))),
        };
        if let Some(asked) = &asked {
            asked.ask(&mut parts.headers);
        }
        if let Some(hook) = &config.request_hook {
            hook(&mut parts);
        }

        let (body, progress) = self.watch(&parts, nominated, body)?;
        let tracker = Tracker::default();
        let body = body.with_tracker(tracker.clone());
        let timer = HeadTimer::new(config.timeouts, progress);
        let response = Oneshot::new(self.service.clone(), Request::from_parts(parts, body));
        Ok(Start::Sent(ForwardFuture::new(Exchange {
            config: config.clone(),
            tunnels: self.tunnels.clone(),
            asked,
            version,
            tracker,
            response,
            timer,
        })))
    }

    fn watch(
        &self,
        parts: &RequestParts,
        nominated: Vec<HeaderName>,
        body: Body,
    ) -> Result<(Body, Option<Arc<Progress>>), Error> {
        if body.is_end_stream() {
            return Ok((Body::empty(), None));
        }
        let limit = self.config.body_limit;
        if body.size_hint().lower() > limit {
            return Err(Error::new(Kind::BodyTooLarge));
        }
        let progress = Arc::new(Progress::new());
        let trailers = wants_trailers(parts).then(|| Trailers::new(strip_trailers, nominated));
        let body = Body::new(RequestBody::new(body, progress.clone(), limit, trailers));
        Ok((body, Some(progress)))
    }
}

/// Request trailers are dropped unless the client announced them or its protocol lives on them: a server that merges
/// them into its headers would take them for what a proxy has checked.
fn wants_trailers(parts: &RequestParts) -> bool {
    let headers = &parts.headers;
    headers.contains_key(header::TRAILER)
        || accepts_trailers(headers)
        || is_grpc(&parts.method, headers)
}

/// The answer of the final recipient that `Max-Forwards: 0` makes us, RFC 9110 7.6.2.
fn answer(parts: &RequestParts) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    if parts.method == Method::TRACE {
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("message/http"),
        );
        *response.body_mut() = Bytes::from(reflect(parts)).into();
    } else {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// The head as it came, without what is sensitive.
fn reflect(parts: &RequestParts) -> Vec<u8> {
    let mut text = format!("TRACE {} {:?}\r\n", parts.uri, parts.version).into_bytes();
    for (name, value) in parts
        .headers
        .iter()
        .filter(|(name, _)| !is_sensitive(name.as_str()))
    {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("rewrite", &self.rewrite)
            .field("timeouts", &self.timeouts)
            .field("body_limit", &self.body_limit)
            .field("upgrades", &self.upgrades)
            .finish_non_exhaustive()
    }
}
