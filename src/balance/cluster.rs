//! The members of a cluster, shared by all who send, change or watch.

use std::{
    collections::HashSet,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Wake, Waker},
    time::Duration,
};

use http::{Request, Response};
use tokio::{sync::Notify, time::timeout};

use super::{
    members::Members,
    policy::{Affinity, Picked, PickerContext, Policy},
};
use crate::{
    body::Body,
    endpoint::{Endpoint, EndpointSpec, canonical_name},
    error::{Error, ErrorKind},
};

pub(super) struct Cluster<S> {
    policy: Policy,
    /// Read by each pick, for as long as it takes; written by each change. Never held across an await.
    members: RwLock<Members<S>>,
    waiters: Arc<Waiters>,
    /// Discovery has not said yet what there is, so an empty cluster is worth waiting for.
    filling: AtomicBool,
    ready_timeout: Duration,
}

/// Those who found no endpoint. Each wake-up wakes all, and each looks again.
#[derive(Default)]
struct Waiters(Notify);

impl Wake for Waiters {
    fn wake(self: Arc<Self>) {
        self.0.notify_waiters();
    }
}

impl<S> Cluster<S> {
    pub(super) fn new(
        policy: Policy,
        subset: Option<usize>,
        mut rng: fastrand::Rng,
        ready_timeout: Duration,
    ) -> Self
    where
        S: Send + Sync + 'static,
    {
        let waiters = Arc::<Waiters>::default();
        let seed = rng.u64(..);
        let picker = policy.picker(PickerContext {
            rng,
            waker: Waker::from(waiters.clone()),
        });
        Self {
            policy,
            members: RwLock::new(Members::new(picker, subset, seed)),
            waiters,
            filling: AtomicBool::new(false),
            ready_timeout,
        }
    }

    /// Looks at the members as they are.
    pub(super) fn members<T>(&self, look: impl FnOnce(&[Arc<Endpoint<S>>]) -> T) -> T {
        look(
            self.members
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .all(),
        )
    }

    /// Changes the members. When it returns, those that left get no request any more, and are given back.
    fn change(
        &self,
        change: impl FnOnce(&Members<S>) -> Vec<Arc<Endpoint<S>>>,
    ) -> Vec<Arc<Endpoint<S>>> {
        let mut members = self.members.write().unwrap_or_else(PoisonError::into_inner);
        let now = change(&members);
        let left = members.set(now);
        drop(members);
        self.filled();
        left
    }

    pub(super) fn insert(&self, spec: EndpointSpec<S>) -> Option<Arc<Endpoint<S>>> {
        let name = spec.name().to_owned();
        let gone = self.exchange(None, spec);
        gone.into_iter().find(|gone| **gone.name() == *name)
    }

    /// Inserts an endpoint, in the place of one of the same name, and removes another in the same step.
    pub(super) fn exchange(
        &self,
        before: Option<&Arc<str>>,
        spec: EndpointSpec<S>,
    ) -> Vec<Arc<Endpoint<S>>> {
        self.change(|members| {
            let same = members.named(spec.name());
            let endpoint = members.make(spec, same.map(AsRef::as_ref));
            let mut now = members.all().to_vec();
            match now
                .iter_mut()
                .find(|member| member.name() == endpoint.name())
            {
                Some(same) => *same = endpoint,
                None => now.push(endpoint),
            }
            now.retain(|member| Some(member.name()) != before);
            now
        })
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<Endpoint<S>>> {
        let removed = self.change(|members| {
            let name = canonical_name(name, |name| members.named(name).is_some());
            members
                .all()
                .iter()
                .filter(|member| &**member.name() != name)
                .cloned()
                .collect()
        });
        removed.into_iter().next()
    }

    /// Makes the members be `specs`, the last of those with one name. One whose name stays keeps its service and load.
    pub(super) fn replace(&self, specs: Vec<EndpointSpec<S>>) -> Vec<Arc<Endpoint<S>>>
    where
        S: Clone,
    {
        self.change(|members| {
            let before = members.by_name();
            let mut seen = HashSet::new();
            let last = specs
                .into_iter()
                .rev()
                .filter(|spec| seen.insert(spec.name().to_owned()));
            let mut now: Vec<_> = last
                .map(|spec| match before.get(spec.name()) {
                    Some(same) => Arc::new(same.reweighted(&spec)),
                    None => members.make(spec, None),
                })
                .collect();
            now.reverse();
            now
        })
    }

    /// Discovery begins; until [`filled`](Self::filled), requests wait for it.
    pub(super) fn filling(&self) {
        self.filling.store(true, Relaxed);
    }

    /// All that is known now is here.
    pub(super) fn filled(&self) {
        self.filling.store(false, Relaxed);
        self.waiters.0.notify_waiters();
    }

    /// What `request` says about where it belongs.
    pub(super) fn affinity(&self, request: &Request<Body>) -> Affinity {
        self.policy.affinity(request)
    }

    /// Tells the client where it belongs from now on, where the policy wants it to know.
    pub(super) fn mark<B>(
        &self,
        response: &mut Response<B>,
        affinity: Affinity,
        endpoint: &Arc<str>,
    ) {
        self.policy.mark(response, affinity, endpoint);
    }

    pub(super) fn pick(&self, tried: &[Arc<Endpoint<S>>], affinity: Affinity) -> Option<Picked<S>> {
        self.members
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .pick(tried, affinity)
    }

    /// Picks as soon as an endpoint is ready.
    ///
    /// Dropping the future leaves nothing behind: an endpoint is counted when it is given out.
    ///
    /// # Errors
    ///
    /// `NoEndpoint` at once when there is none at all, and after the ready timeout when none became ready.
    pub(super) async fn wait(&self, affinity: Affinity) -> Result<Picked<S>, Error> {
        match timeout(self.ready_timeout, self.next_ready(affinity)).await {
            Ok(Some(picked)) => Ok(picked),
            Ok(None) | Err(_) => Err(Error::new(ErrorKind::NoEndpoint)),
        }
    }

    async fn next_ready(&self, affinity: Affinity) -> Option<Picked<S>> {
        loop {
            // Before the look, so that no wake-up falls between.
            let woken = self.waiters.0.notified();
            if let Some(picked) = self.pick(&[], affinity) {
                return Some(picked);
            }
            if self.members(<[_]>::is_empty) && !self.filling.load(Relaxed) {
                return None;
            }
            woken.await;
        }
    }
}
