//! A watch of the slices of a Service: the changes of them, and how it ends.

use std::{future::ready, time::Duration};

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use super::{
    api::{ApiFailure, MOST, SlicesApi},
    lines::JsonLines,
    slices::{self, ServiceSlices},
};
use crate::{clock::after, error::BoxError};

/// How much longer than it was asked to last a watch is waited for.
const GRACE: Duration = Duration::from_secs(30);

/// A watch that the server has begun. It ends when it is dropped.
pub(super) struct SlicesWatch {
    events: JsonLines,
    /// The version of the last event, from which another watch can go on.
    pub(super) version: String,
    pub(super) begun: Instant,
    /// When it should have ended.
    limit: Instant,
    /// How it has ended, if the changes before that have not been reported yet.
    close: Option<WatchClose>,
}

/// How a watch has ended.
pub(super) enum WatchClose {
    /// As it was asked to: another one can go on from its version.
    InTime,
    Failed(ApiFailure),
}

/// An event of a watch.
#[derive(Deserialize)]
struct WatchEvent {
    #[serde(rename = "type")]
    kind: String,
    object: Value,
}

impl SlicesWatch {
    /// Begins a watch from a version on, for `lasts`.
    ///
    /// # Errors
    ///
    /// Those of [`SlicesApi::watch`].
    pub(super) async fn begin(
        api: &SlicesApi,
        version: String,
        lasts: Duration,
    ) -> Result<Self, ApiFailure> {
        let events = api.watch(&version, lasts).await?;
        let begun = Instant::now();
        Ok(Self {
            events,
            version,
            begun,
            limit: after(begun, lasts.saturating_add(GRACE)),
            close: None,
        })
    }

    /// Waits for an event and applies it, with all others that have arrived. Returns whether the slices are others now:
    /// a bookmark changes nothing but the version.
    ///
    /// # Errors
    ///
    /// How the watch has ended, once all changes before that were reported.
    pub(super) async fn change(
        &mut self,
        api: &SlicesApi,
        slices: &mut ServiceSlices,
    ) -> Result<bool, WatchClose> {
        if let Some(close) = self.close.take() {
            return Err(close);
        }
        let Ok(event) = timeout_at(self.limit, self.events.next()).await else {
            let late = api.fail("the watch did not end in time");
            return Err(WatchClose::Failed(late));
        };
        let mut is_other = self.take(api, event, slices)?;
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.next() => event,
                // Nothing more has arrived.
                () = ready(()) => return Ok(is_other),
            };
            match self.take(api, event, slices) {
                Ok(others) => is_other |= others,
                Err(close) => {
                    self.close = Some(close);
                    return Ok(is_other);
                }
            }
        }
    }

    /// Applies what came for an event. Returns whether the slices are others now.
    fn take(
        &mut self,
        api: &SlicesApi,
        event: Result<Option<Value>, BoxError>,
        slices: &mut ServiceSlices,
    ) -> Result<bool, WatchClose> {
        let event = event.map_err(|error| WatchClose::Failed(api.broken(error)))?;
        let event = event.ok_or(WatchClose::InTime)?;
        let event = serde_json::from_value(event);
        let WatchEvent { kind, object } =
            event.map_err(|error| WatchClose::Failed(api.broken(error)))?;
        if kind == "ERROR" {
            return Err(WatchClose::Failed(api.failure(object)));
        }
        if let Some(version) = slices::version(&object) {
            version.clone_into(&mut self.version);
        }
        let is_other = apply(&kind, object, slices);
        if slices.len() > MOST {
            let what = format!("there are more than {MOST} EndpointSlices");
            return Err(WatchClose::Failed(api.fail(what)));
        }
        Ok(is_other)
    }
}

/// Applies an event. Returns whether the slices are others now.
fn apply(kind: &str, object: Value, slices: &mut ServiceSlices) -> bool {
    match (kind, slices::read(object)) {
        ("ADDED" | "MODIFIED", Some((name, slice))) => {
            let is_other = slices.get(&name) != Some(&slice);
            slices.insert(name, slice);
            is_other
        }
        ("DELETED", Some((name, _))) => slices.remove(&name).is_some(),
        // A bookmark, or what a later version has.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Only what is read of a slice counts as a change.
    #[test]
    fn events_may_change_nothing() {
        let slice = |version: u64, ip: &str| {
            json!({
                "metadata": {"name": "a", "resourceVersion": version.to_string()},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [ip]}],
            })
        };
        let mut slices = ServiceSlices::new();
        for (kind, object, is_other) in [
            ("ADDED", slice(1, "10.0.0.1"), true),
            ("MODIFIED", slice(2, "10.0.0.1"), false),
            ("MODIFIED", slice(3, "10.0.0.2"), true),
            (
                "BOOKMARK",
                json!({"metadata": {"resourceVersion": "4"}}),
                false,
            ),
            ("SYNCED", slice(5, "10.0.0.3"), false),
            ("DELETED", slice(6, "10.0.0.2"), true),
            ("DELETED", slice(6, "10.0.0.2"), false),
        ] {
            assert_eq!(apply(kind, object, &mut slices), is_other, "{kind}");
        }
    }
}
