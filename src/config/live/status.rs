//! [`ReloadStatus`]: which configuration serves requests, and what became of the last one.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use super::super::error::{ConfigError, ConfigProblem};
#[cfg(feature = "status")]
use crate::telemetry::millis;

/// Which configuration serves requests, and the outcome of the last reload.
///
/// It comes from [`LiveConfig::status`](super::LiveConfig::status). It is a copy, and does not follow later changes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReloadStatus {
    /// How many configurations have served requests, this one included: 1 for the first.
    pub generation: u64,
    /// Since when it serves requests.
    pub since: SystemTime,
    /// When a configuration was tried last, whether it was taken or not.
    pub tried: SystemTime,
    /// What is wrong with the one that was tried last. Empty if it serves requests.
    pub problems: Vec<ConfigProblem>,
}

#[cfg(feature = "status")]
impl ReloadStatus {
    /// Returns it as the status page has it.
    pub(super) fn to_json(&self) -> serde_json::Value {
        let problems = self.problems.iter().map(ToString::to_string);
        serde_json::json!({
            "generation": self.generation,
            "since_unix_ms": millis(self.since),
            "tried_unix_ms": millis(self.tried),
            "problems": problems.collect::<Vec<_>>(),
        })
    }
}

/// The status while it changes.
#[derive(Debug)]
pub(super) struct StatusCell(Mutex<ReloadStatus>);

impl StatusCell {
    /// Returns the status of the first configuration.
    pub(super) fn new() -> Self {
        let now = SystemTime::now();
        Self(Mutex::new(ReloadStatus {
            generation: 1,
            since: now,
            tried: now,
            problems: Vec::new(),
        }))
    }

    pub(super) fn get(&self) -> ReloadStatus {
        let status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        status.clone()
    }

    /// Notes what became of another configuration. Returns whether that has not been noted already, and has to be told.
    pub(super) fn note(&self, tried: &Result<(), ConfigError>) -> bool {
        let mut status = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        status.tried = SystemTime::now();
        match tried {
            Ok(()) => {
                status.generation += 1;
                status.since = status.tried;
                status.problems.clear();
                true
            }
            Err(error) => {
                let is_new = status.problems != error.problems();
                status.problems = error.problems().to_vec();
                is_new
            }
        }
    }
}
