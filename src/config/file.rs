//! [`ConfigFile`]: a file with a configuration, and sections of the application beside it.

use std::{path::Path, str::FromStr, sync::Arc};

use serde::de::DeserializeOwned;

use super::{
    document::{Document, FoundProblem, SettingPath, expected},
    error::{ConfigError, ConfigProblem},
    root::Config,
};
use crate::{proxy::ReverseProxy, settled_file::read_text};

/// A file, or a text, with a configuration in it, and with whatever sections an application has beside it.
///
/// A key at the top that is neither the configuration's nor the name of a section that was asked for is an error. All
/// that is wrong, in sections and in the configuration, is the error of [`config`](Self::config).
///
/// ```
/// use axum_upstream::config::ConfigFile;
/// use serde::Deserialize;
///
/// #[derive(Default, Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Server {
///     listen: Vec<String>,
/// }
///
/// let mut file = ConfigFile::parse("[server]\nlisten = [\"0.0.0.0:80\"]\n[clusters.api]\nendpoints = []\n")?;
/// let server: Server = file.section("server");
/// if server.listen.is_empty() {
///     file.refuse(&["server", "listen"], "expected an address at least");
/// }
/// let config = file.config()?;
/// assert_eq!(server.listen, ["0.0.0.0:80"]);
/// assert!(config.clusters.contains_key("api"));
/// # Ok::<(), axum_upstream::config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct ConfigFile {
    document: Arc<Document>,
    problems: Vec<FoundProblem>,
    sections: Vec<String>,
}

impl ConfigFile {
    /// Reads a file. It blocks meanwhile.
    ///
    /// # Errors
    ///
    /// It cannot be read, is larger than 16 MiB, is not UTF-8 or not TOML: all places where it is not.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        Self::of_text(Self::text(path)?, path)
    }

    /// Reads the text of a file.
    pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
        read_text(path).map_err(|why| ConfigError::new(vec![ConfigProblem::of_file(path, why)]))
    }

    /// Parses the text of a file.
    pub(super) fn of_text(text: String, path: &Path) -> Result<Self, ConfigError> {
        Document::parse(text, Some(path)).map(Self::new)
    }

    /// Parses a text.
    ///
    /// # Errors
    ///
    /// All places where it is not TOML.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Document::parse(text.to_owned(), None).map(Self::new)
    }

    fn new(document: Document) -> Self {
        Self {
            document: Arc::new(document),
            problems: Vec::new(),
            sections: Vec::new(),
        }
    }

    /// Returns a section of the application, by its key at the top of the file; the default if it is not there.
    ///
    /// What is wrong in it is part of the error of [`config`](Self::config), and left out of what is returned, which is
    /// therefore not to be used before that.
    pub fn section<T: DeserializeOwned + Default>(&mut self, name: &str) -> T {
        self.sections.push(name.to_owned());
        let section = self.document.section(name, &mut self.problems);
        section.unwrap_or_default()
    }

    /// Adds a problem that the application has found: where the setting is, as `["server", "listen"]`, and what is
    /// wrong with it. A number among the keys is the position in an array.
    pub fn refuse(&mut self, setting: &[&str], message: impl Into<String>) {
        let path = setting
            .iter()
            .fold(SettingPath::default(), |path, key| match key.parse() {
                Ok(position) => path.item(position),
                Err(_) => path.key(key),
            });
        self.problems.push(FoundProblem::new(path, message.into()));
    }

    /// Returns the configuration, which was checked as a whole.
    ///
    /// # Errors
    ///
    /// Everything that is wrong in it, in the sections, and with the names of sections.
    pub fn config(mut self) -> Result<Config, ConfigError> {
        let names: Vec<&str> = self.sections.iter().map(String::as_str).collect();
        let names: Vec<&str> = Config::KEYS.into_iter().chain(names).collect();
        let unknown = self.document.names().into_iter();
        let unknown = unknown.filter(|name| !names.contains(name)).map(|name| {
            let message = format!("unknown section {name:?}{}", expected(name, &names));
            FoundProblem {
                at_key: true,
                ..FoundProblem::new(SettingPath::default().key(name), message)
            }
        });
        let unknown: Vec<_> = unknown.collect();
        self.problems.extend(unknown);

        let problems = &mut self.problems;
        let [defaults, clusters, routes] = Config::KEYS;
        let mut config = Config::default();
        config.defaults = self
            .document
            .section(defaults, problems)
            .unwrap_or_default();
        config.clusters = self
            .document
            .section(clusters, problems)
            .unwrap_or_default();
        config.routes = self.document.section(routes, problems).unwrap_or_default();
        let config = config.with_document(self.document.clone());
        let (_, mut found) = config.planned(&ReverseProxy::new(()));
        // What was left out above must not be missed now.
        let left_out: Vec<_> = self.problems.iter().map(|problem| &problem.path).collect();
        for later in &mut found {
            later.path = later.path.clone().before(&left_out);
        }
        found.retain(|later| !self.problems.iter().any(|problem| problem.is_why(later)));
        self.problems.extend(found);
        match self.problems.is_empty() {
            true => Ok(config),
            false => Err(config.error(self.problems)),
        }
    }
}

impl Config {
    /// Reads and checks a file. Relative paths in it begin at its folder.
    ///
    /// It blocks on the file, and on those that it names, such as certificates.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it. [`ConfigFile`] is for a file with sections of the application's own.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        ConfigFile::read(path)?.config()
    }

    /// Parses and checks a text in TOML. Relative paths in it begin at the current folder.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        ConfigFile::parse(text)?.config()
    }
}

impl FromStr for Config {
    type Err = ConfigError;

    /// Parses and checks a text, as [`from_toml`](Self::from_toml) does.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::from_toml(text)
    }
}
