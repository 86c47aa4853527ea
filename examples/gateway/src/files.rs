//! Divides the files that this process may have open between connections of clients and connections to endpoints.

use axum_upstream::config::Config;

/// The number of files that are kept for the log, look-ups of names and the like.
const OWN: usize = 24;
/// The number of files of each listener: itself, its runtime, and a connection that waits for its place.
const PER_LISTENER: usize = 8;

/// How many endpoints a source is taken to find.
const PER_SOURCE: usize = 64;
/// The number of connections that each endpoint has where there are sources: most find few endpoints, and where few
/// files may be open, each would hardly have one.
const WITH_SOURCES: usize = 32;
/// How many endpoints a configuration file is taken to have at least. It may get more of them while it is followed.
const PER_FILE: usize = 8;

/// The endpoints that connections are divided among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndpointCount {
    /// The number of those that are known.
    named: usize,
    /// The number of sources that find more.
    sources: usize,
}

impl EndpointCount {
    /// Counts those of the command line.
    pub(crate) fn of_flags(named: usize, sources: usize) -> Self {
        Self { named, sources }
    }

    /// Counts those of a file.
    pub(crate) fn of_file(config: &Config) -> Self {
        let clusters = config.clusters.values();
        let named = clusters.clone().flat_map(|cluster| &cluster.endpoints);
        let named = named.map(Vec::len).sum::<usize>().max(PER_FILE);
        let sources = clusters.filter(|cluster| cluster.discover.is_some());
        Self {
            named,
            sources: sources.count(),
        }
    }

    /// Returns how many connections each endpoint gets of these.
    fn share_of(self, connections: usize) -> usize {
        let endpoints = self.named + PER_SOURCE * self.sources;
        let least = match self.sources {
            0 => 1,
            _ => WITH_SOURCES.min(connections).max(1),
        };
        (connections / endpoints.max(1)).max(least)
    }
}

/// How many connections there may be, so that those of clients leave enough for those to endpoints.
///
/// Without these limits, clients that hold connections and ask for nothing would take the last file, and the requests
/// of all others would fail for want of a connection to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConnectionShares {
    /// The largest number of connections of clients.
    pub(crate) clients: usize,
    /// The largest number of connections to each endpoint, in use or not.
    pub(crate) per_endpoint: usize,
}

impl ConnectionShares {
    /// Divides the files that this process may have open. Clients get as many connections as asked for, or three
    /// quarters.
    ///
    /// Raises the process's soft limit to its hard limit.
    pub(crate) fn share(
        clients: Option<usize>,
        endpoints: EndpointCount,
        listeners: usize,
    ) -> Self {
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
    fn of(files: usize, clients: Option<usize>, endpoints: EndpointCount) -> Self {
        let clients = clients.unwrap_or(files / 4 * 3).max(1);
        // tokio's semaphores have a maximum. More connections than that would not fit into memory either.
        Self {
            clients: clients.min(tokio::sync::Semaphore::MAX_PERMITS),
            per_endpoint: endpoints.share_of(files.saturating_sub(clients)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(files: usize, clients: Option<usize>, endpoints: usize) -> (usize, usize) {
        let connections =
            ConnectionShares::of(files, clients, EndpointCount::of_flags(endpoints, 0));
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

    #[test]
    fn sources_are_taken_to_find_many_endpoints() {
        let share = |connections, named, sources| {
            EndpointCount::of_flags(named, sources).share_of(connections)
        };
        assert_eq!(share(131_072, 0, 1), 2048);
        assert_eq!(share(131_072, 64, 1), 1024);
        assert_eq!(share(250, 0, 1), 32);
        assert_eq!(share(12, 0, 1), 12);
        assert_eq!(share(0, 0, 1), 1);
    }

    #[test]
    fn the_endpoints_of_a_file_are_counted() {
        let count = |text: &str| EndpointCount::of_file(&text.parse().unwrap());
        assert_eq!(count("").named, PER_FILE);
        let nine = "[clusters.a]\nendpoints = [\"http://a\", \"http://b\", \"http://c\"]\n\
                    [clusters.b]\nendpoints = [\"http://d\", \"http://e\", \"http://f\"]\n\
                    [clusters.c]\nendpoints = [\"http://g\", \"http://h\", \"http://i\"]\n";
        assert_eq!(count(nine), EndpointCount::of_flags(9, 0));
    }
}
