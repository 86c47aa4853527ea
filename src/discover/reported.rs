//! What a discovery has reported so far, and the changes that lead from one set to the next.

use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    net::SocketAddr,
    sync::Arc,
};

use tower::discover::Change;

use crate::{endpoint::EndpointSpec, upstream::Client};

/// An endpoint of a set, and the addresses at which its service reaches it.
pub(super) struct Located<S = Client> {
    pub(super) spec: EndpointSpec<S>,
    /// Sorted. An endpoint whose addresses change gets the service of its new spec. Empty for a service that finds its
    /// addresses itself.
    pub(super) addresses: Vec<SocketAddr>,
}

/// The endpoints of the latest set, and the changes that lead to it and have not been yielded yet.
pub(super) struct ReportedSet<S> {
    present: HashMap<Arc<str>, ReportedEndpoint>,
    changes: VecDeque<Change<Arc<str>, EndpointSpec<S>>>,
}

/// What is compared of an endpoint that keeps its name.
#[derive(Debug, PartialEq, Eq)]
struct ReportedEndpoint {
    /// The weight and the priority, which may change while the endpoint keeps its service.
    settings: (u32, u8),
    addresses: Vec<SocketAddr>,
}

impl<S> ReportedSet<S> {
    /// Returns the next change.
    pub(super) fn next_change(&mut self) -> Option<Change<Arc<str>, EndpointSpec<S>>> {
        self.changes.pop_front()
    }

    /// Makes `set` the latest set, with at least one change. Of several endpoints with one name, the last counts.
    ///
    /// Insertions come before removals. The cluster applies changes in batches, and is not empty between two of them
    /// when one set takes the place of another.
    pub(super) fn update(&mut self, set: Vec<Located<S>>) {
        let names = set.iter().map(|located| located.spec.shared_name());
        let last: HashMap<_, _> = names.zip(0_usize..).collect();
        let mut before = mem::take(&mut self.present);
        for (nth, Located { spec, addresses }) in set.into_iter().enumerate() {
            let name = spec.shared_name();
            // A later spec has the same name.
            if last.get(&name) != Some(&nth) {
                continue;
            }
            let now = ReportedEndpoint {
                settings: spec.settings(),
                addresses,
            };
            let insert = |spec| Change::Insert(name.clone(), spec);
            match before.remove(&name) {
                Some(same) if same == now => {}
                Some(moved) if moved.addresses != now.addresses => {
                    self.changes.push_back(insert(spec));
                }
                // The endpoint may be there without having been reported, by a `Handle`. It keeps its service.
                Some(_) | None => self.changes.push_back(insert(spec.keeping_service())),
            }
            self.present.insert(name, now);
        }
        self.changes.extend(before.into_keys().map(Change::Remove));
        self.confirm();
    }

    /// Reports that the latest set is still that, unless there are changes that do.
    ///
    /// A set that changes nothing is a report, too: the first one ends the wait of requests, and each is a success that
    /// the status shows. The removal of a key that was never inserted does no more than that. No endpoint has the empty
    /// name.
    pub(super) fn confirm(&mut self) {
        if self.changes.is_empty() {
            self.changes.push_back(Change::Remove("".into()));
        }
    }
}

// Not derived: that would require `S: Default`.
impl<S> Default for ReportedSet<S> {
    fn default() -> Self {
        Self {
            present: HashMap::new(),
            changes: VecDeque::new(),
        }
    }
}

impl<S> fmt::Debug for ReportedSet<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.present.fmt(f)
    }
}
