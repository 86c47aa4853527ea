//! [`ConfigWatch`]: a file that is followed.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::runtime::Handle;

use super::{
    super::{
        error::{ConfigError, ConfigProblem},
        file::ConfigFile,
        root::Config,
    },
    follower::{FileFollower, HangupSignals},
    handle::LiveConfig,
    shared::{ConfigSource, LiveState},
};
use crate::folder_watch::FolderWatch;

/// A file with a configuration that is followed: when it changes, the configuration that serves requests does.
///
/// ```no_run
/// use axum_upstream::config::ConfigWatch;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), axum_upstream::config::ConfigError> {
/// let live = ConfigWatch::new("proxy.toml").on_hangup().start()?;
/// let app: axum::Router = live.router();
/// # Ok(())
/// # }
/// ```
///
/// A file that is wrong changes nothing: what is wrong is in the log, once, and in the
/// [status](LiveConfig::status). So is one that is gone, cannot be read, or is empty, as a file is for a moment that is
/// written in place. Write another file beside it, and rename that.
///
/// The folder of the file is watched. What changes elsewhere, as on a file system that reports no changes, such as NFS,
/// is found by the next [regular look](Self::interval). A change of a file that is named in it, such as a certificate,
/// is not noticed: reload then.
pub struct ConfigWatch {
    path: PathBuf,
    interval: Duration,
    on_hangup: bool,
    sections: Option<ReadSections>,
    adjust: Option<AdjustConfig>,
}

/// What is done once a version of the file has been taken.
type Taken = Box<dyn FnOnce() + Send>;

/// Reads the sections of the application.
type ReadSections = Box<dyn Fn(&mut ConfigFile) -> Taken + Send + Sync>;

/// Changes a configuration before it is applied.
type AdjustConfig = Box<dyn Fn(&mut Config) + Send + Sync>;

impl ConfigWatch {
    /// Follows a file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            interval: Duration::from_secs(10),
            on_hangup: false,
            sections: None,
            adjust: None,
        }
    }

    /// Sets how often the file is read where no change is reported. Default: every 10 s. `Duration::MAX` relies on the
    /// reports.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Reloads on SIGHUP, too, which no longer ends the process then. Elsewhere than on Unix, it changes nothing.
    #[must_use]
    pub fn on_hangup(mut self) -> Self {
        self.on_hangup = true;
        self
    }

    /// Reads sections of the application from each version of the file. `read` may call [`ConfigFile::section`] and
    /// [`ConfigFile::refuse`]; what it returns is called when that version has been taken, as the first one is by
    /// [`start`](Self::start).
    ///
    /// Both may block, and must not use the [`LiveConfig`].
    ///
    /// ```no_run
    /// use axum_upstream::config::ConfigWatch;
    /// use serde::Deserialize;
    /// use tokio::sync::watch;
    ///
    /// #[derive(Default, Deserialize)]
    /// #[serde(default, deny_unknown_fields)]
    /// struct Logging {
    ///     level: String,
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), axum_upstream::config::ConfigError> {
    /// let (sender, levels) = watch::channel(String::new());
    /// let live = ConfigWatch::new("app.toml")
    ///     .sections(move |file| {
    ///         let logging: Logging = file.section("logging");
    ///         let sender = sender.clone();
    ///         move || drop(sender.send(logging.level))
    ///     })
    ///     .start()?;
    /// # let _ = levels;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn sections<F>(
        mut self,
        read: impl Fn(&mut ConfigFile) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: FnOnce() + Send + 'static,
    {
        self.sections = Some(Box::new(move |file| Box::new(read(file))));
        self
    }

    /// Changes each version of the configuration before it is applied, as for defaults of the application's own.
    ///
    /// It must change equal files equally: a reload replaces the clusters whose settings differ. What makes the
    /// configuration invalid is an error of [`start`](Self::start), or of the reload.
    ///
    /// ```no_run
    /// use axum_upstream::config::{ConfigWatch, Switch};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), axum_upstream::config::ConfigError> {
    /// let live = ConfigWatch::new("proxy.toml")
    ///     .adjust(|config| {
    ///         let client = config.defaults.cluster.client.get_or_insert_default();
    ///         client.max_connections.get_or_insert(Switch::On(1000));
    ///     })
    ///     .start()?;
    /// # let _ = live;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn adjust(mut self, adjust: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        self.adjust = Some(Box::new(adjust));
        self
    }

    /// Reads the file, builds the configuration, and follows the file from now on. It blocks on the file, and on those
    /// that are named in it.
    ///
    /// A task on the current tokio runtime follows the file. It ends with the last clone of the [`LiveConfig`] and of
    /// its router.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file; or there is no runtime.
    pub fn start(self) -> Result<LiveConfig, ConfigError> {
        let runtime = Handle::try_current().map_err(|error| self.error(&error.to_string()))?;
        let hangups = HangupSignals::new(self.on_hangup)
            .map_err(|error| self.error(&format!("cannot listen for SIGHUP: {error}")))?;
        // Before the file is read, so that no change comes in between.
        let folder = FolderWatch::around(&self.path);
        let text = ConfigFile::text(&self.path)?;
        let (config, taken) = self.parse(text.clone())?;
        let live = Arc::new(LiveState::new(&config)?);
        taken();
        let follower = FileFollower {
            live: Arc::downgrade(&live),
            path: self.path.clone(),
            interval: self.interval,
            folder,
            hangups,
        };
        let followed = FollowedFile {
            watch: self,
            text: Mutex::new(Ok(text)),
        };
        live.follow(followed, &runtime, follower.run());
        Ok(LiveConfig(live))
    }

    /// Parses a text, and reads the sections of the application.
    fn parse(&self, text: String) -> Result<(Config, Taken), ConfigError> {
        let mut file = ConfigFile::of_text(text, &self.path)?;
        let taken = match &self.sections {
            Some(read) => read(&mut file),
            None => Box::new(|| {}),
        };
        let mut config = file.config()?;
        if let Some(adjust) = &self.adjust {
            adjust(&mut config);
        }
        Ok((config, taken))
    }

    /// Returns an error of the file as a whole.
    fn error(&self, message: &str) -> ConfigError {
        ConfigError::new(vec![ConfigProblem::of_file(&self.path, message.to_owned())])
    }
}

/// The file that a configuration at work comes from.
struct FollowedFile {
    watch: ConfigWatch,
    /// What was read last, so that it is looked at once.
    text: Mutex<Result<String, ConfigError>>,
}

impl ConfigSource for FollowedFile {
    fn reload(&self, live: &LiveState, anyway: bool) -> Option<Result<(), ConfigError>> {
        // Held from before the file is read: of two reloads at once, the one that reads later is the later one.
        let mut last = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        let text = ConfigFile::text(&self.watch.path).and_then(|text| self.not_empty(text));
        if *last == text && !anyway {
            return None;
        }
        last.clone_from(&text);
        let taken = text.and_then(|text| {
            let (config, taken) = self.watch.parse(text)?;
            live.apply(&config)?;
            Ok(taken)
        });
        let tried = taken.map(|taken| taken());
        let is_news = live.status.note(&tried) || anyway;
        drop(last);
        self.tell(&tried, is_news);
        Some(tried)
    }
}

impl FollowedFile {
    /// Logs what became of a configuration: what is wrong, once.
    fn tell(&self, tried: &Result<(), ConfigError>, is_news: bool) {
        let file = self.watch.path.display();
        match tried {
            Ok(()) => tracing::info!(%file, "the configuration has changed"),
            Err(error) if is_news => {
                let problems = error.problems();
                let count = problems.len();
                tracing::error!(%file, count, "the new configuration is invalid, and the current one stays in use");
                for problem in problems {
                    tracing::error!("{problem}");
                }
            }
            Err(_) => {}
        }
    }

    /// Refuses a file without anything in it, which is written at this moment.
    fn not_empty(&self, text: String) -> Result<String, ConfigError> {
        match text.trim().is_empty() {
            true => Err(self.watch.error("it is empty")),
            false => Ok(text),
        }
    }
}

impl fmt::Debug for ConfigWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigWatch")
            .field("path", &self.path)
            .field("interval", &self.interval)
            .field("on_hangup", &self.on_hangup)
            .finish_non_exhaustive()
    }
}
