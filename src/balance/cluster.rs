//! The members of a cluster, shared by all who send, change or watch.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::{sync::watch, time::timeout};

use super::{
    members::{Members, Subset},
    policy::{Affinity, Picked, Policy},
    snapshot::Snapshot,
};
use crate::{
    body::Body,
    endpoint::{Endpoint, EndpointSpec},
    error::{Error, ErrorKind},
    upstream::ClientBuilder,
};

/// The settings of a cluster.
pub(super) struct ClusterConfig {
    pub(super) policy: Policy,
    pub(super) subset: Option<usize>,
    pub(super) rng: fastrand::Rng,
    pub(super) ready_timeout: Duration,
    /// What a URL is inserted with.
    pub(super) client: ClientBuilder,
}

/// A pick reads the latest snapshot and takes no lock of the cluster's; a change makes the next snapshot, and waits for
/// no pick. So what the user's code does in a pick, or when an endpoint is dropped, may read and change the cluster.
pub(super) struct Cluster<S> {
    policy: Policy,
    client: ClientBuilder,
    ready_timeout: Duration,
    snapshot: ArcSwap<Snapshot<S>>,
    /// Locked by changes, so that each builds on the one before.
    members: Mutex<Members<S>>,
    /// False while discovery has not said yet what there is.
    told: watch::Sender<bool>,
}

impl<S: Send + Sync + 'static> Cluster<S> {
    pub(super) fn new(mut config: ClusterConfig) -> Self {
        let seed = config.rng.u64(..);
        let subset = config.subset.map(|size| Subset { size, seed });
        let members = Members::new(subset);
        let picker = config.policy.picker(config.rng);
        Self {
            policy: config.policy,
            client: config.client,
            ready_timeout: config.ready_timeout,
            snapshot: ArcSwap::from_pointee(members.snapshot(&picker)),
            members: Mutex::new(members),
            told: watch::Sender::new(true),
        }
    }

    /// Changes the members in one step, and gives back those that left. When it returns, no request is given to those
    /// any more.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Members<S>) -> T,
    ) -> (T, Vec<Arc<Endpoint<S>>>) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut members);
        let next = members.snapshot(&self.snapshot.load().picker);
        let before = self.snapshot.swap(Arc::new(next));
        let displaced = members.take_displaced();
        // A pick from the snapshot before sees this, and looks at the next one: so that comes first.
        for endpoint in displaced.left.iter().chain(&displaced.parked) {
            endpoint.load().drain();
        }
        drop(members);
        self.tell();
        drop(before);
        (result, displaced.left)
    }

    pub(super) fn insert(&self, spec: EndpointSpec<S>) -> Option<Arc<Endpoint<S>>> {
        let ((), left) = self.change(|members| members.insert(spec));
        left.into_iter().next()
    }

    pub(super) fn remove(&self, name: &str) -> Option<Arc<Endpoint<S>>> {
        let ((), left) = self.change(|members| members.remove(name));
        left.into_iter().next()
    }

    /// Makes the members be `specs`, the last of those with one name. One whose name stays keeps its service and load.
    pub(super) fn replace(&self, specs: Vec<EndpointSpec<S>>) -> Vec<Arc<Endpoint<S>>> {
        self.change(|members| members.replace(specs)).1
    }

    pub(super) fn set_weight(&self, name: &str, weight: u32) -> Option<u32> {
        self.change(|members| members.set_weight(name, weight)).0
    }
}

impl<S> Cluster<S> {
    /// The settings of clients for URLs.
    pub(super) fn client(&self) -> &ClientBuilder {
        &self.client
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot<S>> {
        self.snapshot.load_full()
    }

    /// Discovery begins; until [`tell`](Self::tell), requests wait for it.
    pub(super) fn expect(&self) {
        self.told.send_replace(false);
    }

    /// Discovery has said what there is, or that it cannot.
    pub(super) fn tell(&self) {
        self.told
            .send_if_modified(|told| !std::mem::replace(told, true));
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

    /// Picks an endpoint for a request, and counts it there. Returns `None` if there is none that is not among those
    /// `tried`.
    pub(super) fn pick(&self, tried: &[Arc<Endpoint<S>>], affinity: Affinity) -> Option<Picked<S>> {
        loop {
            let picked = self.snapshot.load().pick(tried, affinity)?;
            // A change may have come in between. Then there is another snapshot, which does not have this endpoint.
            if !picked.endpoint.load().is_draining() {
                return Some(picked);
            }
        }
    }

    /// Picks as soon as discovery has said what there is.
    ///
    /// Dropping the future leaves nothing behind: an endpoint is counted when it is given out.
    ///
    /// # Errors
    ///
    /// `NoEndpoint` if there is none: at once, unless discovery has said nothing yet; then after the ready timeout.
    pub(super) async fn wait(&self, affinity: Affinity) -> Result<Picked<S>, Error> {
        let mut told = self.told.subscribe();
        if !*told.borrow_and_update() {
            // Neither is an error of its own: the sender is here, and after the timeout there is no endpoint.
            let _ = timeout(self.ready_timeout, told.wait_for(|told| *told)).await;
        }
        let picked = self.pick(&[], affinity);
        picked.ok_or_else(|| Error::new(ErrorKind::NoEndpoint))
    }
}
