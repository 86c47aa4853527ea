//! What a connection holds for as long as its socket is open.

use tokio::sync::OwnedSemaphorePermit;

use crate::limits::AddressPlace;

/// A place among all connections, and one among those of its client's address. A tunnel outlives the HTTP on its
/// socket, and keeps both.
#[derive(Debug)]
pub(crate) struct HeldPlace {
    _place: OwnedSemaphorePermit,
    /// Boxed, so that connections without it stay as small as they are.
    _address_place: Option<Box<AddressPlace>>,
}

impl HeldPlace {
    /// Holds both.
    pub(crate) fn new(place: OwnedSemaphorePermit, address_place: Option<AddressPlace>) -> Self {
        Self {
            _place: place,
            _address_place: address_place.map(Box::new),
        }
    }
}
