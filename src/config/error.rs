//! [`ConfigError`]: all that is wrong with a configuration.

use std::{
    error::Error as StdError,
    fmt,
    path::{Path, PathBuf},
};

/// Everything that is wrong with a configuration, at once.
///
/// `Display` writes one line for each problem:
///
/// ```text
/// gateway.toml:12:1: clusters.api.client: unknown field "conect_timeout", expected "connect_timeout"
/// gateway.toml:31:12: routes.home.cluster: there is no cluster "hom", expected "home"
/// ```
///
/// `Debug` writes the same, since it is what a `main` prints that returns the error. No value that may be a secret is
/// repeated.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    problems: Vec<ConfigProblem>,
}

impl ConfigError {
    /// Makes an error of problems, of which there is at least one, by their places.
    pub(super) fn new(mut problems: Vec<ConfigProblem>) -> Self {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        // A default that cannot be is found at each cluster that takes it.
        problems.dedup();
        Self { problems }
    }

    /// Returns the problems, in the order of the file. There is at least one.
    #[must_use]
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }

    /// Returns the problems, for an error of your own.
    #[must_use]
    pub fn into_problems(self) -> Vec<ConfigProblem> {
        self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.problems.iter().enumerate() {
            let line_end = if nth == 0 { "" } else { "\n" };
            write!(f, "{line_end}{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for ConfigError {}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigProblem {
    /// The file, `None` for a configuration that was not read from one.
    pub file: Option<PathBuf>,
    /// The line of the file or text, from 1. `None` for data that was made in code.
    pub line: Option<usize>,
    /// The character in the line, from 1.
    pub column: Option<usize>,
    /// The setting, as `clusters.api.endpoints[1].weight`. Empty where the file as a whole is meant.
    pub setting: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl ConfigProblem {
    /// Returns a problem of everything.
    pub(super) fn of_all(message: String) -> Self {
        Self {
            file: None,
            line: None,
            column: None,
            setting: String::new(),
            message,
        }
    }

    /// Returns a problem of a file as a whole.
    pub(super) fn of_file(file: &Path, message: String) -> Self {
        Self {
            file: Some(file.to_owned()),
            ..Self::of_all(message)
        }
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line, self.column) {
            (Some(file), Some(line), Some(column)) => {
                write!(f, "{}:{line}:{column}: ", file.display())?;
            }
            (Some(file), ..) => write!(f, "{}: ", file.display())?,
            (None, Some(line), Some(column)) => write!(f, "{line}:{column}: ")?,
            (None, ..) => {}
        }
        if !self.setting.is_empty() {
            write!(f, "{}: ", self.setting)?;
        }
        f.write_str(&self.message)
    }
}
