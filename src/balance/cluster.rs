//! The members of a cluster, shared by all who send, change or watch.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Wake, Waker},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::Notify, time::timeout};

use super::policy::{P2c, Picked};
use crate::{
    endpoint::{Endpoint, EndpointSpec, canonical_name},
    error::{Error, Kind},
};

type Members<S> = Vec<Arc<Endpoint<S>>>;

pub(super) struct Cluster<S> {
    /// What is read without a lock: by name, in the order of insertion.
    members: ArcSwap<Members<S>>,
    /// One change at a time.
    changing: Mutex<()>,
    policy: P2c<S>,
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
    pub(super) fn new(rng: fastrand::Rng, ready_timeout: Duration) -> Self {
        let waiters = Arc::<Waiters>::default();
        Self {
            members: ArcSwap::default(),
            changing: Mutex::default(),
            policy: P2c::new(rng, Waker::from(waiters.clone())),
            waiters,
            filling: AtomicBool::new(false),
            ready_timeout,
        }
    }

    pub(super) fn members(&self) -> Arc<Members<S>> {
        self.members.load_full()
    }

    /// Changes the members. When it returns, those that left get no request any more, and are given back.
    pub(super) fn change(&self, change: impl FnOnce(&mut Members<S>)) -> Members<S> {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.members.load_full();
        let mut members = Vec::clone(&before);
        change(&mut members);
        self.policy.update(&members);
        let members = Arc::new(members);
        self.members.store(members.clone());
        drop(changing);
        self.filled();

        let stayed: HashSet<_> = members.iter().map(|member| Arc::as_ptr(member.load())).collect();
        before.iter().filter(|member| !stayed.contains(&Arc::as_ptr(member.load()))).cloned().collect()
    }

    pub(super) fn insert(&self, spec: EndpointSpec<S>) -> Option<Arc<Endpoint<S>>> {
        let name = spec.name().to_owned();
        let gone = self.exchange(None, spec);
        gone.into_iter().find(|gone| **gone.name() == *name)
    }

    /// Inserts an endpoint, in the place of one of the same name, and removes another in the same step.
    pub(super) fn exchange(&self, before: Option<&Arc<str>>, spec: EndpointSpec<S>) -> Members<S> {
        let endpoint = Arc::new(Endpoint::new(spec));
        self.change(|members| {
            match members.iter_mut().find(|member| member.name() == endpoint.name()) {
                Some(same) => *same = endpoint,
                None => members.push(endpoint),
            }
            members.retain(|member| Some(member.name()) != before);
        })
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<Endpoint<S>>> {
        let name =
            canonical_name(name, |name| self.members.load().iter().any(|member| &**member.name() == name));
        let removed = self.change(|members| members.retain(|member| &**member.name() != name));
        removed.into_iter().next()
    }

    /// Makes the members be `specs`, the last of those with one name. One whose name stays keeps its service and load.
    pub(super) fn replace(&self, specs: Vec<EndpointSpec<S>>) -> Members<S>
    where
        S: Clone,
    {
        self.change(|members| {
            let before: HashMap<_, _> = members.drain(..).map(|m| (m.name().clone(), m)).collect();
            let mut seen = HashSet::new();
            let mut specs: Vec<_> =
                specs.into_iter().rev().filter(|spec| seen.insert(spec.name().to_owned())).collect();
            specs.reverse();
            members.extend(specs.into_iter().map(|spec| {
                Arc::new(match before.get(spec.name()) {
                    Some(same) => same.reweighted(&spec),
                    None => Endpoint::new(spec),
                })
            }));
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

    pub(super) fn pick(&self, tried: &[Arc<Endpoint<S>>]) -> Option<Picked<S>> {
        self.policy.pick(tried)
    }

    /// Picks as soon as an endpoint is ready.
    ///
    /// Dropping the future leaves nothing behind: an endpoint is counted when it is given out.
    ///
    /// # Errors
    ///
    /// `NoEndpoint` at once when there is none at all, and after the ready timeout when none became ready.
    pub(super) async fn wait(&self) -> Result<Picked<S>, Error> {
        match timeout(self.ready_timeout, self.next_ready()).await {
            Ok(Some(picked)) => Ok(picked),
            Ok(None) | Err(_) => Err(Error::new(Kind::NoEndpoint)),
        }
    }

    async fn next_ready(&self) -> Option<Picked<S>> {
        loop {
            // Before the look, so that no wake-up falls between.
            let woken = self.waiters.0.notified();
            if let Some(picked) = self.pick(&[]) {
                return Some(picked);
            }
            if self.members.load().is_empty() && !self.filling.load(Relaxed) {
                return None;
            }
            woken.await;
        }
    }
}
