//! The user's hooks on request and response heads.
//!
//! Hooks run after everything that the proxy itself does to a head, so nothing undoes what they do, and they never see
//! a field that the proxy removes. In the order in which they run:
//!
//! 1. The request hooks, in the order in which they were added. Each may refuse: the hooks after it do not run then,
//!    and its response is the answer.
//! 2. A check that the head can still be sent.
//! 3. The response hooks that want to see the request: each is shown the final head, and returns what it will do.
//! 4. Once the response has arrived, all response hooks, in the order in which they were added.
//!
//! Responses that the proxy makes itself pass through no response hook: errors, refusals and the answers to
//! `Max-Forwards: 0`. Hooks are synchronous, and a hook that panics unwinds through the task of its request.

use std::sync::Arc;

use http::{
    Method, Response, Version, request::Parts as RequestParts, response::Parts as ResponseParts,
};

use crate::{body::Body, error::Error};

/// A hook on request heads. What it returns as an error is the response.
type RequestHook = Arc<dyn Fn(&mut RequestParts) -> Result<(), Box<Response<Body>>> + Send + Sync>;

/// What a hook that has seen a request does to the head of the response.
pub(crate) type ResponseChange = Box<dyn FnOnce(&mut ResponseParts) + Send>;

/// A hook on response heads.
#[derive(Clone)]
enum ResponseHook {
    /// Does not need the request.
    Fixed(Arc<dyn Fn(&mut ResponseParts) + Send + Sync>),
    /// Is shown the request, and returns the change for its response.
    PerRequest(Arc<dyn Fn(&RequestParts) -> ResponseChange + Send + Sync>),
}

/// All hooks of a proxy on heads, each kind in the order in which it was added.
#[derive(Clone, Default)]
pub(crate) struct HeadHooks {
    request: Vec<RequestHook>,
    response: Vec<ResponseHook>,
}

/// The changes that the hooks which have seen the request of one exchange make to its response, in their order.
///
/// There is one per [`ResponseHook::PerRequest`]. They are taken from the front as the response passes through the
/// hooks, which cannot change in between: the exchange holds its settings.
#[derive(Default)]
pub(super) struct ResponseChanges(std::vec::IntoIter<ResponseChange>);

/// Why a request goes no further than the hooks.
pub(super) enum Refused {
    /// A hook answers it.
    Answer(Box<Response<Body>>),
    /// The hooks left a head that cannot be sent.
    Error(Error),
}

impl HeadHooks {
    /// Adds a hook on request heads, which runs after those that are there.
    pub(crate) fn on_request(
        &mut self,
        hook: impl Fn(&mut RequestParts) -> Result<(), Box<Response<Body>>> + Send + Sync + 'static,
    ) {
        self.request.push(Arc::new(hook));
    }

    /// Adds a hook on response heads, which runs after those that are there.
    pub(crate) fn on_response(
        &mut self,
        hook: impl Fn(&mut ResponseParts) + Send + Sync + 'static,
    ) {
        self.response.push(ResponseHook::Fixed(Arc::new(hook)));
    }

    /// Adds a hook on response heads that is shown the request. It runs after the response hooks that are there.
    pub(crate) fn on_response_to(
        &mut self,
        hook: impl Fn(&RequestParts) -> ResponseChange + Send + Sync + 'static,
    ) {
        self.response.push(ResponseHook::PerRequest(Arc::new(hook)));
    }

    /// Runs the request hooks on a head that is ready to be sent, then shows it to the response hooks that want to see
    /// it.
    ///
    /// # Errors
    ///
    /// Returns [`Refused::Answer`] with the response of a hook that refuses, and [`Refused::Error`], a 500, if the
    /// hooks left a head that cannot be sent.
    pub(super) fn request(&self, parts: &mut RequestParts) -> Result<ResponseChanges, Refused> {
        for hook in &self.request {
            hook(parts).map_err(Refused::Answer)?;
        }
        // Without hooks, the rewrite has left a head that passes.
        if !self.request.is_empty() {
            check(parts).map_err(Refused::Error)?;
        }
        let changes = self.response.iter().filter_map(|hook| match hook {
            ResponseHook::Fixed(_) => None,
            ResponseHook::PerRequest(hook) => Some(hook(parts)),
        });
        Ok(ResponseChanges(changes.collect::<Vec<_>>().into_iter()))
    }

    /// Runs the response hooks on a head that is ready to be relayed. `changes` are what [`request`](Self::request)
    /// returned for this exchange.
    pub(super) fn response(&self, changes: &mut ResponseChanges, parts: &mut ResponseParts) {
        for hook in &self.response {
            match hook {
                ResponseHook::Fixed(hook) => hook(parts),
                ResponseHook::PerRequest(_) => {
                    if let Some(change) = changes.0.next() {
                        change(parts);
                    }
                }
            }
        }
    }
}

/// Checks that the hooks have left a head that can be sent to the endpoint of this proxy.
///
/// # Errors
///
/// Returns [`ErrorKind::Hook`](crate::error::ErrorKind::Hook), a 500, if the target is no longer in origin form or the
/// method has become CONNECT. The fault is the hook's, not the client's.
fn check(parts: &mut RequestParts) -> Result<(), Error> {
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        return Err(Error::hook(
            "the target became an absolute URI, which chooses no endpoint: set the path and query only",
        ));
    }
    if parts.method == Method::CONNECT {
        return Err(Error::hook("the method became CONNECT"));
    }
    // The connection sends its own version. Another one here would change how the body is framed.
    parts.version = Version::HTTP_11;
    Ok(())
}
