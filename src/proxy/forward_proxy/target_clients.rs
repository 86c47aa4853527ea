//! The service behind the proxy: admits a request, and sends it by the client of its target.
//!
//! There is one client for each scheme, host and port, each with a connection pool of its own. Their number is bounded.
//!
//! Requests of all users share the connections to a target. So the rules about addresses must be the same for all
//! requests: a connection that was opened for one user must not lead another one to an address that it may not reach.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tower::Service;
use tracing::span::EnteredSpan;

use super::{facts::TargetFacts, target::RequestTarget, target_policy::TargetPolicy};
use crate::{
    body::{Body, Guard, GuardedBody},
    error::Error,
    upstream::{Client, ClientBody, ClientBuilder, SendError},
};

/// The service behind a forward proxy. Clones share the clients.
#[derive(Clone, Debug)]
pub(super) struct TargetClients {
    shared: Arc<SharedClients>,
    /// The most clients that are kept.
    most: usize,
}

#[derive(Debug)]
struct SharedClients {
    policy: Arc<TargetPolicy>,
    /// Has the policy check the addresses of names.
    settings: ClientBuilder,
    clients: Mutex<ClientMap>,
}

/// The clients, by what they connect to.
#[derive(Debug, Default)]
struct ClientMap {
    clients: HashMap<RequestTarget, KeptClient>,
    /// Counts the requests.
    turn: u64,
}

#[derive(Debug)]
struct KeptClient {
    client: Client,
    /// The turn of the last request.
    used: u64,
    /// Each request in progress has a clone.
    in_use: InUse,
}

/// A client of one target, marked as in use for as long as this exists.
struct UsedClient {
    client: Client,
    in_use: InUse,
}

/// Marks a client as in use.
#[derive(Clone, Debug, Default)]
pub(super) struct InUse(Arc<()>);

impl TargetClients {
    /// Returns one without clients, which keeps no more than `most`. `settings` must have `policy` check addresses.
    pub(super) fn new(policy: Arc<TargetPolicy>, settings: ClientBuilder, most: usize) -> Self {
        let shared = SharedClients {
            policy,
            settings,
            clients: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            most,
        }
    }

    /// Sets the most clients that are kept.
    pub(super) fn keep(&mut self, most: usize) {
        self.most = most;
    }

    /// Returns the client that sends a request, if it may pass.
    fn client_for(&self, request: &mut Request<Body>) -> Result<UsedClient, Error> {
        let facts = request.extensions_mut().remove::<TargetFacts>();
        let facts = facts.ok_or_else(|| Error::hook("the request has no target any more"))?;
        self.shared.policy.admit(&facts)?;
        self.shared.client(facts.target(), self.most)
    }
}

impl SharedClients {
    fn lock(&self) -> MutexGuard<'_, ClientMap> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the client of a target, a new one if there is none.
    fn client(&self, target: &RequestTarget, most: usize) -> Result<UsedClient, Error> {
        if let Some(client) = self.lock().get(target) {
            return Ok(client);
        }
        let url = target
            .url()
            .ok_or_else(|| Error::bad_request("CONNECT is not forwarded"))?;
        // Another task may do the same at this time. The client that is inserted first is used by both.
        let client = self.settings.build(&url)?;
        let (client, evicted) = self.lock().insert(target, client, most);
        // Closes its idle connections, which must not happen under the lock.
        drop(evicted);
        Ok(client)
    }
}

impl ClientMap {
    fn get(&mut self, target: &RequestTarget) -> Option<UsedClient> {
        self.turn += 1;
        let kept = self.clients.get_mut(target)?;
        kept.used = self.turn;
        Some(kept.used())
    }

    /// Adds a client unless there is one already. Returns the one that is to be used, and the one that was evicted: the
    /// least recently used one, of those without a request in progress if there are any.
    fn insert(
        &mut self,
        target: &RequestTarget,
        client: Client,
        most: usize,
    ) -> (UsedClient, Option<KeptClient>) {
        if let Some(there) = self.get(target) {
            return (there, None);
        }
        let evicted = if self.clients.len() < most {
            None
        } else {
            self.evict()
        };
        let kept = KeptClient {
            client,
            used: self.turn,
            in_use: InUse::default(),
        };
        let used = kept.used();
        self.clients.insert(target.clone(), kept);
        (used, evicted)
    }

    /// Takes time linear in the number of clients, which is little compared with opening the new client's connection.
    fn evict(&mut self) -> Option<KeptClient> {
        let rank = |kept: &KeptClient| (Arc::strong_count(&kept.in_use.0) > 1, kept.used);
        let first = self.clients.iter().min_by_key(|(_, kept)| rank(kept));
        let target = first.map(|(target, _)| target.clone())?;
        self.clients.remove(&target)
    }
}

impl KeptClient {
    fn used(&self) -> UsedClient {
        UsedClient {
            client: self.client.clone(),
            in_use: self.in_use.clone(),
        }
    }
}

impl Service<Request<Body>> for TargetClients {
    type Response = Response<GuardedBody<ClientBody, InUse>>;
    type Error = SendError;
    type Future = TargetFuture;

    /// Always ready, as clients are.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        match self.client_for(&mut request) {
            Ok(UsedClient { mut client, in_use }) => TargetFuture::Sent {
                response: client.call(request),
                in_use,
            },
            Err(error) => TargetFuture::Refused { error: Some(error) },
        }
    }
}

pin_project! {
    /// The response future of [`TargetClients`]. Dropping it cancels the request.
    #[project = TargetFutureProj]
    pub(super) enum TargetFuture {
        Sent { #[pin] response: <Client as Service<Request<Body>>>::Future, in_use: InUse },
        Refused { error: Option<Error> },
    }
}

impl Future for TargetFuture {
    type Output = Result<Response<GuardedBody<ClientBody, InUse>>, SendError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            TargetFutureProj::Sent { response, in_use } => {
                let response = ready!(response.poll(cx))?;
                let in_use = in_use.clone();
                Poll::Ready(Ok(
                    response.map(|body| GuardedBody::new(body, in_use, false))
                ))
            }
            TargetFutureProj::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error.into())),
                None => Poll::Pending,
            },
        }
    }
}

/// The client is in use until the body has ended.
impl<E> Guard<E> for InUse {
    fn enter(&self) -> Option<EnteredSpan> {
        None
    }

    fn complete(self) {}

    fn data(&mut self, _: usize) {}

    fn trailers(&mut self, _: &HeaderMap) {}

    fn failed(self, _: &E) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str) -> RequestTarget {
        let request = Request::get(format!("http://{host}/")).body(()).unwrap();
        RequestTarget::of(&request.into_parts().0).unwrap().unwrap()
    }

    fn clients(most: usize) -> TargetClients {
        TargetClients::new(Arc::default(), Client::builder(), most)
    }

    fn used(clients: &TargetClients, host: &str) -> UsedClient {
        clients.shared.client(&target(host), clients.most).unwrap()
    }

    fn kept(clients: &TargetClients) -> Vec<String> {
        let clients = clients.shared.lock();
        let mut kept: Vec<_> = clients.clients.keys().map(ToString::to_string).collect();
        kept.sort();
        kept
    }

    #[test]
    fn one_target_has_one_client() {
        let clients = clients(9);
        for host in ["a", "A", "a:80", "a."] {
            assert_eq!(used(&clients, host).client.url(), "http://a:80");
        }
        used(&clients, "a:81");
        assert_eq!(kept(&clients), ["a:80", "a:81"]);
    }

    #[test]
    fn the_least_recently_used_client_is_evicted() {
        let clients = clients(2);
        for host in ["a", "b", "a", "c"] {
            used(&clients, host);
        }
        assert_eq!(kept(&clients), ["a:80", "c:80"]);
    }

    #[test]
    fn a_client_in_use_is_evicted_last() {
        let clients = clients(2);
        let busy = used(&clients, "a");
        for host in ["b", "c", "d"] {
            used(&clients, host);
        }
        assert_eq!(kept(&clients), ["a:80", "d:80"]);
        let _both = (busy, used(&clients, "d"));
        used(&clients, "e");
        assert_eq!(
            kept(&clients),
            ["d:80", "e:80"],
            "the bound holds in any case"
        );
    }
}
