//! Tells what this process has run out of from what an endpoint fails with.
//!
//! A process without file descriptors fails to connect to any endpoint. If each failure counted against its endpoint,
//! all would be ejected for what none has done. So such errors are `LocalResources`, which count against none.
//!
//! Two failures disguise themselves, and are probed for with a datagram socket, which sends nothing: a resolver that
//! cannot open a socket reports an unknown name ([`shortage_now`]); and a host without IPv6 reports the error of
//! exhausted ports ([`has_no_source_address`]).

use std::{
    error::Error as StdError,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

/// Error codes of the operating system that have no [`io::ErrorKind`]: no descriptor left in the process or the system,
/// no buffer left.
#[cfg(unix)]
const CODES: [i32; 3] = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS];
/// WSAEMFILE and WSAENOBUFS.
#[cfg(windows)]
const CODES: [i32; 2] = [10024, 10055];
/// None is known.
#[cfg(not(any(unix, windows)))]
const CODES: [i32; 0] = [];

/// Returns whether the cause of an error is that this process, or the system under it, is out of file descriptors,
/// ports, buffers or memory. Looks through the whole chain of sources.
///
/// No endpoint is to blame for that, and another one could be reached no better.
pub(super) fn is_local_shortage(error: &(dyn StdError + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        next = match error.downcast_ref::<io::Error>() {
            Some(io) if is_shortage(io) => return true,
            // `source` of an `io::Error` skips the very error that it wraps.
            Some(io) => io.get_ref().map(|error| error as _),
            None => error.source(),
        };
    }
    false
}

/// Returns whether this error itself is a shortage.
fn is_shortage(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, OutOfMemory};
    matches!(error.kind(), AddrNotAvailable | OutOfMemory)
        || error
            .raw_os_error()
            .is_some_and(|code| CODES.contains(&code))
}

/// Returns the shortage behind a lookup that has failed, if there still is one.
///
/// A resolver that can open neither its settings nor a socket reports that the name does not exist.
pub(super) fn shortage_now() -> Option<io::Error> {
    let probed = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
    probed.err().filter(is_shortage)
}

/// Returns whether this host has no address from which `address` can be reached, as where IPv6 is turned off.
///
/// `connect` fails with EADDRNOTAVAIL then, as it does when the ports have run out. A datagram socket, whose ports are
/// separate, tells which. Connecting it sends nothing.
pub(super) fn has_no_source_address(address: SocketAddr) -> bool {
    let any = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let probed = UdpSocket::bind((any, 0)).and_then(|socket| socket.connect(address));
    probed.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{BoxError, Error, ErrorKind};

    #[cfg(unix)]
    #[test]
    fn local_shortages_are_told_from_failures_of_the_endpoint() {
        for code in [
            libc::EMFILE,
            libc::ENFILE,
            libc::EADDRNOTAVAIL,
            libc::ENOBUFS,
            libc::ENOMEM,
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert!(is_local_shortage(&error), "{error}");
        }
        for code in [
            libc::ECONNREFUSED,
            libc::ECONNRESET,
            libc::EHOSTUNREACH,
            libc::ENETUNREACH,
            libc::ETIMEDOUT,
            libc::ENOENT,
            libc::EACCES,
            libc::EAGAIN,
        ] {
            let error = io::Error::from_raw_os_error(code);
            assert!(!is_local_shortage(&error), "{error}");
        }
    }

    #[test]
    fn the_cause_is_found_however_deep_it_is() {
        let cause = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let wrapped: BoxError = Error::new(ErrorKind::Connect).with(cause()).into();
        assert!(is_local_shortage(&*wrapped));
        assert!(is_local_shortage(&io::Error::other(wrapped)));
        assert!(is_local_shortage(&io::Error::other(cause())));
        assert!(!is_local_shortage(&io::Error::other("no such name")));
    }

    #[test]
    fn a_host_can_always_reach_itself() {
        assert!(!has_no_source_address(([127, 0, 0, 1], 1).into()));
        assert!(shortage_now().is_none());
    }

    /// Holds on a host with IPv6 and on one without it.
    #[test]
    fn a_family_that_is_turned_off_has_no_source_address() {
        let off = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0))
            .is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable);
        assert_eq!(has_no_source_address((Ipv6Addr::LOCALHOST, 1).into()), off);
    }
}
