//! CONNECT: from a request head to a tunnel.
//!
//! The steps, each of which may refuse the request:
//!
//! 1. The head is checked: one host, no loop, no content.
//! 2. The policy checks the target, the client and the user.
//! 3. The tunnel is counted among those of its client.
//! 4. The name is looked up, the policy checks its addresses, and one of them is connected to.
//! 5. The client is sent a 200, and the tunnel is opened.

use std::sync::Arc;

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request::Parts};
use http_body_util::Empty;
use tokio::net::TcpStream;
use tracing::span::EnteredSpan;

use super::{
    facts::TargetFacts,
    target_clients::TargetClients,
    target_policy::TargetPolicy,
    tunnel_counts::{CountedTunnel, TunnelCounts},
    tunnel_log::TunnelLog,
};
use crate::{
    body::{Guard, GuardedBody},
    error::Error,
    forward::Forward,
    proxy::{future::UnansweredExchange, http10::Http10, respond::ErrorResponder},
    record::{AttemptGuard, Beginning, EndpointId, ExchangeGuard, Info, Record, ResponseClass},
    tunnel::{ConnectRequest, Tunnel, TunnelLimits, Upgraded},
    upstream::Dialer,
};

/// What the CONNECTs of a proxy share.
#[derive(Clone, Debug)]
pub(super) struct ConnectSettings {
    pub(super) policy: Arc<TargetPolicy>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) counts: Arc<TunnelCounts>,
    /// The most tunnels that a client may have.
    pub(super) most: usize,
    pub(super) limits: TunnelLimits,
}

/// One CONNECT.
pub(super) struct Connect {
    pub(super) settings: ConnectSettings,
    /// Checks the head, and keeps the tunnel.
    pub(super) forward: Forward<TargetClients>,
    pub(super) responder: ErrorResponder,
    /// Has the connection of an HTTP/1.0 client close where a response asks for it.
    pub(super) client: Http10,
    pub(super) facts: TargetFacts,
    pub(super) record: Arc<Record>,
}

/// What is held for as long as a tunnel is open.
struct TunnelHold {
    attempt: AttemptGuard,
    _counted: CountedTunnel,
}

impl Connect {
    /// Connects to the target, and opens the tunnel. Returns the response to the client in either case.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, as a server does when its client disconnects, closes what was opened. The log then has a
    /// `DEBUG` line with the status 499. Once the future is ready, the tunnel is a task of its own.
    pub(super) async fn answer(self, mut head: Parts) -> Response<AxumBody> {
        let Self {
            forward,
            responder,
            client,
            record,
            ..
        } = &self;
        let end = ExchangeGuard::new(record.clone());
        let unanswered = UnansweredExchange::new(record.clone());
        let tunnel = self.tunnel(&mut head).await;
        unanswered.answered();
        let info = Info::new(record.clone());
        match tunnel {
            // RFC 9110 9.3.6: "A server MUST NOT send any Transfer-Encoding or Content-Length header fields in a 2xx
            // (Successful) response to CONNECT." hyper adds neither to this one.
            Ok((mut tunnel, log)) => {
                record.set_status(StatusCode::OK);
                tunnel.ends(Some(end));
                forward.open_tunnel(tunnel, |report| log.write(report));
                let mut response = Response::new(AxumBody::empty());
                response.extensions_mut().insert(info);
                response
            }
            Err(error) => {
                record.fail(error.kind());
                let mut response = responder.respond(error, Some(info));
                record.set_status(response.status());
                // The client may have sent bytes for the tunnel without waiting for the response. They must not be
                // read as a request.
                if head.version < Version::HTTP_2 {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                    client.settle(&mut response);
                }
                response
            }
        }
    }

    /// Takes all steps but the last, and returns the tunnel with what the log will say of it.
    async fn tunnel(
        &self,
        head: &mut Parts,
    ) -> Result<(Tunnel<GuardedBody<Empty<Bytes>, TunnelHold>>, TunnelLog), Error> {
        let Self {
            settings, facts, ..
        } = self;
        self.forward.check_connect(head)?;
        settings.policy.admit(facts)?;
        let counted = settings.counts.count(facts.client(), settings.most)?;
        let downstream = ConnectRequest::take(head)?;
        let (attempt, stream) = self.dial().await?;
        let log = TunnelLog {
            facts: facts.clone(),
            address: stream.peer_addr().ok(),
        };
        let hold = TunnelHold {
            attempt,
            _counted: counted,
        };
        let held = GuardedBody::new(Empty::<Bytes>::new(), hold, true);
        let upstream = Upgraded::new(stream, Bytes::new(), ());
        let tunnel = downstream.tunnel(upstream, self.record.clone(), settings.limits, held);
        Ok((tunnel, log))
    }

    /// Connects to the target, as an attempt of the exchange.
    async fn dial(&self) -> Result<(AttemptGuard, TcpStream), Error> {
        let target = self.facts.target();
        let name: Arc<str> = target.to_string().into();
        let endpoint = Arc::new(EndpointId::new(None, name.clone()));
        let attempt = AttemptGuard::begin(&self.record, &endpoint, (0, None), Beginning::now());
        let nth = Some(attempt.nth());
        self.record.not_sent(nth);
        let dialled = self
            .settings
            .dialer
            .dial(target.host(), target.port())
            .await;
        match dialled.map_err(|error| error.at(&name)) {
            Ok(stream) => {
                self.record.sending(nth, false);
                attempt.reached_body(StatusCode::OK, None);
                Ok((attempt, stream))
            }
            Err(error) => {
                attempt.failed(&error);
                Err(error)
            }
        }
    }
}

/// The attempt ends with the tunnel, however that ends.
impl<E> Guard<E> for TunnelHold {
    fn enter(&self) -> Option<EnteredSpan> {
        None
    }

    fn complete(self) {
        self.attempt.answered(ResponseClass::Success);
    }

    fn data(&mut self, _: usize) {}

    fn trailers(&mut self, _: &HeaderMap) {}

    fn failed(self, _: &E) {}
}
