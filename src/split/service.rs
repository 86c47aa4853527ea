//! [`Split`], the service, and its settings.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderName, Request, Response, request::Parts};
use tower::{Service, util::Oneshot};

use super::{
    future::SplitFuture,
    handle::SplitHandle,
    rules::{Override, OverridePlace, SplitRules},
    table::SplitTable,
};
use crate::error::Error;

/// Gives each request to one of several services.
///
/// Clones share the weights and the counts. See the [module docs](crate::split).
pub struct Split<S> {
    /// One for each branch of the table. Shared, since a clone of the whole is made for each request in axum.
    services: Arc<[S]>,
    table: Arc<SplitTable>,
    /// Shared by clones, and copied by one that changes them.
    rules: Arc<SplitRules>,
}

impl<S> Split<S> {
    /// Returns a split of requests between branches, each with its name, its weight and its service.
    ///
    /// # Errors
    ///
    /// Returns a config error if two branches have one name, or if no weight is above 0.
    pub fn new<N: Into<Arc<str>>>(
        branches: impl IntoIterator<Item = (N, u32, S)>,
    ) -> Result<Self, Error> {
        let branches = branches.into_iter();
        let (named, services): (Vec<_>, Vec<_>) = branches
            .map(|(name, weight, service)| ((name.into(), weight), service))
            .unzip();
        Ok(Self {
            services: services.into(),
            table: Arc::new(SplitTable::new(named)?),
            rules: Arc::default(),
        })
    }

    /// Gives requests in whose field `name` is exactly `value` to a branch, whatever its weight. Default: none.
    ///
    /// Overrides count in the order in which they were added. Any client can send the field: where that matters, a
    /// layer in front has to remove it. If there are several lines, the first counts.
    ///
    /// # Errors
    ///
    /// Returns a config error if there is no such branch.
    pub fn override_by_header(
        self,
        name: HeaderName,
        value: &str,
        branch: &str,
    ) -> Result<Self, Error> {
        self.override_by(OverridePlace::Header(name), value, branch)
    }

    /// Gives requests whose cookie `name` is exactly `value` to a branch, as
    /// [`override_by_header`](Self::override_by_header) does. Default: none.
    ///
    /// # Errors
    ///
    /// Returns a config error if there is no such branch.
    pub fn override_by_cookie(self, name: &str, value: &str, branch: &str) -> Result<Self, Error> {
        self.override_by(OverridePlace::Cookie(name.into()), value, branch)
    }

    fn override_by(
        mut self,
        place: OverridePlace,
        value: &str,
        branch: &str,
    ) -> Result<Self, Error> {
        let branch = self.table.index("split override", branch)?;
        let value = value.into();
        Arc::make_mut(&mut self.rules).add(Override {
            place,
            value,
            branch,
        });
        Ok(self)
    }

    /// Sets what makes the key of a request: requests with the same key are given to the same branch for as long as the
    /// weights stay. `None` is a request without a key. Default: no request has one.
    ///
    /// The closure sees the head and its extensions, in which a layer in front may have put who the user is.
    #[must_use]
    pub fn by_key(
        mut self,
        key: impl Fn(&Parts) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Arc::make_mut(&mut self.rules).key(Arc::new(key));
        self
    }

    /// Sets the seed of the draw, for tests: the same requests in the same order then have the same branches. Default:
    /// a random one.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        self.table.seed(seed);
        self
    }

    /// Returns a handle to change the weights with, which works for all clones.
    #[must_use]
    pub fn handle(&self) -> SplitHandle {
        SplitHandle::new(self.table.clone())
    }
}

impl<S, B, ResBody> Service<Request<B>> for Split<S>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = SplitFuture<S, B>;

    /// Always ready. The call waits for the readiness of the branch, so that a busy one delays its own requests only.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    /// Chooses the branch, and counts the request. A clone of its service is asked for its readiness by the future.
    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (head, body) = request.into_parts();
        let nth = self.rules.branch(&head, &self.table);
        self.table.count(nth);
        let request = Request::from_parts(head, body);
        let response = Oneshot::new(self.services[nth].clone(), request);
        SplitFuture::new(response, self.table.name(nth).clone())
    }
}

impl<S> Clone for Split<S> {
    fn clone(&self) -> Self {
        Self {
            services: self.services.clone(),
            table: self.table.clone(),
            rules: self.rules.clone(),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Split<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            services,
            table,
            rules,
        } = self;
        f.debug_struct("Split")
            .field("services", services)
            .field("table", table)
            .field("rules", rules)
            .finish()
    }
}
