//! The settings that the services of a layer share.

use std::{net::IpAddr, sync::Arc};

use http::Extensions;

use super::writer::LogQueue;

/// Finds the client's address.
pub(super) type ClientAddress = dyn Fn(&Extensions) -> Option<IpAddr> + Send + Sync;

/// What the services of a layer share.
pub(super) struct LogSettings {
    pub(super) queue: Arc<LogQueue>,
    /// The names of fields of a query that are logged.
    pub(super) query_fields: Vec<String>,
    pub(super) client_address: Box<ClientAddress>,
}
