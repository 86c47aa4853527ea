//! What has happened to the endpoints of a cluster: which were ejected, when and why, and which came back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use serde::Serialize;

use super::{timeline_kind::TimelineKind, unix_time::unix_ms};

/// How many events are kept.
const KEPT: usize = 100;

/// Something that has happened to an endpoint.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TimelineEvent {
    /// The number of the event within its cluster, from 1.
    pub id: u64,
    /// When it happened.
    #[serde(rename = "unix_ms", serialize_with = "unix_ms")]
    pub at: SystemTime,
    /// The name of the endpoint.
    pub endpoint: Arc<str>,
    /// What has happened.
    pub kind: TimelineKind,
    /// Why, if it is known. It may contain what an endpoint has sent.
    pub cause: Option<Arc<str>>,
}

/// The latest events of a cluster.
///
/// Its lock is held for the time of an insertion, and only when an endpoint changes its state.
#[derive(Debug, Default)]
pub(crate) struct Timeline(Mutex<Events>);

#[derive(Debug, Default)]
struct Events {
    last: u64,
    kept: VecDeque<TimelineEvent>,
}

impl Timeline {
    /// Whether anything is kept at all.
    pub(crate) const KEEPS: bool = true;

    /// Adds an event that happens now.
    pub(crate) fn add(&self, endpoint: &Arc<str>, kind: TimelineKind, cause: Option<Arc<str>>) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.last += 1;
        let event = TimelineEvent {
            id: events.last,
            at: SystemTime::now(),
            endpoint: endpoint.clone(),
            kind,
            cause,
        };
        if events.kept.len() == KEPT {
            events.kept.pop_front();
        }
        events.kept.push_back(event);
    }

    /// Returns the events, the latest one last.
    pub(crate) fn events(&self) -> Vec<TimelineEvent> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.kept.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_kept() {
        let timeline = Timeline::default();
        for _ in 0..KEPT + 5 {
            timeline.add(&"a".into(), TimelineKind::Added, None);
        }
        let ids: Vec<_> = timeline.events().iter().map(|event| event.id).collect();
        assert_eq!((ids.len(), ids[0], ids[KEPT - 1]), (KEPT, 6, 105));
    }
}
