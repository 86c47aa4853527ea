//! [`WatchedFile`]: endpoints that are the lines of a file, or an array in TOML.

mod entries;
mod source;

use std::{path::PathBuf, time::Duration};

use self::source::FileSettings;
use super::source_stream::{SHORTEST_TIME, SourceStream, discovers};
use crate::upstream::ClientBuilder;

/// Discovers endpoints by the entries of a file, and follows its changes.
///
/// It is a [`Discover`](super::Discover), to be given to
/// [`LoadBalanceBuilder::discover`](crate::balance::LoadBalanceBuilder::discover):
///
/// ```no_run
/// use axum_upstream::{LoadBalance, discover::WatchedFile};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_upstream::Error> {
/// let backends = LoadBalance::builder().discover(WatchedFile::new("/etc/app/endpoints"))?;
/// # Ok(())
/// # }
/// ```
///
/// Each line is a URL with the options of [`EndpointSpec::url`](crate::EndpointSpec::url). Lines that are empty or
/// begin with `#` are skipped:
///
/// ```text
/// # The new machines.
/// http://10.0.0.1:8080
/// http://10.0.0.2:8080;weight=2
/// ```
///
/// A file whose name ends with `.toml` is in TOML instead. It has an array `endpoints`, of URLs or of tables:
///
/// ```toml
/// endpoints = [
///     "http://10.0.0.1:8080",
///     { url = "http://10.0.0.2:8080", weight = 2, priority = 1 },
/// ]
/// ```
///
/// In a table, `weight` is 1 by default, and `priority`, the [tier](crate::EndpointSpec::priority), 0.
///
/// # What becomes of a change
///
/// | the file | what becomes of it |
/// |---|---|
/// | is replaced, by a rename or as a mounted ConfigMap | its entries are the set. What is not in it any more drains |
/// | is written in place | the same, once its folder was quiet for 100 ms |
/// | ends within a line | it is taken once it has stayed as it is for half a second: it may be written still |
/// | has an entry that is no endpoint | it is skipped, with a warning that names its line |
/// | is no TOML, or has no array `endpoints` | an error. The last set stays |
/// | has no endpoints | an error, unless [`allow_empty`](Self::allow_empty) has it believed. The last set stays |
/// | has `endpoints = []` | it states that there are none, which is believed |
/// | is gone, cannot be read, is not UTF-8 or larger than 16 MiB | an error. The last set stays |
///
/// To change the file, write a new one beside it and rename it: a file that is written in place, slowly and line by
/// line, may be read in between.
///
/// The folder of the file is watched. What changes elsewhere, as when the file is a link to another folder, and what is
/// on a file system that reports no changes, such as NFS, is found by the next [regular look](Self::interval).
#[derive(Debug)]
pub struct WatchedFile(SourceStream<FileSettings>);

discovers!(WatchedFile);

impl WatchedFile {
    /// Discovers the endpoints in a file. It need not be there yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(SourceStream::new(FileSettings {
            path: path.into(),
            client: ClientBuilder::default(),
            interval: Duration::from_secs(10),
        }))
    }

    /// Sets how the endpoints are connected to. Default: a [`ClientBuilder`] as it is.
    #[must_use]
    pub fn client(mut self, settings: ClientBuilder) -> Self {
        self.0.settings.client = settings;
        self
    }

    /// Sets how often the file is read where no change is reported. Default: every 10 s. `Duration::MAX` relies on the
    /// reports. Less than 100 ms counts as 100 ms.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.0.settings.interval = interval.max(SHORTEST_TIME);
        self
    }

    /// Believes a file without endpoints. Default: it is an error, and the last endpoints stay.
    #[must_use]
    pub fn allow_empty(mut self) -> Self {
        self.0.allows_empty = true;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_may_be_zero() {
        for (interval, taken) in [
            (Duration::ZERO, SHORTEST_TIME),
            (Duration::MAX, Duration::MAX),
        ] {
            let file = WatchedFile::new("a").interval(interval);
            assert_eq!(file.0.settings.interval, taken);
        }
    }
}
