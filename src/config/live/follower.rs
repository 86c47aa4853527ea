//! [`FileFollower`]: the task that follows a file.

use std::{
    future::pending,
    path::{Path, PathBuf},
    sync::Weak,
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep, sleep_until},
};

use super::{super::file::ConfigFile, shared::LiveState};
use crate::{clock::after, folder_watch::FolderWatch};

/// How long a file whose last line has no end must stay as it is before it is believed.
const SETTLED: Duration = Duration::from_millis(500);

/// How often a file is looked at whose folder cannot be watched, if its interval is longer.
const UNWATCHED: Duration = Duration::from_secs(10);

/// The task that follows a file.
pub(super) struct FileFollower {
    pub(super) live: Weak<LiveState>,
    pub(super) path: PathBuf,
    pub(super) interval: Duration,
    /// `None` where the folder cannot be watched.
    pub(super) folder: Option<FolderWatch>,
    pub(super) hangups: HangupSignals,
}

impl FileFollower {
    /// Reloads whenever there is a reason to, until the configuration is no longer used.
    pub(super) async fn run(mut self) {
        loop {
            let anyway = tokio::select! {
                () = self.hangups.next() => true,
                () = changed(self.folder.as_ref(), self.interval) => false,
            };
            if self.folder.as_ref().is_none_or(FolderWatch::is_lost) {
                // Before the file is read, so that no change comes in between.
                self.folder = FolderWatch::around(&self.path);
            }
            if !anyway {
                settled(&self.path).await;
            }
            let Some(live) = self.live.upgrade() else {
                return;
            };
            let reload = spawn_blocking(move || drop(live.reload(anyway)));
            if reload.await.is_err() {
                tracing::error!("reloading the configuration has panicked");
            }
        }
    }
}

/// Completes when something in the folder has changed, or after the interval.
async fn changed(folder: Option<&FolderWatch>, interval: Duration) {
    match folder {
        Some(folder) => folder.changed(interval).await,
        // It has to be looked for now and then, too.
        None => sleep_until(after(Instant::now(), interval.min(UNWATCHED))).await,
    }
}

/// Waits until the file is whole: one that does not end with the end of a line may be one that is being written. What
/// is there of it may be valid, and have fewer routes.
async fn settled(path: &Path) {
    let mut text = read(path).await;
    while text.as_ref().is_some_and(|text| !text.ends_with('\n')) {
        sleep(SETTLED).await;
        let again = read(path).await;
        if again == text {
            break;
        }
        text = again;
    }
}

/// Reads the file, `None` if that cannot be.
async fn read(path: &Path) -> Option<String> {
    let path = path.to_owned();
    let text = spawn_blocking(move || ConfigFile::text(&path)).await;
    text.ok()?.ok()
}

/// The signals SIGHUP that the process receives.
pub(super) struct HangupSignals {
    #[cfg(unix)]
    signals: Option<tokio::signal::unix::Signal>,
}

impl HangupSignals {
    /// Listens to them, if that is `wanted`.
    pub(super) fn new(wanted: bool) -> std::io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};

            let signals = wanted.then(|| signal(SignalKind::hangup())).transpose()?;
            Ok(Self { signals })
        }
        #[cfg(not(unix))]
        {
            let _ = wanted;
            Ok(Self {})
        }
    }

    /// Completes with the next one; never if they are not listened to.
    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals {
            if signals.recv().await.is_some() {
                return;
            }
        }
        pending::<()>().await;
    }
}
