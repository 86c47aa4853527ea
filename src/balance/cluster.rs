//! The state of a cluster that all balancers, handles and requests over it share.
//!
//! Reads and writes are apart. A pick reads the latest [`Snapshot`] and takes no lock here; a change locks the
//! [`Members`], publishes the next snapshot, and waits for no pick. The two meet in a flag of each endpoint's load:
//!
//! 1. a change publishes a snapshot without the endpoint, and then marks the endpoint as draining;
//! 2. a pick counts its request at the endpoint, and then looks at the mark. If it is set, the pick drops the count and
//!    looks at the latest snapshot, which does not have the endpoint any more.
//!
//! So a request is either seen by [`Draining`](super::Draining), or goes elsewhere. All four accesses are sequentially
//! consistent; [`Load::drain`](crate::endpoint::Load::drain) says why.
//!
//! Code of the user may run in a pick (a load measure) and when an endpoint is dropped (its service). No lock is held
//! then, so that code may read and change this very cluster.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, Response};
use tokio::{
    sync::{Notify, watch},
    time::timeout,
};

use super::{
    cluster_settings::ClusterSettings,
    members::{Members, Subset},
    policy::{Affinity, Picked, Policy},
    queueing::Queueing,
    retries::Retries,
    snapshot::Snapshot,
    wake::Wake,
};
use crate::{
    body::Body,
    endpoint::{Availability, Endpoint, EndpointSpec, Load, Siblings},
    error::{Error, ErrorKind},
    telemetry::{ClusterMetrics, ClusterStats, TimelineKind},
    upstream::ClientBuilder,
};

/// The members of a cluster, how one of them is picked, and whether discovery has reported yet.
///
/// It is shared by an `Arc` in each balancer, handle, response future and in the discovery task, and ends with the last
/// of them. It owns no task.
pub(super) struct Cluster<S> {
    policy: Policy,
    client: ClientBuilder,
    ready_timeout: Duration,
    retries: Retries,
    /// What is counted, for the status.
    stats: ClusterStats,
    /// Whether each attempt says why it went where it did.
    #[cfg(feature = "status")]
    explains: bool,
    /// Where requests wait while all endpoints are full. `None` lets them fail at once.
    queueing: Option<Queueing>,
    wake: Option<Wake>,
    metrics: ClusterMetrics,
    /// What picks read. Only [`change`](Self::change) stores a new one.
    snapshot: ArcSwap<Snapshot<S>>,
    /// Locked by changes, so that each builds on the one before. No code of the user runs under this lock.
    members: Mutex<Members<S>>,
    /// Whether requests need not wait any more: false from [`await_report`](Self::await_report) until
    /// [`tell`](Self::tell).
    told: watch::Sender<bool>,
    /// Notifies all requests that wait for a change of the members.
    changed: Notify,
    /// Notifies the prober of a change of the members, also while it does not wait for one.
    members_changed: Notify,
}

impl<S: Send + Sync + 'static> Cluster<S> {
    /// Creates an empty cluster that no discovery feeds, so that requests fail at once rather than wait.
    pub(super) fn new(mut config: ClusterSettings) -> Self {
        let seed = config.rng.u64(..);
        let subset = config.subset.map(|size| Subset { size, seed });
        let queueing = config.queue.build();
        let queue = queueing.as_ref().map(|queueing| queueing.queue().clone());
        let metrics = ClusterMetrics::of_cluster(&config.endpoints.cluster);
        let mut members = Members::new(subset, Siblings::new(config.endpoints, queue));
        if config.awaits_checks {
            members.await_checks();
        }
        let picker = config.policy.picker(config.rng);
        Self {
            policy: config.policy,
            client: config.client,
            ready_timeout: config.ready_timeout,
            retries: Retries::new(config.retry, config.hedge),
            stats: ClusterStats::default(),
            #[cfg(feature = "status")]
            explains: config.explains,
            queueing,
            wake: config.wake,
            metrics,
            snapshot: ArcSwap::from_pointee(members.snapshot(&picker)),
            members: Mutex::new(members),
            told: watch::Sender::new(true),
            changed: Notify::new(),
            members_changed: Notify::new(),
        }
    }

    /// Changes the members in one step, and returns what `change` returned, with the endpoints that left.
    ///
    /// When it returns, no new request goes to the endpoints that left, nor to those whose weight is 0 now. The change
    /// counts as a report, so requests that [wait](Self::reported) go on.
    ///
    /// `change` runs under the lock of the members, so it must not run code of the user.
    pub(super) fn change<T>(
        &self,
        change: impl FnOnce(&mut Members<S>) -> T,
    ) -> (T, Vec<Arc<Endpoint<S>>>) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut members);
        let next = members.snapshot(&self.snapshot.load().picker);
        let before = self.snapshot.swap(Arc::new(next));
        let displaced = members.take_displaced();
        // After the swap: a pick that finds an endpoint draining looks for another one in the latest snapshot, which
        // must not have that endpoint.
        let left = displaced
            .left
            .iter()
            .map(|left| (left, TimelineKind::Removed));
        let parked = displaced.parked.iter();
        let parked = parked.map(|parked| (parked, TimelineKind::Drained));
        for (endpoint, kind) in left.chain(parked) {
            endpoint.load().drain();
            endpoint.load().note(kind, || None);
        }
        // Dropping an endpoint may drop its service, which is the user's. So the old snapshot, like `displaced` at the
        // end of this function, outlives the lock.
        drop(members);
        self.members_changed.notify_one();
        self.tell();
        self.changed.notify_waiters();
        if let Some(queueing) = &self.queueing {
            queueing.queue().wake_next();
        }
        drop(before);
        (result, displaced.left)
    }

    /// Adds an endpoint, and returns the one of the same name that it replaced.
    pub(super) fn insert(&self, spec: EndpointSpec<S>) -> Option<Arc<Endpoint<S>>> {
        let ((), left) = self.change(|members| members.insert(spec));
        left.into_iter().next()
    }

    /// Removes an endpoint by its name, or by the URL it was inserted with, and returns it.
    pub(super) fn remove(&self, name: &str) -> Option<Arc<Endpoint<S>>> {
        let ((), left) = self.change(|members| members.remove(name));
        left.into_iter().next()
    }

    /// Replaces the members by `specs`, and returns those that left. See [`Members::replace`].
    pub(super) fn replace(&self, specs: Vec<EndpointSpec<S>>) -> Vec<Arc<Endpoint<S>>> {
        self.change(|members| members.replace(specs)).1
    }

    /// Gives an endpoint another weight, and returns the one it had. See [`Members::set_weight`].
    pub(super) fn set_weight(&self, name: &str, weight: u32) -> Option<u32> {
        self.change(|members| members.set_weight(name, weight)).0
    }

    /// Parks an endpoint, so that it gets no new requests, and returns its load. See [`Members::set_weight`].
    pub(super) fn park(&self, name: &str) -> Option<Arc<Load>> {
        let park = |members: &mut Members<S>| {
            members.set_weight(name, 0)?;
            members.load(name)
        };
        self.change(park).0
    }

    /// Gives an endpoint that was parked its weight back. Returns false if there is no endpoint of this name.
    pub(super) fn restore(&self, name: &str) -> bool {
        self.change(|members| members.restore(name)).0
    }
}

impl<S> Cluster<S> {
    /// Returns the settings of the clients for URLs.
    pub(super) fn client(&self) -> &ClientBuilder {
        &self.client
    }

    /// Returns what decides about further attempts.
    pub(super) fn retries(&self) -> &Retries {
        &self.retries
    }

    /// Counts a request of a client, for which an endpoint may have been `picked` just now: it adds to the budget of
    /// retries.
    pub(super) fn deposit(&self, picked: Option<&Picked<S>>) {
        let now = picked.and_then(|picked| picked.in_flight.picked());
        let now = now.unwrap_or_else(|| self.snapshot.load().siblings.now());
        self.retries.deposit(now);
        self.stats.request();
        self.metrics.budget(now, || self.retries.budget_left(now));
    }

    /// Takes one attempt out of the budget of retries. Returns false if there is none left.
    pub(super) fn withdraw(&self) -> bool {
        let granted = self.retries.withdraw(self.snapshot.load().siblings.now());
        self.metrics.withdrew(granted);
        granted
    }

    /// Returns what counts its retries, its queue and its discovery.
    pub(super) fn metrics(&self) -> &ClusterMetrics {
        &self.metrics
    }

    /// Returns the policy.
    #[cfg(feature = "status")]
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns what is counted.
    pub(super) fn stats(&self) -> &ClusterStats {
        &self.stats
    }

    /// Returns whether requests wait in the queue, so that others must not be picked for before.
    pub(super) fn has_queue(&self) -> bool {
        self.queueing.as_ref().is_some_and(Queueing::is_busy)
    }

    /// Returns where requests wait for room.
    pub(super) fn queueing(&self) -> Option<&Queueing> {
        self.queueing.as_ref()
    }

    /// Returns whether there is no endpoint that may be picked.
    pub(super) fn is_empty(&self) -> bool {
        self.snapshot.load().active.is_empty()
    }

    /// Returns whether there is an endpoint that would be used, but for its being full.
    pub(super) fn is_full(&self) -> bool {
        let snapshot = self.snapshot.load();
        let mut availabilities = snapshot.active.iter().map(|member| member.availability());
        availabilities.any(|availability| availability == Availability::Full)
    }

    /// Returns the members as they are now.
    pub(super) fn snapshot(&self) -> Arc<Snapshot<S>> {
        self.snapshot.load_full()
    }

    /// Waits until the members have changed since the last call. Changes in quick succession may be one.
    ///
    /// For one task only: of several, each change wakes one.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no change.
    pub(super) async fn members_changed(&self) {
        self.members_changed.notified().await;
    }

    /// Notes that discovery begins: until [`tell`](Self::tell), requests that find no endpoint wait.
    ///
    /// Called once, before the first change.
    pub(super) fn await_report(&self) {
        self.told.send_replace(false);
    }

    /// Notes that discovery has reported, be it an empty set or an error, and wakes the requests that wait.
    ///
    /// There is no way back: from now on, a request that finds no endpoint fails at once.
    pub(super) fn tell(&self) {
        // This is called after each change; only the first call wakes anything.
        self.told
            .send_if_modified(|told| !std::mem::replace(told, true));
    }

    /// Returns what `request` says about where it belongs. May run code of the user, the key of a
    /// [`ConsistentHash::by`](super::policy::ConsistentHash::by).
    pub(super) fn affinity(&self, request: &Request<Body>) -> Affinity {
        self.policy.affinity(request)
    }

    /// Adds to a response what tells the client where it belongs from now on, if the policy needs that: the cookie of
    /// [`Sticky`](super::policy::Sticky).
    pub(super) fn mark<B>(
        &self,
        response: &mut Response<B>,
        affinity: Affinity,
        endpoint: &Arc<str>,
    ) {
        self.policy.mark(response, affinity, endpoint);
    }

    /// Picks an endpoint for a request, and counts the request there. `repeatable` is whether the request can be sent
    /// to another one if this one fails.
    ///
    /// Returns `None` if every endpoint that takes requests is among those `tried`, or if there is none. Never waits.
    pub(super) fn pick(
        &self,
        tried: &[Arc<Endpoint<S>>],
        affinity: Affinity,
        repeatable: bool,
    ) -> Option<Picked<S>> {
        loop {
            let snapshot = self.snapshot.load();
            #[cfg(feature = "status")]
            let compared = self
                .explains
                .then(|| Box::new(self.compared(&snapshot, tried, affinity)));
            let picked = snapshot.pick(tried, affinity, repeatable)?;
            #[cfg(feature = "status")]
            let picked = picked.explained(compared);
            // If a change came in between, the latest snapshot does not have this endpoint; if other picks have taken
            // the room that it had, it is full by now. So the loop goes on only as often as others change the cluster,
            // and dropping `picked` takes the request off the count.
            if picked.in_flight.is_counted() && !picked.endpoint.load().is_draining() {
                return Some(picked);
            }
        }
    }

    /// Completes once discovery has reported, at once if there is none, and in any case after the ready timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub(super) async fn reported(&self) {
        let mut told = self.told.subscribe();
        if !*told.borrow_and_update() {
            // Neither error matters: the sender is part of `self`, so it is not gone, and after the timeout there is no
            // endpoint.
            let _ = timeout(self.ready_timeout, told.wait_for(|told| *told)).await;
        }
    }

    /// Completes when the cluster has an endpoint, if a hook is there to wake it, or when the time for that is over.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets the request go. If it was the last one, the next calls the hook again.
    pub(super) async fn woken(&self) {
        let Some(wake) = &self.wake else { return };
        let changed = async {
            let held = wake.hold();
            loop {
                // Before the look at the members, so that a change in between is not missed.
                let changed = self.changed.notified();
                if !self.is_empty() {
                    break drop(held);
                }
                changed.await;
            }
        };
        // After the timeout there is no endpoint.
        let _ = timeout(wake.time(), changed).await;
    }

    /// Returns the error of a request for which no endpoint can be picked.
    pub(super) fn nothing_picked(&self) -> Error {
        let none = Error::new(ErrorKind::NoEndpoint);
        if self.snapshot.load().siblings.is_dead() {
            none.detail("none of them answers")
        } else if self.is_full() {
            Error::new(ErrorKind::Overloaded)
        } else {
            none
        }
    }
}
