//! Limits the connections of one address, so that it cannot take the places of all others.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
};

use super::address::AddressKey;

/// The connections of each address. It has an entry for an address only while that has a connection, so it is no larger
/// than the number of all connections.
#[derive(Debug)]
pub(crate) struct AddressPlaces {
    /// The largest number of connections of an address.
    most: usize,
    /// Whether addresses of this machine are counted, too.
    counts_loopback: bool,
    taken: Mutex<HashMap<AddressKey, TakenPlaces>>,
}

/// What an address has.
#[derive(Debug, Default)]
struct TakenPlaces {
    connections: usize,
    /// Whether it has been logged that it may have no more. Until its last connection ends, it is not logged again.
    is_logged: bool,
}

/// An address has as many connections as it may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl AddressPlaces {
    /// Returns this many places for each address.
    pub(crate) fn new(most: usize, counts_loopback: bool) -> Arc<Self> {
        Arc::new(Self {
            most,
            counts_loopback,
            taken: Mutex::default(),
        })
    }

    /// Takes a place of an address. Returns `None` for an address that is not counted.
    ///
    /// # Errors
    ///
    /// Returns an error if the address has no place left.
    pub(crate) fn take(self: &Arc<Self>, key: AddressKey) -> Result<Option<AddressPlace>, TooMany> {
        if key.address().is_loopback() && !self.counts_loopback {
            return Ok(None);
        }
        let is_new = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let of_address = taken.entry(key).or_default();
            if of_address.connections < self.most {
                of_address.connections += 1;
                return Ok(Some(AddressPlace {
                    places: Arc::clone(self),
                    key,
                }));
            }
            !std::mem::replace(&mut of_address.is_logged, true)
        };
        if is_new {
            let (address, most) = (key.address(), self.most);
            tracing::warn!(%address, "more than {most} connections; further ones are closed");
        }
        Err(TooMany)
    }
}

/// A place of an address. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    places: Arc<AddressPlaces>,
    key: AddressKey,
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        let mut taken = self
            .places
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut entry) = taken.entry(self.key) {
            entry.get_mut().connections -= 1;
            if entry.get().connections == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> AddressKey {
        AddressKey::new(address.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_places_and_no_more() {
        let places = AddressPlaces::new(2, false);
        let (one, other) = (key("192.0.2.1"), key("192.0.2.2"));
        let first = places.take(one).unwrap();
        let second = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), TooMany);
        assert!(places.take(other).unwrap().is_some());
        drop(first);
        let third = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), TooMany);
        drop((second, third));
        assert!(places.taken.lock().unwrap().is_empty());
    }

    #[test]
    fn this_machine_is_counted_only_if_wanted() {
        for (counts, address) in [(false, "127.0.0.1"), (false, "::1"), (true, "127.0.0.1")] {
            let places = AddressPlaces::new(1, counts);
            let first = places.take(key(address)).unwrap();
            assert_eq!(first.is_some(), counts, "{address}");
        }
    }
}
