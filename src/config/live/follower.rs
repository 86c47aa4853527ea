//! [`FileFollower`]: the task that follows a file.

use std::{future::pending, path::PathBuf, sync::Weak, time::Duration};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::shared::LiveState;
use crate::{clock::after, folder_watch::FolderWatch, settled_file::settled};

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
                // What is wrong with it is found again below, and then told.
                let _ = settled(&self.path, None).await;
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
