//! What is logged of connections that are refused.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

/// Logs the connections of one listener that are refused for one reason.
///
/// A wrong setting, such as a certificate that clients do not accept, refuses all of them, and has to be seen without a
/// flag. Any client can have itself refused, so it is a warning only once until a connection gets through.
#[derive(Debug, Default)]
pub(crate) struct RefusalLog {
    is_reported: AtomicBool,
}

impl RefusalLog {
    /// Logs the error of a connection, and notes that one got through.
    pub(super) fn note<T>(
        &self,
        result: io::Result<T>,
        listener: &str,
        peer: Option<SocketAddr>,
    ) -> io::Result<T> {
        match &result {
            // Most of the time there is nothing to note, and no reason to write to memory that threads share.
            Ok(_) if !self.is_reported.load(Relaxed) => {}
            Ok(_) => self.is_reported.store(false, Relaxed),
            Err(error) if is_leaving(error) => {}
            Err(error) => {
                if !self.is_reported.swap(true, Relaxed) {
                    tracing::warn!(listener, ?peer, %error, "connections are refused; the next are logged as debug");
                }
            }
        }
        result
    }
}

/// Returns whether the client has only closed the connection, as a load balancer does that checks a port.
fn is_leaving(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
    )
}
