//! The PROXY header, which tells an endpoint the address of the client before anything else is sent.
//!
//! It is written as <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt> defines it, whose sections are cited
//! here. No crate is used for it: the hard part, which crates exist for, is reading headers, and a client only writes
//! them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::record::ClientConnection;

/// A version of the PROXY protocol: see
/// [`ClientBuilder::proxy_protocol`](crate::upstream::ClientBuilder::proxy_protocol).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyProtocol {
    /// Version 1, a line of text.
    V1,
    /// Version 2, which is binary.
    V2,
}

/// What version 2 begins with (2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Version 2 with the command of a proxy that speaks for itself (2.2).
const LOCAL: u8 = 0x20;

/// Version 2 with the command of a proxy that speaks for a client (2.2).
const PROXY: u8 = 0x21;

impl ProxyProtocol {
    /// Returns the header of a connection to `server` for the requests of `client`.
    ///
    /// Without a client, the connection is the proxy's own. A header has two addresses or none, so a server whose
    /// address is unknown, such as one behind a Unix socket, has the unspecified one.
    pub(super) fn header(
        self,
        client: Option<ClientConnection>,
        server: Option<SocketAddr>,
    ) -> Vec<u8> {
        let addresses = client.map(|client| Addresses::of(client.source(), server));
        match self {
            Self::V1 => line(addresses),
            Self::V2 => block(addresses),
        }
    }
}

/// The addresses of the client and of the server, and their ports.
#[derive(Clone, Copy, Debug)]
enum Addresses {
    V4([Ipv4Addr; 2], [u16; 2]),
    V6([Ipv6Addr; 2], [u16; 2]),
}

impl Addresses {
    /// Returns the addresses in one family: IPv4 if both are of it, else IPv6, to which an IPv4 address is mapped.
    fn of(source: SocketAddr, server: Option<SocketAddr>) -> Self {
        let from = source.ip().to_canonical();
        let to = server.map(|server| server.ip().to_canonical());
        let ports = [source.port(), server.map_or(0, |server| server.port())];
        match (from, to) {
            (IpAddr::V4(from), None) => Self::V4([from, Ipv4Addr::UNSPECIFIED], ports),
            (IpAddr::V4(from), Some(IpAddr::V4(to))) => Self::V4([from, to], ports),
            (from, to) => {
                let to = to.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
                Self::V6([from, to].map(as_v6), ports)
            }
        }
    }
}

/// Returns an IPv6 address: the same one, or the one that an IPv4 address is mapped to.
fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

/// Returns the line of version 1 (2.1).
fn line(addresses: Option<Addresses>) -> Vec<u8> {
    let line = match addresses {
        None => "PROXY UNKNOWN\r\n".into(),
        Some(Addresses::V4([from, to], [port, to_port])) => {
            format!("PROXY TCP4 {from} {to} {port} {to_port}\r\n")
        }
        Some(Addresses::V6(ips, [port, to_port])) => {
            let [from, to] = ips.map(hexadecimal);
            format!("PROXY TCP6 {from} {to} {port} {to_port}\r\n")
        }
    };
    line.into_bytes()
}

/// Returns the text of an address. 2.1: "sets of 4 hexadecimal digits", so a mapped IPv4 address must not end in the
/// dotted form that it is otherwise displayed in.
fn hexadecimal(ip: Ipv6Addr) -> String {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => format!("::ffff:{high:x}:{low:x}"),
        _ => ip.to_string(),
    }
}

/// Returns the block of version 2 (2.2).
fn block(addresses: Option<Addresses>) -> Vec<u8> {
    let mut block = SIGNATURE.to_vec();
    // The version and the command, the family and the transport, the length of what follows, and that.
    let ports = match addresses {
        None => {
            block.extend([LOCAL, 0x00, 0, 0]);
            return block;
        }
        Some(Addresses::V4(ips, ports)) => {
            block.extend([PROXY, 0x11, 0, 12]);
            block.extend(ips.iter().flat_map(Ipv4Addr::octets));
            ports
        }
        Some(Addresses::V6(ips, ports)) => {
            block.extend([PROXY, 0x21, 0, 36]);
            block.extend(ips.iter().flat_map(Ipv6Addr::octets));
            ports
        }
    };
    block.extend(ports.into_iter().flat_map(u16::to_be_bytes));
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ClientFacts;

    /// The header for a client of `peer`, whose trusted address is `client`.
    fn header(version: ProxyProtocol, peer: &str, client: &str, server: &str) -> Vec<u8> {
        let facts = ClientFacts {
            address: client.parse().ok(),
            peer: Some(peer.parse().unwrap()),
            tls: false,
        };
        version.header(facts.connection(), server.parse().ok())
    }

    fn v1(peer: &str, client: &str, server: &str) -> String {
        let header = header(ProxyProtocol::V1, peer, client, server);
        String::from_utf8(header).unwrap()
    }

    #[test]
    fn the_line_has_both_addresses_in_one_family() {
        for (peer, client, server, line) in [
            (
                "192.0.2.1:9",
                "192.0.2.1",
                "10.0.0.1:80",
                "TCP4 192.0.2.1 10.0.0.1 9 80",
            ),
            (
                "[::ffff:192.0.2.1]:9",
                "192.0.2.1",
                "10.0.0.1:80",
                "TCP4 192.0.2.1 10.0.0.1 9 80",
            ),
            (
                "[2001:db8::1]:9",
                "2001:db8::1",
                "[::1]:80",
                "TCP6 2001:db8::1 ::1 9 80",
            ),
            (
                "192.0.2.1:9",
                "192.0.2.1",
                "[::1]:80",
                "TCP6 ::ffff:c000:201 ::1 9 80",
            ),
            (
                "[2001:db8::1]:9",
                "2001:db8::1",
                "10.0.0.1:80",
                "TCP6 2001:db8::1 ::ffff:a00:1 9 80",
            ),
            // The port of a client that a trusted proxy names is unknown.
            (
                "192.0.2.1:9",
                "198.51.100.7",
                "10.0.0.1:80",
                "TCP4 198.51.100.7 10.0.0.1 0 80",
            ),
            (
                "192.0.2.1:9",
                "192.0.2.1",
                "a Unix socket",
                "TCP4 192.0.2.1 0.0.0.0 9 0",
            ),
            ("[::1]:9", "::1", "a Unix socket", "TCP6 ::1 :: 9 0"),
        ] {
            assert_eq!(v1(peer, client, server), format!("PROXY {line}\r\n"));
        }
    }

    /// 2.1: "so a 108-byte buffer is always enough to store all the line and a trailing zero".
    #[test]
    fn the_longest_line_has_104_bytes() {
        let full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let socket = format!("[{full}]:65535");
        assert_eq!(v1(&socket, full, &socket).len(), 104);
    }

    #[test]
    fn the_block_has_the_addresses_and_then_the_ports() {
        let v4 = header(
            ProxyProtocol::V2,
            "192.0.2.1:258",
            "192.0.2.1",
            "10.0.0.1:80",
        );
        let mut expected = SIGNATURE.to_vec();
        expected.extend([0x21, 0x11, 0, 12, 192, 0, 2, 1, 10, 0, 0, 1, 1, 2, 0, 80]);
        assert_eq!(v4, expected);
        let v6 = header(
            ProxyProtocol::V2,
            "[2001:db8::1]:258",
            "2001:db8::1",
            "10.0.0.1:80",
        );
        assert_eq!(v6.len(), 16 + 36);
        assert_eq!(v6[12..20], [0x21, 0x21, 0, 36, 0x20, 0x01, 0x0d, 0xb8]);
        assert_eq!(v6[42..], [0xff, 0xff, 10, 0, 0, 1, 1, 2, 0, 80]);
    }

    #[test]
    fn without_a_client_there_are_no_addresses() {
        let server = "10.0.0.1:80".parse().ok();
        let header = |version: ProxyProtocol| version.header(None, server);
        assert_eq!(header(ProxyProtocol::V1), b"PROXY UNKNOWN\r\n");
        assert_eq!(header(ProxyProtocol::V2)[12..], [LOCAL, 0, 0, 0]);
    }
}
