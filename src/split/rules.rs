//! Which branch a request is for.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderName, request::Parts};

use super::table::SplitTable;
use crate::rewrite::cookie;

/// A closure that makes the key of a request.
type SplitKey = Arc<dyn Fn(&Parts) -> Option<Vec<u8>> + Send + Sync>;

/// What decides before chance does. By default there is nothing.
#[derive(Clone, Default)]
pub(super) struct SplitRules {
    /// In the order in which they count.
    overrides: Vec<Override>,
    key: Option<SplitKey>,
}

/// Sends requests that ask for it to one branch.
#[derive(Clone, Debug)]
pub(super) struct Override {
    pub(super) place: OverridePlace,
    pub(super) value: Box<str>,
    /// The index of the branch.
    pub(super) branch: usize,
}

/// Where a request asks for a branch.
#[derive(Clone, Debug)]
pub(super) enum OverridePlace {
    Header(HeaderName),
    Cookie(Box<str>),
}

impl SplitRules {
    /// Adds an override, which counts after those that are there.
    pub(super) fn add(&mut self, rule: Override) {
        self.overrides.push(rule);
    }

    /// Sets what makes the key of a request.
    pub(super) fn key(&mut self, key: SplitKey) {
        self.key = Some(key);
    }

    /// Returns the index of the branch that a request is for. Runs code of the user.
    pub(super) fn branch(&self, head: &Parts, table: &SplitTable) -> usize {
        let asked_for = self.overrides.iter().find(|rule| rule.holds(&head.headers));
        if let Some(rule) = asked_for {
            return rule.branch;
        }
        match self.key.as_ref().and_then(|key| key(head)) {
            Some(key) => table.of_key(&key),
            None => table.drawn(),
        }
    }
}

impl Override {
    /// Returns whether a request asks for the branch: the first line of the field, or the first cookie of the name, has
    /// exactly the value.
    fn holds(&self, headers: &HeaderMap) -> bool {
        let value = match &self.place {
            OverridePlace::Header(name) => headers.get(name).map(http::HeaderValue::as_bytes),
            OverridePlace::Cookie(name) => cookie(headers, name),
        };
        value == Some(self.value.as_bytes())
    }
}

impl fmt::Debug for SplitRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitRules")
            .field("overrides", &self.overrides)
            .field("key", &self.key.is_some())
            .finish()
    }
}
