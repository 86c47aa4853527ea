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

    /// Waits for an event and applies it, with all others that have arrived. A bookmark, which changes nothing but the
    /// version, is one, too.
    ///
    /// # Errors
    ///
    /// How the watch has ended, once all changes before that were reported.
    pub(super) async fn change(
        &mut self,
        api: &SlicesApi,
        slices: &mut ServiceSlices,
    ) -> Result<(), WatchClose> {
        if let Some(close) = self.close.take() {
            return Err(close);
        }
        let Ok(event) = timeout_at(self.limit, self.events.next()).await else {
            let late = api.fail("the watch did not end in time");
            return Err(WatchClose::Failed(late));
        };
        self.take(api, event, slices)?;
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.next() => event,
                // Nothing more has arrived.
                () = ready(()) => return Ok(()),
            };
            if let Err(close) = self.take(api, event, slices) {
                self.close = Some(close);
                return Ok(());
            }
        }
    }

    /// Applies what came for an event.
    fn take(
        &mut self,
        api: &SlicesApi,
        event: Result<Option<Value>, BoxError>,
        slices: &mut ServiceSlices,
    ) -> Result<(), WatchClose> {
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
        match (&*kind, slices::read(object)) {
            ("ADDED" | "MODIFIED", Some((name, slice))) => {
                slices.insert(name, slice);
                if slices.len() > MOST {
                    let what = format!("there are more than {MOST} EndpointSlices");
                    return Err(WatchClose::Failed(api.fail(what)));
                }
            }
            ("DELETED", Some((name, _))) => drop(slices.remove(&name)),
            // A bookmark, or what a later version has.
            _ => {}
        }
        Ok(())
    }
}
