//! [`EndpointEntry`]: an endpoint as a table, which is how files and registries have it if it is more than a URL.

use serde::Deserialize;

use super::reported::Located;
use crate::{endpoint::EndpointSpec, error::Error, upstream::ClientBuilder};

/// An endpoint as a table. A key that is not known may be a mistake in one that is, so it is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndpointEntry {
    /// With options, if it has any.
    url: String,
    /// Counts more than that of the URL.
    weight: Option<u32>,
    #[serde(default)]
    priority: u8,
}

impl EndpointEntry {
    /// Creates the entry that is a URL alone.
    pub(super) fn of_url(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            weight: None,
            priority: 0,
        }
    }

    /// Describes the endpoint.
    ///
    /// # Errors
    ///
    /// A config error about the URL or the weight.
    pub(super) fn located(&self, client: &ClientBuilder) -> Result<Located, Error> {
        let mut spec = EndpointSpec::url_with(client, &self.url)?.priority(self.priority);
        if let Some(weight) = self.weight {
            spec = spec.weight(weight)?;
        }
        Ok(Located {
            spec,
            addresses: Vec::new(),
        })
    }
}
