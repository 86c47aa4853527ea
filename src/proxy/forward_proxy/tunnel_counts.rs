//! How many tunnels each client has.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::error::{Error, ErrorKind};

/// Counts the tunnels of each client, those among them that are being opened.
///
/// It has an entry for each client that has a tunnel, and none for others. The clients whose address is unknown count
/// as one.
#[derive(Debug, Default)]
pub(super) struct TunnelCounts(Mutex<HashMap<Option<IpAddr>, usize>>);

/// A tunnel that counts until this is dropped.
#[derive(Debug)]
pub(super) struct CountedTunnel {
    counts: Arc<TunnelCounts>,
    client: Option<IpAddr>,
}

impl TunnelCounts {
    fn lock(&self) -> MutexGuard<'_, HashMap<Option<IpAddr>, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts another tunnel of a client.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::TooManyTunnels`], a 429, if it has `most` already.
    pub(super) fn count(
        self: &Arc<Self>,
        client: Option<IpAddr>,
        most: usize,
    ) -> Result<CountedTunnel, Error> {
        let client = client.map(site);
        let mut counts = self.lock();
        let open = counts.get(&client).copied().unwrap_or_default();
        if open >= most {
            return Err(Error::new(ErrorKind::TooManyTunnels));
        }
        counts.insert(client, open + 1);
        drop(counts);
        Ok(CountedTunnel {
            counts: self.clone(),
            client,
        })
    }
}

impl Drop for CountedTunnel {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.counts.lock().entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Returns the network that one client is alone in: its IPv4 address, or its /64, within which it can choose any
/// address (RFC 4291 2.5.4, RFC 8981).
fn site(client: IpAddr) -> IpAddr {
    match client {
        IpAddr::V4(_) => client,
        IpAddr::V6(client) => {
            let [a, b, c, d, ..] = client.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_as_many_as_it_may() {
        let counts = Arc::<TunnelCounts>::default();
        let count = |client: &str| counts.count(client.parse().ok(), 2);
        let first = count("192.0.2.1").unwrap();
        let _second = count("192.0.2.1").unwrap();
        let error = count("192.0.2.1").unwrap_err();
        assert_eq!(error.status(), 429);
        let other = count("192.0.2.2").unwrap();
        drop(first);
        let _third = count("192.0.2.1").unwrap();
        assert!(count("192.0.2.1").is_err());
        drop(other);
        assert_eq!(counts.lock().len(), 1);
    }

    #[test]
    fn a_client_cannot_choose_another_address() {
        let counts = Arc::<TunnelCounts>::default();
        let count = |client: &str| counts.count(client.parse().ok(), 1);
        let _one = count("2001:db8::1").unwrap();
        assert!(count("2001:db8::2").is_err());
        let _other = count("2001:db8:0:1::1").unwrap();
        let _unknown = count("").unwrap();
        assert!(count("").is_err());
    }
}
