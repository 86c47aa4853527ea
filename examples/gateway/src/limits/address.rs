//! What counts as one client.

use std::net::{IpAddr, Ipv6Addr};

/// The number of bits of an IPv6 address that tell networks apart. What is after them is each host's to choose, any
/// number of times.
const NETWORK_BITS: u128 = !0 << 64;

/// A client, as far as its address tells: the address of IPv4, the /64 network of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(IpAddr);

impl AddressKey {
    /// Returns the client with this address.
    pub(crate) fn new(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            // It is in a network with no other.
            IpAddr::V6(Ipv6Addr::LOCALHOST) => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK_BITS).into(),
            address => address,
        })
    }

    /// Returns the address, which for IPv6 is that of the network.
    pub(crate) fn address(self) -> IpAddr {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let key = |address: &str| AddressKey::new(address.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:0:0:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.2"), key("192.0.2.1"));
    }
}
