//! Notices that something in a folder has changed.
//!
//! Folders are watched and not files: a file that is replaced by a rename is another file, and what is mounted from a
//! secret is a link to a link to a folder, of which only the link in between changes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout, timeout_at},
};

/// How long the folders must be quiet after a change: a certificate and its key are two files.
const QUIET: Duration = Duration::from_millis(100);

/// How long folders in which something changes all the time are waited for.
const UNQUIET: Duration = Duration::from_secs(1);

/// A watch on the folders of some files. Its thread ends when it is dropped.
pub(crate) struct FolderWatch {
    folders: BTreeSet<PathBuf>,
    changed: Arc<Notify>,
    watcher: Option<RecommendedWatcher>,
    /// Whether it has been logged what is not watched.
    is_logged: bool,
}

impl FolderWatch {
    /// Starts to watch the folders of these files. One that cannot be watched is logged.
    pub(crate) fn new<'a>(files: impl Iterator<Item = &'a Path>) -> Self {
        let folder = |file: &Path| match file.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let mut watch = Self {
            folders: files.map(folder).collect(),
            changed: Arc::new(Notify::new()),
            watcher: None,
            is_logged: false,
        };
        watch.start();
        watch
    }

    /// Watches all folders anew: one may be another than it was.
    fn start(&mut self) {
        let changed = Arc::clone(&self.changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if !event.is_ok_and(|event| is_about_reading(event.kind)) {
                changed.notify_one();
            }
        });
        let watched = watcher.and_then(|mut watcher| {
            for folder in &self.folders {
                watcher.watch(folder, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        let was_logged = std::mem::replace(&mut self.is_logged, watched.is_err());
        if let Some(error) = watched.as_ref().err().filter(|_| !was_logged) {
            tracing::warn!(%error, "changes of files are not reported");
        }
        self.watcher = watched.ok();
    }

    /// Completes when something has changed since the last call and the folders are quiet again, and in any case after
    /// `longest`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may lose a change.
    pub(crate) async fn changed(&mut self, longest: Duration) {
        let notify = Arc::clone(&self.changed);
        if timeout(longest, notify.notified()).await.is_err() {
            // A folder that was removed and made again is not watched any more.
            return self.start();
        }
        let end = Instant::now() + UNQUIET;
        let quiet = || timeout_at(end.min(Instant::now() + QUIET), notify.notified());
        while quiet().await.is_ok() {}
    }
}

/// Returns whether an event tells of no change: reading the files must not lead to reading them again.
fn is_about_reading(kind: EventKind) -> bool {
    kind.is_access() && kind != EventKind::Access(AccessKind::Close(AccessMode::Write))
}
