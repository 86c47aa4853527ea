//! Sockets that the service manager has opened, and passes to this process (`sd_listen_fds(3)`).
//!
//! They outlive the process: what the kernel has accepted when it stops is left for the next one.

use std::io;

use listenfd::ListenFd;

use super::{
    address::FIRST_FD,
    socket::{ListenSocket, SocketKind},
};

/// The sockets that were passed to this process and have not been taken.
pub(crate) struct InheritedSockets {
    found: ListenFd,
    /// The descriptors that were passed.
    passed: Vec<usize>,
}

impl InheritedSockets {
    /// Finds what was passed to this process, by `LISTEN_FDS` and `LISTEN_PID`.
    pub(crate) fn find() -> Self {
        let found = ListenFd::from_env();
        Self {
            passed: (FIRST_FD..FIRST_FD + found.len()).collect(),
            found,
        }
    }

    /// Returns the descriptors that were passed and have not been taken.
    pub(crate) fn left(&self) -> &[usize] {
        &self.passed
    }

    /// Takes the socket with this descriptor.
    ///
    /// # Errors
    ///
    /// Returns an error if there is none, it has been taken, or it is not a socket that listens.
    pub(super) fn take(&mut self, descriptor: usize) -> io::Result<ListenSocket> {
        let not_passed = || {
            let told = "the service manager has not passed this file descriptor, or it is taken";
            io::Error::new(io::ErrorKind::NotFound, told)
        };
        let at = self.passed.iter().position(|passed| *passed == descriptor);
        self.passed.remove(at.ok_or_else(not_passed)?);
        let index = descriptor - FIRST_FD;
        let tcp = self.found.take_tcp_listener(index);
        let kind = match tcp {
            Ok(socket) => socket.map(SocketKind::Tcp),
            #[cfg(unix)]
            Err(_) => self.found.take_unix_listener(index)?.map(SocketKind::Unix),
            #[cfg(not(unix))]
            Err(error) => return Err(error),
        };
        let socket = ListenSocket::inherited(kind.ok_or_else(not_passed)?);
        socket.set_nonblocking()?;
        Ok(socket)
    }
}
