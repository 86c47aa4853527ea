//! How an endpoint is picked from the members of a cluster. One file per policy.

mod p2c;

use std::sync::Arc;

pub(super) use self::p2c::P2c;
use crate::endpoint::{Endpoint, InFlight};

/// The endpoint for one request, already counted there.
pub(super) struct Picked<S> {
    pub(super) endpoint: Arc<Endpoint<S>>,
    pub(super) in_flight: InFlight,
}
