//! [`LeftOut`]: what is left out of a document, since it is wrong.

use std::collections::HashMap;

use super::path::{PathPart, SettingPath};

/// What is left out of a document.
#[derive(Debug, Default)]
pub(super) struct LeftOut {
    /// Whether it is this very value.
    pub(super) whole: bool,
    inside: HashMap<PathPart, LeftOut>,
}

impl LeftOut {
    /// Leaves out the value at a path.
    pub(super) fn add(&mut self, path: &SettingPath) {
        let mut at = self;
        for part in path.parts() {
            at = at.inside.entry(part.clone()).or_default();
        }
        at.whole = true;
    }

    /// Returns what is left out of one step further.
    pub(super) fn at(&self, part: &PathPart) -> Option<&Self> {
        self.inside.get(part)
    }
}
