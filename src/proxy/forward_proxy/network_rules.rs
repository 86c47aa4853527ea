//! Which addresses may be connected to.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
};

use ipnet::IpNet;

use super::special_purpose::{SPECIAL_PURPOSE, embeds_ipv4, is_assigned, reached_by};
use crate::{error::Error, proxy::reverse_proxy::parse_network};

/// Rules about networks, the most specific of which decides about an address.
///
/// Of two rules about the same network, the user's precedes a built-in one, and one that denies precedes one that
/// allows. The built-in rules take part, so a rule that allows `10.0.0.0/8` does so, while one that allows `0.0.0.0/0`
/// has no effect on any special network.
#[derive(Clone, Debug, Default)]
pub(super) struct NetworkRules {
    rules: Vec<NetworkRule>,
}

#[derive(Clone, Copy, Debug)]
struct NetworkRule {
    network: IpNet,
    allows: bool,
}

impl NetworkRules {
    /// Adds a rule.
    ///
    /// # Errors
    ///
    /// Returns a config error that names `setting` and what is neither an address nor a network, or a network of IPv6
    /// addresses that embed IPv4 addresses, which are checked in their place.
    pub(super) fn add(
        &mut self,
        setting: &'static str,
        network: &str,
        allows: bool,
    ) -> Result<(), Error> {
        let text = network;
        let network = parse_network(setting, text)?;
        if embeds_ipv4(network) {
            let why = "is checked as the IPv4 addresses in it: name those";
            return Err(Error::config(setting, format!("{text:?} {why}")));
        }
        self.rules.push(NetworkRule { network, allows });
        Ok(())
    }

    /// Returns why an address must not be connected to.
    ///
    /// An address that embeds an IPv4 address is judged as that one.
    pub(super) fn check(&self, ip: IpAddr) -> Result<(), &'static str> {
        let ip = reached_by(ip);
        let own = self.rules.iter().filter(|rule| rule.network.contains(&ip));
        let own = own.max_by_key(|rule| (rule.network.prefix_len(), !rule.allows));
        let special = SPECIAL_PURPOSE
            .iter()
            .filter(|(network, _)| network.contains(&ip));
        let special = special.max_by_key(|(network, _)| network.prefix_len());
        let decided = match (own, special) {
            (Some(own), Some((network, name)))
                if own.network.prefix_len() < network.prefix_len() =>
            {
                Err(*name)
            }
            (Some(own), _) if own.allows => Ok(()),
            (Some(_), _) => Err("in a network that is denied"),
            (None, Some((_, name))) => Err(*name),
            (None, None) if !is_assigned(ip) => Err("not assigned"),
            (None, None) => Ok(()),
        };
        // Such an address is as specific as a rule can be. Only loopback may be allowed as a network.
        let is_named =
            own.is_some_and(|own| own.network.prefix_len() == own.network.max_prefix_len());
        if decided.is_ok() && !is_named && !ip.is_loopback() {
            return match is_of_this_host(ip, datagram_socket(ip)) {
                Ok(false) => Ok(()),
                Ok(true) => Err("an address of this host"),
                Err(_) => Err("perhaps an address of this host, which takes a socket to tell"),
            };
        }
        decided
    }
}

/// Returns a datagram socket of the family of an address, which is not connected yet.
fn datagram_socket(ip: IpAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match ip {
        IpAddr::V4(_) => ([0; 4], 0).into(),
        IpAddr::V6(_) => ([0; 16], 0).into(),
    };
    UdpSocket::bind(any)
}

/// Returns whether an address is one of this host's own, on which services may listen that are not meant for clients of
/// the proxy.
///
/// A packet to an own address is sent from that address. A datagram socket tells from where it would send, and sends
/// nothing.
///
/// # Errors
///
/// There is no socket, so it cannot be told. A process that is out of file descriptors may have one again a moment
/// later, to connect with.
fn is_of_this_host(ip: IpAddr, socket: io::Result<UdpSocket>) -> io::Result<bool> {
    let socket = socket?;
    // Any port but 0 will do.
    let routed = socket.connect((ip, 9)).and_then(|()| socket.local_addr());
    // Without a route, connecting will fail with a better error.
    Ok(routed.is_ok_and(|from| from.ip() == ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, bool)]) -> NetworkRules {
        let mut all = NetworkRules::default();
        for (network, allows) in rules {
            all.add("networks", network, *allows).unwrap();
        }
        all
    }

    fn allows(rules: &NetworkRules, ip: &str) -> bool {
        rules.check(ip.parse().unwrap()).is_ok()
    }

    #[test]
    fn what_is_not_public_is_denied() {
        let default = NetworkRules::default();
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::808:808",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:0:127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a00:1",
            "100::1",
            "2001::1",
            "2001:0:7f00:1::",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:808:808::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!allows(&default, ip), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "8.8.8.8",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "192.31.196.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2606:4700:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(allows(&default, ip), "{ip}");
        }
    }

    #[test]
    fn the_most_specific_rule_decides() {
        let own = rules(&[
            ("10.0.0.0/8", true),
            ("10.1.0.0/16", false),
            ("10.1.2.3", true),
            ("8.8.0.0/16", false),
            ("8.8.8.0/24", false),
            ("8.8.8.0/24", true),
        ]);
        for (ip, allowed) in [
            ("10.0.0.1", true),
            ("10.1.0.1", false),
            ("10.1.2.3", true),
            ("::ffff:10.0.0.1", true),
            ("64:ff9b::a01:1", false),
            ("8.8.1.1", false),
            ("8.8.8.8", false),
            ("192.168.0.1", false),
        ] {
            assert_eq!(allows(&own, ip), allowed, "{ip}");
        }
        let only = rules(&[("0.0.0.0/0", false), ("::/0", false), ("8.8.8.8", true)]);
        assert!(allows(&only, "8.8.8.8") && !allows(&only, "8.8.4.4"));
        assert!(!allows(&only, "2606:4700:4700::1111"));
    }

    /// A rule that allows more than was intended does not allow the metadata of a cloud.
    #[test]
    fn a_wide_rule_opens_nothing_special() {
        let wide = rules(&[("0.0.0.0/0", true), ("::/0", true)]);
        for ip in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "::1",
            "fd00:ec2::254",
        ] {
            assert!(!allows(&wide, ip), "{ip}");
        }
        let local = rules(&[
            ("169.254.0.0/16", true),
            ("100.64.0.0/10", true),
            ("fc00::/7", true),
        ]);
        for ip in ["169.254.169.254", "100.100.100.200", "fd00:ec2::254"] {
            assert!(!allows(&local, ip), "{ip}");
        }
        assert!(allows(&local, "169.254.1.1") && allows(&local, "fd00::1"));
        let metadata = rules(&[("169.254.169.254", true)]);
        assert!(allows(&metadata, "169.254.169.254"));
    }

    #[test]
    fn addresses_of_this_host_are_known() {
        let is_own = |ip: [u8; 4]| is_of_this_host(ip.into(), datagram_socket(ip.into()));
        assert!(is_own([127, 0, 0, 1]).unwrap());
        assert!(!is_own([192, 0, 2, 1]).unwrap());
    }

    #[test]
    fn without_a_socket_no_address_passes_for_foreign() {
        let exhausted = || Err(io::Error::other("no file descriptor is left"));
        assert!(is_of_this_host([8, 8, 8, 8].into(), exhausted()).is_err());
    }

    /// Such a rule would never match, because the IPv4 address is checked.
    #[test]
    fn a_network_of_embedded_addresses_is_no_rule() {
        for network in [
            "64:ff9b::/96",
            "64:ff9b::a00:0/104",
            "::ffff:10.0.0.1",
            "::ffff:0:0/96",
        ] {
            let error = NetworkRules::default().add("deny_networks", network, false);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(network), "{error}");
        }
        assert!(!allows(&rules(&[("::/0", false)]), "2606:4700:4700::1111"));
    }

    /// To open the network of this host does not open this host. Without a network there is nothing to be shown.
    #[test]
    fn an_address_of_this_host_has_to_be_allowed_by_itself() {
        let routed = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
            socket.connect("192.0.2.1:9")?;
            socket.local_addr()
        });
        let Some(own) = routed.ok().filter(|own| !own.ip().is_loopback()) else {
            return;
        };
        let ip = own.ip().to_string();
        let network = IpNet::new(own.ip(), 31).unwrap().trunc().to_string();
        assert_eq!(
            rules(&[(&network, true)]).check(own.ip()),
            Err("an address of this host")
        );
        assert!(allows(&rules(&[(&network, true), (&ip, true)]), &ip));
    }

    #[test]
    fn what_is_no_network_is_named() {
        let error = NetworkRules::default().add("allow_networks", "10.0.0.0/33", true);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("allow_networks") && error.contains("10.0.0.0/33"),
            "{error}"
        );
    }
}
