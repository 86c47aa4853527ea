//! Divides the files that this process may have open between connections of clients and connections to endpoints.

/// The number of files that are kept for the log, look-ups of names and the like.
const OWN: usize = 24;
/// The number of files of each listener: itself, its runtime, and a connection that waits for its place.
const PER_LISTENER: usize = 8;

/// How many connections there may be, so that those of clients leave enough for those to endpoints.
///
/// Without these limits, clients that hold connections and ask for nothing would take the last file, and the requests
/// of all others would fail for want of a connection to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connections {
    /// The largest number of connections of clients.
    pub(crate) clients: usize,
    /// The largest number of connections to each endpoint, in use or not.
    pub(crate) per_endpoint: usize,
}

impl Connections {
    /// Divides the files that this process may have open. Clients get as many connections as asked for, or three
    /// quarters.
    ///
    /// Raises the process's soft limit to its hard limit.
    pub(crate) fn share(clients: Option<usize>, endpoints: usize, listeners: usize) -> Self {
        // A process starts with a low soft limit for the sake of select(2). The hard limit is the one that is meant.
        let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
            tracing::debug!(%error, "cannot raise the limit of open files");
            1024
        });
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let own = OWN + PER_LISTENER * listeners;
        Self::of(files.saturating_sub(own), clients, endpoints)
    }

    /// Divides `files` files, without those of its own. Each side gets at least one connection.
    fn of(files: usize, clients: Option<usize>, endpoints: usize) -> Self {
        let clients = clients.unwrap_or(files / 4 * 3).max(1);
        let per_endpoint = files.saturating_sub(clients) / endpoints.max(1);
        // tokio's semaphores have a maximum. More connections than that would not fit into memory either.
        Self {
            clients: clients.min(tokio::sync::Semaphore::MAX_PERMITS),
            per_endpoint: per_endpoint.max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: usize, clients: Option<usize>, endpoints: usize) -> (usize, usize) {
        let connections = Connections::of(files, clients, endpoints);
        (connections.clients, connections.per_endpoint)
    }

    #[test]
    fn clients_leave_enough_for_endpoints() {
        assert_eq!(of(1000, None, 2), (750, 125));
        assert_eq!(of(1000, Some(500), 5), (500, 100));
        assert_eq!(of(0, None, 3), (1, 1));
        assert_eq!(of(1000, Some(5000), 3), (5000, 1));
        assert_eq!(
            of(usize::MAX, None, 1).0,
            tokio::sync::Semaphore::MAX_PERMITS
        );
    }
}
