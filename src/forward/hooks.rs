//! Hooks of the user's on heads, in the order in which they were added.

use std::sync::Arc;

use http::{
    Method, Response, Version, request::Parts as RequestParts, response::Parts as ResponseParts,
};

use crate::{body::Body, error::Error};

type RequestHook = Arc<dyn Fn(&mut RequestParts) -> Result<(), Box<Response<Body>>> + Send + Sync>;

/// What a hook that has seen a request does to the head of its response.
pub(crate) type ResponseChange = Box<dyn FnOnce(&mut ResponseParts) + Send>;

#[derive(Clone)]
enum ResponseHook {
    /// Knows the response only.
    Fixed(Arc<dyn Fn(&mut ResponseParts) + Send + Sync>),
    /// Is shown the request first.
    PerRequest(Arc<dyn Fn(&RequestParts) -> ResponseChange + Send + Sync>),
}

/// All hooks of a proxy on heads.
#[derive(Clone, Default)]
pub(crate) struct HeadHooks {
    request: Vec<RequestHook>,
    response: Vec<ResponseHook>,
}

/// What the hooks that have seen the request of one exchange do to its response, in their order.
#[derive(Default)]
pub(super) struct ResponseChanges(std::vec::IntoIter<ResponseChange>);

/// Why a request goes no further than the hooks.
pub(super) enum Refused {
    /// A hook answers it.
    Answer(Box<Response<Body>>),
    /// A hook left a head that cannot be sent.
    Error(Error),
}

impl HeadHooks {
    pub(crate) fn on_request(
        &mut self,
        hook: impl Fn(&mut RequestParts) -> Result<(), Box<Response<Body>>> + Send + Sync + 'static,
    ) {
        self.request.push(Arc::new(hook));
    }

    pub(crate) fn on_response(
        &mut self,
        hook: impl Fn(&mut ResponseParts) + Send + Sync + 'static,
    ) {
        self.response.push(ResponseHook::Fixed(Arc::new(hook)));
    }

    pub(crate) fn on_response_to(
        &mut self,
        hook: impl Fn(&RequestParts) -> ResponseChange + Send + Sync + 'static,
    ) {
        self.response.push(ResponseHook::PerRequest(Arc::new(hook)));
    }

    /// Lets the hooks change a request head that is ready to be sent, and shows it to those that wait for its response.
    pub(super) fn request(&self, parts: &mut RequestParts) -> Result<ResponseChanges, Refused> {
        for hook in &self.request {
            hook(parts).map_err(Refused::Answer)?;
        }
        if !self.request.is_empty() {
            check(parts).map_err(Refused::Error)?;
        }
        let changes = self.response.iter().filter_map(|hook| match hook {
            ResponseHook::Fixed(_) => None,
            ResponseHook::PerRequest(hook) => Some(hook(parts)),
        });
        Ok(ResponseChanges(changes.collect::<Vec<_>>().into_iter()))
    }

    /// Lets the hooks change a response head that is ready to be sent.
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

/// # Errors
///
/// 500 when the head cannot be sent to the endpoint of this proxy: its fault is the hook's, not the client's.
fn check(parts: &mut RequestParts) -> Result<(), Error> {
    if parts.uri.scheme().is_some() || parts.uri.authority().is_some() {
        return Err(Error::hook(
            "the target became an absolute URI, which chooses no endpoint: set the path and query only",
        ));
    }
    if parts.method == Method::CONNECT {
        return Err(Error::hook("the method became CONNECT"));
    }
    // The connection's own version is sent; another one here would change how the body is framed.
    parts.version = Version::HTTP_11;
    Ok(())
}
