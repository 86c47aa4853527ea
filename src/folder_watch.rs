//! Noticing that something in a folder has changed, by the crate notify.
//!
//! The folder is watched and not the file. A file that is replaced by a rename is another file, which a watch on the
//! first one does not see; and what is mounted from a ConfigMap is a link to a link to a folder, of which only the link
//! in between changes.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
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

/// How long a folder must be quiet after a change.
///
/// A writer that has just begun to write a file usually has it written by then.
const QUIET: Duration = Duration::from_millis(100);

/// How long a folder in which something changes all the time is waited for.
const UNQUIET: Duration = Duration::from_secs(1);

/// A watch on one folder. Its thread ends when it is dropped.
pub(crate) struct FolderWatch {
    seen: Arc<FolderChanges>,
    _watcher: RecommendedWatcher,
}

/// What the thread of the watch has seen.
#[derive(Default)]
struct FolderChanges {
    changed: Notify,
    /// Whether the folder itself is gone or another one, so that the watch sees no more.
    is_lost: AtomicBool,
}

impl FolderWatch {
    /// Starts to watch a folder.
    ///
    /// # Errors
    ///
    /// There is no such folder, or the system allows no more watches.
    fn new(folder: &Path) -> notify::Result<Self> {
        let seen = Arc::<FolderChanges>::default();
        let (sees, watched) = (seen.clone(), folder.to_owned());
        let mut watcher = notify::recommended_watcher(move |event| sees.take(event, &watched))?;
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(Self {
            seen,
            _watcher: watcher,
        })
    }

    /// Starts to watch the folder of a file. `None` if that cannot be: what is wrong with the folder is the error of
    /// reading the file.
    pub(crate) fn around(file: &Path) -> Option<Self> {
        let folder = match file.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let watch = Self::new(folder);
        watch
            .map_err(|error| tracing::debug!(?folder, %error, "the folder is not watched"))
            .ok()
    }

    /// Returns whether it has to be replaced to see anything.
    pub(crate) fn is_lost(&self) -> bool {
        self.seen.is_lost.load(Relaxed)
    }

    /// Completes when something has changed since the last call and the folder is quiet again, and in any case after
    /// `longest`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future may lose a change.
    pub(crate) async fn changed(&self, longest: Duration) {
        let changed = || self.seen.changed.notified();
        if timeout(longest, changed()).await.is_err() {
            return;
        }
        let end = Instant::now() + UNQUIET;
        while timeout_at(end.min(Instant::now() + QUIET), changed())
            .await
            .is_ok()
        {}
    }
}

impl FolderChanges {
    /// Notes an event.
    fn take(&self, event: notify::Result<Event>, folder: &PathBuf) {
        let Ok(event) = event else {
            // Events were lost, as when there were too many of them.
            self.is_lost.store(true, Relaxed);
            return self.changed.notify_one();
        };
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        // That of reading the file must not lead to reading it again.
        if event.kind.is_access() && event.kind != written {
            return;
        }
        if event.need_rescan() || event.paths.contains(folder) {
            self.is_lost.store(true, Relaxed);
        }
        self.changed.notify_one();
    }
}
