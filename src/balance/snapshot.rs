//! The members at one moment.

use std::sync::Arc;

use super::policy::{Affinity, Endpoints, PickInfo, Picked, Picker};
use crate::endpoint::{Endpoint, Siblings};

/// The members at one moment, and the picker over them. A change makes another one.
pub(super) struct Snapshot<S> {
    /// In the order of insertion.
    pub(super) all: Arc<Endpoints<S>>,
    /// Those that requests are given to.
    pub(super) active: Arc<Endpoints<S>>,
    pub(super) picker: Arc<dyn Picker<S>>,
    pub(super) siblings: Arc<Siblings>,
}

impl<S> Snapshot<S> {
    /// Picks an endpoint for a request, and counts it there. Returns `None` if there is none that is not among those
    /// `tried`.
    pub(super) fn pick(&self, tried: &[Arc<Endpoint<S>>], affinity: Affinity) -> Option<Picked<S>> {
        self.siblings.tick(&self.active);
        let info = PickInfo { tried, affinity };
        self.picker.pick(&self.active, &info)
    }
}
