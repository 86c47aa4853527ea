//! Where to listen, as it is written on the command line and in a file.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::Deserialize;

/// The file descriptor of the first socket that a service manager passes (`sd_listen_fds(3)`).
pub(crate) const FIRST_FD: usize = 3;

/// Where a listener listens: `127.0.0.1:8080`, `unix:/run/gateway.sock` or `fd:3`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum ListenAddress {
    /// On an address and a port. Port 0 leaves the port to the system.
    Tcp(SocketAddr),
    /// On a Unix socket at this path.
    Unix(PathBuf),
    /// On a socket that the service manager has opened, and passes as this file descriptor.
    Fd(usize),
}

impl Default for ListenAddress {
    /// A port of this machine.
    fn default() -> Self {
        Self::Tcp(SocketAddr::from(([127, 0, 0, 1], 8080)))
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            return match path.is_absolute() && cfg!(unix) {
                true => Ok(Self::Unix(path.to_owned())),
                false => Err("must be an absolute path, like unix:/run/gateway.sock"),
            };
        }
        if let Some(number) = text.strip_prefix("fd:") {
            let number = number.parse().ok().filter(|number| *number >= FIRST_FD);
            return number
                .map(Self::Fd)
                .ok_or("must be 3 or more, like fd:3, the first socket of a systemd unit");
        }
        text.parse().map(Self::Tcp).map_err(
            |_| "must be an address and a port, like 127.0.0.1:8080, or unix:/path, or fd:3",
        )
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Fd(number) => write!(f, "fd:{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in [
            "127.0.0.1:8080",
            "[::1]:0",
            "unix:/run/a b.sock",
            "fd:3",
            "fd:12",
        ] {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), text);
        }
        for text in [
            "", "8080", "a:80", "unix:", "unix:a", "fd:", "fd:2", "fd:-1", "fd:x",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
