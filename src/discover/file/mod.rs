//! [`WatchedFile`]: endpoints that are the lines of a file.

mod source;
mod watch;

use std::{
    fmt,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;

use self::source::{FileSettings, FileSource};
use super::set_reader::{NamedChange, SetReader};
use crate::{error::BoxError, upstream::ClientBuilder};

/// Discovers endpoints by the lines of a file, and follows its changes.
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
/// # What becomes of a change
///
/// | the file | what becomes of it |
/// |---|---|
/// | is replaced, by a rename or as a mounted ConfigMap | its lines are the set. What is not in it any more drains |
/// | is written in place | the same, once its folder was quiet for 100 ms |
/// | ends within a line | it is taken once it has stayed as it is for half a second: it may be written still |
/// | has a line that is no URL | the line is skipped, with a warning that names it |
/// | has no endpoints | an error, unless [`allow_empty`](Self::allow_empty) has it believed. The last set stays |
/// | is gone, cannot be read, is not UTF-8 or larger than 16 MiB | an error. The last set stays |
///
/// Whoever writes the file should write another one beside it, and rename that: a file that is written in place, slowly
/// and line by line, may be read in between.
///
/// The folder of the file is watched. What changes elsewhere, as when the file is a link to another folder, and what is
/// on a file system that reports no changes, such as NFS, is found by the next [regular look](Self::interval).
pub struct WatchedFile {
    settings: FileSettings,
    allows_empty: bool,
    /// What reads the file, from the first poll on.
    reader: Option<SetReader<FileSource>>,
}

impl WatchedFile {
    /// Discovers the endpoints in a file. It need not be there yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            settings: FileSettings {
                path: path.into(),
                client: ClientBuilder::default(),
                interval: Duration::from_secs(10),
            },
            allows_empty: false,
            reader: None,
        }
    }

    /// Sets how the endpoints are connected to. Default: a [`ClientBuilder`] as it is.
    #[must_use]
    pub fn client(mut self, settings: ClientBuilder) -> Self {
        self.settings.client = settings;
        self
    }

    /// Sets how often the file is read where no change is reported. Default: every 10 s. `Duration::MAX` relies on the
    /// reports.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.settings.interval = interval;
        self
    }

    /// Believes a file without endpoints. Default: it is an error, and the last endpoints stay.
    #[must_use]
    pub fn allow_empty(mut self) -> Self {
        self.allows_empty = true;
        self
    }
}

impl Stream for WatchedFile {
    type Item = Result<NamedChange, BoxError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let reader = this.reader.get_or_insert_with(|| {
            SetReader::new(FileSource::new(this.settings.clone()), this.allows_empty)
        });
        Pin::new(reader).poll_next(cx)
    }
}

impl fmt::Debug for WatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedFile")
            .field("settings", &self.settings)
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}
