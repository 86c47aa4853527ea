//! Takes new certificates when their files change.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::task::spawn_blocking;

use super::{load::paths, server::TlsServer};
use crate::folders::FolderWatch;

/// How often the files are read where no change is reported: on a network file system, or behind a link.
const LOOK: Duration = Duration::from_secs(60);

/// Watches the files of listeners and reads them again when they change, and on SIGHUP. Never returns.
///
/// Files that are wrong are logged once, until they change again. What was there before them stays in use.
///
/// # Cancel safety
///
/// Dropping the future ends it, after a file that is being read.
pub(crate) async fn reload_all(servers: Vec<(String, Arc<TlsServer>)>) {
    let files = servers.iter().flat_map(|(_, server)| paths(&server.config));
    let mut watch = FolderWatch::new(files.map(|file| file.as_path()));
    let mut logged: HashMap<usize, String> = HashMap::new();
    let mut hangups = Hangups::new();
    loop {
        tokio::select! {
            () = watch.changed(LOOK) => {}
            () = hangups.next() => {}
        }
        for (n, (listener, server)) in servers.iter().enumerate() {
            let server = Arc::clone(server);
            let Ok(result) = spawn_blocking(move || server.reload()).await else {
                continue;
            };
            match result {
                Ok(None) => {
                    logged.remove(&n);
                }
                Ok(Some(names)) => {
                    logged.remove(&n);
                    tracing::info!("{listener}: new certificates, for {}", names.join(", "));
                }
                Err(error) => {
                    let error = error.to_string();
                    if logged.get(&n) != Some(&error) {
                        tracing::error!("{listener}: the certificates stay as they are: {error}");
                        logged.insert(n, error);
                    }
                }
            }
        }
    }
}

/// The signals SIGHUP that the process receives, which do not end it then.
struct Hangups {
    #[cfg(unix)]
    signals: Option<tokio::signal::unix::Signal>,
}

impl Hangups {
    /// Begins to listen to them. Without a system that tells of them, there are none.
    fn new() -> Self {
        Self {
            #[cfg(unix)]
            signals: tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok(),
        }
    }

    /// Completes with the next one.
    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some(signals) = &mut self.signals {
            if signals.recv().await.is_some() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}
