//! [`SettingPlace`]: a setting while it is checked, and what is wrong with it is collected.

use std::{
    cell::RefCell,
    fmt, fs,
    hash::Hasher,
    path::{Path, PathBuf},
};

use siphasher::sip128::{Hasher128, SipHasher24};

use super::super::{
    data::TextSource,
    document::{FoundProblem, SettingPath},
};
use crate::error::Error;

/// What is collected while a configuration is checked.
pub(in crate::config) struct PlanContext {
    problems: RefCell<Vec<FoundProblem>>,
    /// Where relative paths begin.
    folder: PathBuf,
    /// Of everything that was read besides the configuration.
    read: RefCell<SipHasher24>,
}

impl PlanContext {
    /// Begins a check of what is in `folder`.
    pub(in crate::config) fn new(folder: PathBuf) -> Self {
        Self {
            problems: RefCell::default(),
            folder,
            read: RefCell::new(SipHasher24::new()),
        }
    }

    /// Returns the place where everything is.
    pub(in crate::config) fn top(&self) -> SettingPlace<'_> {
        SettingPlace {
            context: self,
            path: SettingPath::default(),
        }
    }

    /// Returns how much is wrong so far.
    pub(super) fn count(&self) -> usize {
        self.problems.borrow().len()
    }

    /// Returns what is wrong.
    pub(in crate::config) fn into_problems(self) -> Vec<FoundProblem> {
        self.problems.into_inner()
    }
}

/// A setting, by its path.
#[derive(Clone)]
pub(in crate::config) struct SettingPlace<'c> {
    context: &'c PlanContext,
    path: SettingPath,
}

impl SettingPlace<'_> {
    /// Returns the place of a setting in this one.
    pub(super) fn key(&self, key: &str) -> Self {
        Self {
            context: self.context,
            path: self.path.key(key),
        }
    }

    /// Returns the place of an element of this one.
    pub(super) fn item(&self, position: usize) -> Self {
        Self {
            context: self.context,
            path: self.path.item(position),
        }
    }

    /// Returns the path.
    pub(super) fn path(&self) -> &SettingPath {
        &self.path
    }

    /// Notes what is wrong.
    pub(super) fn refuse(&self, message: impl fmt::Display) {
        let problem = FoundProblem::new(self.path.clone(), message.to_string());
        self.context.problems.borrow_mut().push(problem);
    }

    /// Notes what is wrong with this setting and another one, which is named between the message and its end.
    pub(super) fn refuse_beside(&self, message: &str, other: &SettingPath, end: &str) {
        let problem = FoundProblem {
            beside: Some((other.clone(), end.to_owned())),
            ..FoundProblem::new(self.path.clone(), message.to_owned())
        };
        self.context.problems.borrow_mut().push(problem);
    }

    /// Notes that a feature of the crate is off.
    #[allow(dead_code, reason = "not with all features")]
    pub(super) fn needs(&self, feature: &str) {
        self.refuse(format!("needs the feature `{feature}` of axum-upstream"));
    }

    /// Returns the value, or notes why there is none.
    pub(super) fn take<T>(&self, made: Result<T, Error>) -> Option<T> {
        made.map_err(|error| self.refuse(error.refusal().1)).ok()
    }

    /// Returns the value, or notes why there is none: at the setting that the error names, if that is one of `keys`.
    pub(super) fn take_by<T>(&self, made: Result<T, Error>, keys: &[&str]) -> Option<T> {
        made.map_err(|error| {
            let (setting, why) = error.refusal();
            match keys.contains(&setting) {
                true => self.key(setting).refuse(why),
                false => self.refuse(why),
            }
        })
        .ok()
    }

    /// Changes what is built by a value, if there is one, or notes why that cannot be.
    pub(super) fn apply<B: Clone, T>(
        &self,
        built: &mut B,
        key: &str,
        value: Option<T>,
        set: impl FnOnce(B, T) -> Result<B, Error>,
    ) {
        let Some(value) = value else { return };
        if let Some(changed) = self.key(key).take(set(built.clone(), value)) {
            *built = changed;
        }
    }

    /// Returns a path, which begins at the folder of the configuration if it is relative.
    pub(super) fn resolve(&self, path: &Path) -> PathBuf {
        self.context.folder.join(path)
    }

    /// Reads a file, or notes why that cannot be.
    pub(super) fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let path = self.resolve(path);
        match fs::read(&path) {
            Ok(bytes) => {
                self.note(&bytes);
                Some(bytes)
            }
            Err(error) => {
                self.refuse(format!("cannot read {}: {error}", path.display()));
                None
            }
        }
    }

    /// Returns a text, from wherever it is, or notes why that cannot be.
    pub(super) fn text(&self, source: &TextSource) -> Option<String> {
        let text = match source {
            TextSource::Text(text) => text.clone(),
            TextSource::File { file } => {
                let Ok(text) = String::from_utf8(self.read(file)?) else {
                    self.refuse(format!("{} is not UTF-8", file.display()));
                    return None;
                };
                let line_end = |text: &str| {
                    let text = text.strip_suffix('\n')?;
                    Some(text.strip_suffix('\r').unwrap_or(text).to_owned())
                };
                line_end(&text).unwrap_or(text)
            }
            TextSource::Env { env } => match std::env::var(env) {
                Ok(text) => text,
                Err(std::env::VarError::NotPresent) => {
                    self.refuse(format!("the environment has no variable {env:?}"));
                    return None;
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    self.refuse(format!("the variable {env:?} is not UTF-8"));
                    return None;
                }
            },
        };
        self.note(text.as_bytes());
        Some(text)
    }

    /// Has what was read be part of what is compared.
    fn note(&self, bytes: &[u8]) {
        let mut read = self.context.read.borrow_mut();
        read.write_usize(bytes.len());
        read.write(bytes);
    }

    /// Returns a digest of what has been read since the last call.
    pub(super) fn digest(&self) -> u128 {
        let read = self.context.read.replace(SipHasher24::new());
        read.finish128().as_u128()
    }
}
