//! What a [`ForwardProxy`] does with a request: which of three ways it takes.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{Request, Response, uri::Scheme};
use tower::{Service, ServiceExt};
use tracing::Instrument;

use super::{
    connect::Connect,
    facts::{ProxyUser, TargetFacts},
    future::{ForwardProxyFuture, ForwardProxyWay},
    settings::ForwardProxy,
    target::{RequestTarget, TargetProtocol},
};
use crate::{
    error::{BoxError, Error},
    proxy::{future::ProxyFuture, http10::Http10},
};

impl<ReqBody> Service<Request<ReqBody>> for ForwardProxy
where
    ReqBody: http_body::Body<Data = Bytes> + Send + 'static,
    ReqBody::Error: Into<BoxError>,
{
    type Response = Response<AxumBody>;
    type Error = Infallible;
    type Future = ForwardProxyFuture;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<ReqBody>) -> ForwardProxyFuture {
        let (head, body) = request.into_parts();
        let target = RequestTarget::of(&head);
        let request = Request::from_parts(head, body);
        let way = match target {
            Ok(Some(target)) => {
                let extensions = request.extensions();
                let client = self.proxy.client_of(extensions);
                let user = extensions.get::<ProxyUser>().cloned();
                let facts = TargetFacts::new(target, client, user);
                match facts.target().protocol() {
                    TargetProtocol::Tunnel => self.connect(request, facts),
                    protocol => self.forward(request, facts, protocol),
                }
            }
            Ok(None) => match self.origin_form.clone() {
                Some(router) => ForwardProxyWay::OriginForm {
                    future: router.oneshot(request.map(AxumBody::new)),
                },
                None => self.refuse(&request, Error::bad_request("the target is no URL")),
            },
            Err(error) => self.refuse(&request, error),
        };
        way.into()
    }
}

impl ForwardProxy {
    /// Answers a request whose target cannot be read.
    fn refuse<B>(&self, request: &Request<B>, error: Error) -> ForwardProxyWay {
        let response = self.proxy.responder(request).respond(error, None);
        ForwardProxyWay::Forwarded {
            future: ProxyFuture::done(response, Http10::of(request)),
        }
    }

    /// Forwards a request by the client of its target, which is admitted there.
    fn forward<B>(
        &mut self,
        mut request: Request<B>,
        facts: TargetFacts,
        protocol: TargetProtocol,
    ) -> ForwardProxyWay
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        // What the client has asked for, for `X-Forwarded-Proto`: how it reaches the proxy says nothing to the target.
        let scheme = match protocol {
            TargetProtocol::Https => Scheme::HTTPS,
            TargetProtocol::Http | TargetProtocol::Tunnel => Scheme::HTTP,
        };
        request.extensions_mut().insert(scheme);
        request.extensions_mut().insert(facts);
        ForwardProxyWay::Forwarded {
            future: self.proxy.call(request),
        }
    }

    /// Opens a tunnel.
    fn connect<B: Send + 'static>(
        &self,
        request: Request<B>,
        facts: TargetFacts,
    ) -> ForwardProxyWay {
        let received = self.proxy.received(&request);
        let responder = self.proxy.responder(&request);
        let client = Http10::of(&request);
        // What the client sends goes through the tunnel, and not through the body.
        let (head, _) = request.into_parts();
        let connect = Connect {
            settings: self.connect.clone(),
            forward: self.proxy.forwarding().clone(),
            responder,
            client,
            facts,
            record: self.proxy.forwarding().begin(&head, &received),
        };
        ForwardProxyWay::Connect {
            future: Box::pin(connect.answer(head).instrument(received.span)),
        }
    }
}
