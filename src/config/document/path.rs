//! [`SettingPath`]: where a setting is, as `clusters.api.endpoints[1].weight`.

use std::fmt;

/// The keys and positions that lead to a setting from the top.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::config) struct SettingPath(Vec<PathPart>);

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::config) enum PathPart {
    /// The name of an entry of a table.
    Key(String),
    /// The position in an array.
    Item(usize),
}

impl SettingPath {
    /// Returns the path to an entry of the table that this one leads to.
    pub(in crate::config) fn key(&self, key: &str) -> Self {
        self.with(PathPart::Key(key.to_owned()))
    }

    /// Returns the path to an element of the array that this one leads to.
    pub(in crate::config) fn item(&self, position: usize) -> Self {
        self.with(PathPart::Item(position))
    }

    fn with(&self, part: PathPart) -> Self {
        let parts = self.0.iter().cloned().chain([part]);
        Self(parts.collect())
    }

    /// Returns the path that begins with this one and goes on with the other.
    pub(super) fn join(&self, inside: &Self) -> Self {
        Self([&self.0[..], &inside.0[..]].concat())
    }

    /// Returns the path to what the setting is in, `None` at the top.
    pub(super) fn parent(&self) -> Option<Self> {
        let (_, outside) = self.0.split_last()?;
        Some(Self(outside.to_vec()))
    }

    /// Returns the path to the same setting in the section of defaults: `defaults.cluster.retry` for
    /// `clusters.api.retry`. `None` for what can have no default.
    pub(super) fn default_section(&self) -> Option<Self> {
        let [PathPart::Key(all), PathPart::Key(_), inside @ ..] = &self.0[..] else {
            return None;
        };
        let one = match all.as_str() {
            "clusters" => "cluster",
            "routes" => "route",
            _ => return None,
        };
        let start = Self::default().key("defaults").key(one);
        (!inside.is_empty()).then(|| start.join(&Self(inside.to_vec())))
    }

    /// Returns the steps.
    pub(super) fn parts(&self) -> &[PathPart] {
        &self.0
    }

    /// Returns the path in a document, of a path in data from which some elements of arrays were left out.
    pub(in crate::config) fn before(mut self, left_out: &[&Self]) -> Self {
        for nth in 0..self.0.len() {
            let (outside, inside) = self.0.split_at_mut(nth);
            let Some(PathPart::Item(position)) = inside.first_mut() else {
                continue;
            };
            let gone = left_out
                .iter()
                .filter_map(|path| match path.0.split_last() {
                    Some((PathPart::Item(gone), around)) if around == outside => Some(*gone),
                    _ => None,
                });
            let mut gone: Vec<usize> = gone.collect();
            gone.sort_unstable();
            for gone in gone {
                *position += usize::from(gone <= *position);
            }
        }
        self
    }

    /// Returns whether the other one leads to the same place or to one inside of it.
    pub(in crate::config) fn has(&self, inner: &Self) -> bool {
        inner.0.starts_with(&self.0)
    }
}

impl From<Vec<PathPart>> for SettingPath {
    fn from(parts: Vec<PathPart>) -> Self {
        Self(parts)
    }
}

impl fmt::Display for SettingPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, part) in self.0.iter().enumerate() {
            match part {
                PathPart::Key(key) => {
                    let dot = if nth == 0 { "" } else { "." };
                    // As TOML writes it: what is no bare key is quoted.
                    match is_bare(key) {
                        true => write!(f, "{dot}{key}")?,
                        false => write!(f, "{dot}{key:?}")?,
                    }
                }
                PathPart::Item(position) => write!(f, "[{position}]")?,
            }
        }
        Ok(())
    }
}

/// Returns whether a key needs no quotes in TOML.
fn is_bare(key: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !key.is_empty() && key.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_counted() {
        let at = |position| SettingPath::default().key("a").item(position);
        let gone = [&at(0), &at(2)];
        assert_eq!(at(0).key("x").before(&gone), at(1).key("x"));
        assert_eq!(at(1).before(&gone), at(3));
        let other = SettingPath::default().key("b").item(0);
        assert_eq!(other.clone().before(&gone), other);
    }

    #[test]
    fn it_reads_as_in_toml() {
        let path = SettingPath::default().key("clusters").key("a.b").key("x");
        assert_eq!(path.item(2).to_string(), r#"clusters."a.b".x[2]"#);
        assert!(SettingPath::default().key("clusters").has(&path));
        assert!(path.has(&path) && !path.has(&SettingPath::default().key("clusters")));
    }
}
