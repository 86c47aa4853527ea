//! [`LiveState`]: what the handles, the router and the task of a configuration at work share.

use std::{
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use arc_swap::ArcSwap;
use tokio::{runtime::Handle, task::JoinSet};

use super::{
    super::{error::ConfigError, root::Config},
    running::RunningConfig,
    status::StatusCell,
};
use crate::proxy::ReverseProxy;

/// A configuration at work.
pub(super) struct LiveState {
    pub(super) current: ArcSwap<RunningConfig>,
    /// What all proxies are made of, so that they share their open tunnels and the name in `Via`.
    pub(super) base: ReverseProxy<()>,
    pub(super) status: StatusCell,
    /// Held by a change, so that each builds on the one before.
    changing: Mutex<()>,
    /// The file that it comes from, if it is followed.
    source: OnceLock<Box<dyn ConfigSource>>,
    /// The task that follows the file, which is aborted with it.
    tasks: Mutex<JoinSet<()>>,
}

/// Where a configuration comes from that is followed.
pub(super) trait ConfigSource: Send + Sync {
    /// Looks whether the configuration is another one, and makes it the one that serves requests. Returns `None` if it
    /// is as it was, unless it is to be taken `anyway`. It blocks.
    fn reload(&self, live: &LiveState, anyway: bool) -> Option<Result<(), ConfigError>>;
}

impl LiveState {
    /// Builds a configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub(super) fn new(config: &Config) -> Result<Self, ConfigError> {
        let base = ReverseProxy::new(());
        let plan = config.plan(&base)?;
        let running = RunningConfig::new(plan, None).map_err(|found| config.error(found))?;
        Ok(Self {
            current: ArcSwap::from_pointee(running),
            base,
            status: StatusCell::new(),
            changing: Mutex::new(()),
            source: OnceLock::new(),
            tasks: Mutex::new(JoinSet::new()),
        })
    }

    /// Makes another configuration the one that serves requests.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it. Nothing has changed then.
    pub(super) fn apply(&self, config: &Config) -> Result<(), ConfigError> {
        let changing = self.changing.lock();
        let changing = changing.unwrap_or_else(PoisonError::into_inner);
        let plan = config.plan(&self.base)?;
        let before = self.current.load_full();
        let running =
            RunningConfig::new(plan, Some(&before)).map_err(|found| config.error(found))?;
        self.current.store(Arc::new(running));
        drop(changing);
        Ok(())
    }

    /// Has it follow a source, by a task.
    pub(super) fn follow(
        &self,
        source: impl ConfigSource + 'static,
        runtime: &Handle,
        follower: impl Future<Output = ()> + Send + 'static,
    ) {
        // There is one only.
        let _ = self.source.set(Box::new(source));
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.spawn_on(follower, runtime);
    }

    /// Reloads it from its source; `None` if that is as it was, or there is none.
    pub(super) fn reload(&self, anyway: bool) -> Option<Result<(), ConfigError>> {
        self.source.get()?.reload(self, anyway)
    }
}
