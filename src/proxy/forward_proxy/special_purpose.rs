//! The networks that are no part of the public internet.
//!
//! Sources: IANA's registries of special-purpose addresses for [IPv4] and [IPv6], both of RFC 6890; multicast, which
//! has registries of its own; and the addresses of the metadata services of clouds. Each of these is listed by itself,
//! so that a rule that allows the network around it does not allow it.
//!
//! Networks of those registries that are globally reachable, such as AS112 (RFC 7534), are left out, unless they are
//! part of a larger one that is not.
//!
//! [IPv4]: https://www.iana.org/assignments/iana-ipv4-special-registry
//! [IPv6]: https://www.iana.org/assignments/iana-ipv6-special-registry

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

/// The first four groups, which all networks here differ by.
const fn v6(a: u16, b: u16, c: u16, d: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0),
        length,
    ))
}

/// A single address, whose last group is `h`.
const fn one(a: u16, b: u16, h: u16) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(
        Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, h),
        128,
    ))
}

/// Each network with its name.
#[rustfmt::skip]
pub(super) const SPECIAL_PURPOSE: [(IpNet, &str); 40] = [
    (v4(0, 0, 0, 0, 8),           "this network (RFC 791)"),
    (v4(10, 0, 0, 0, 8),          "private use (RFC 1918)"),
    (v4(100, 64, 0, 0, 10),       "shared address space (RFC 6598)"),
    (v4(100, 100, 100, 200, 32),  "the metadata of Alibaba Cloud"),
    (v4(127, 0, 0, 0, 8),         "loopback (RFC 1122)"),
    (v4(168, 63, 129, 16, 32),    "the host of a machine of Azure"),
    (v4(169, 254, 0, 0, 16),      "link-local (RFC 3927)"),
    (v4(169, 254, 169, 254, 32),  "the metadata of a cloud"),
    (v4(169, 254, 170, 2, 32),    "the credentials of a container of AWS"),
    (v4(169, 254, 170, 23, 32),   "the credentials of a pod of AWS"),
    (v4(172, 16, 0, 0, 12),       "private use (RFC 1918)"),
    // With 192.0.0.192, the metadata of older machines of Oracle.
    (v4(192, 0, 0, 0, 24),        "protocol assignments (RFC 6890)"),
    (v4(192, 0, 2, 0, 24),        "documentation (RFC 5737)"),
    (v4(192, 88, 99, 0, 24),      "6to4 relay (RFC 7526)"),
    (v4(192, 168, 0, 0, 16),      "private use (RFC 1918)"),
    (v4(198, 18, 0, 0, 15),       "benchmarking (RFC 2544)"),
    (v4(198, 51, 100, 0, 24),     "documentation (RFC 5737)"),
    (v4(203, 0, 113, 0, 24),      "documentation (RFC 5737)"),
    (v4(224, 0, 0, 0, 4),         "multicast (RFC 1112)"),
    // With 255.255.255.255, the limited broadcast.
    (v4(240, 0, 0, 0, 4),         "reserved (RFC 1112)"),

    (one(0, 0, 0),                "unspecified (RFC 4291)"),
    (one(0, 0, 1),                "loopback (RFC 4291)"),
    (v6(0, 0, 0, 0, 96),          "IPv4-compatible (RFC 4291)"),
    (TRANSLATED,                  "IPv4-translated (RFC 2765)"),
    (v6(0x64, 0xff9b, 1, 0, 48),  "local translation to IPv4 (RFC 8215)"),
    (v6(0x100, 0, 0, 0, 64),      "discard only (RFC 6666)"),
    (v6(0x100, 0, 0, 1, 64),      "dummy prefix (RFC 9780)"),
    // With benchmarking (RFC 5180) and ORCHID (RFC 4843, RFC 7343).
    (v6(0x2001, 0, 0, 0, 23),     "protocol assignments (RFC 2928)"),
    (v6(0x2001, 0, 0, 0, 32),     "Teredo (RFC 4380)"),
    (v6(0x2001, 0xdb8, 0, 0, 32), "documentation (RFC 3849)"),
    (v6(0x2002, 0, 0, 0, 16),     "6to4 (RFC 3056)"),
    (v6(0x3fff, 0, 0, 0, 20),     "documentation (RFC 9637)"),
    (v6(0x5f00, 0, 0, 0, 16),     "SRv6 segments (RFC 9602)"),
    (v6(0xfc00, 0, 0, 0, 7),      "unique local (RFC 4193)"),
    (one(0xfd00, 0xec2, 0x23),    "the credentials of a pod of AWS"),
    (one(0xfd00, 0xec2, 0x254),   "the metadata of AWS"),
    (one(0xfd20, 0xce, 0x254),    "the metadata of Google Cloud"),
    (v6(0xfe80, 0, 0, 0, 10),     "link-local (RFC 4291)"),
    (v6(0xfec0, 0, 0, 0, 10),     "site-local (RFC 3879)"),
    (v6(0xff00, 0, 0, 0, 8),      "multicast (RFC 4291)"),
];

/// `::ffff:0:0:0/96`.
const TRANSLATED: IpNet = IpNet::V6(Ipv6Net::new_assert(
    Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0),
    96,
));

/// All that has been assigned for use on the internet. RFC 4291 2.4: anything else is to be "Global Unicast", but IANA
/// assigns out of this network alone.
const GLOBAL_UNICAST: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// `64:ff9b::/96`, by which a host without IPv4 reaches IPv4 addresses (RFC 6052).
const NAT64: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// `::ffff:0:0/96`, IPv4 addresses in the form of IPv6 (RFC 4291 2.5.5.2).
const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// Returns whether all addresses of a network are ones that [`reached_by`] replaces.
pub(super) fn embeds_ipv4(network: IpNet) -> bool {
    match network {
        IpNet::V4(_) => false,
        IpNet::V6(network) => NAT64.contains(&network) || MAPPED.contains(&network),
    }
}

/// Returns the address that packets to `ip` arrive at in the end: the IPv4 address of one that is IPv4-mapped, and of
/// one that NAT64 translates.
pub(super) fn reached_by(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) if NAT64.contains(&ip) => {
            let [.., a, b, c, d] = ip.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        ip => ip,
    }
}

/// Returns whether an address that is in none of the special networks is one that is assigned at all.
pub(super) fn is_assigned(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => GLOBAL_UNICAST.contains(&ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_begin_where_they_say() {
        for (network, name) in SPECIAL_PURPOSE {
            assert_eq!(network, network.trunc(), "{name}");
        }
    }
}
