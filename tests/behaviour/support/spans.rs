//! A subscriber that keeps the spans of the crate, for the thread of the test.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock},
};

use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// A span, as it is now.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    id: u64,
    pub name: &'static str,
    /// The index of its parent among the spans.
    pub parent: Option<usize>,
    pub fields: BTreeMap<&'static str, String>,
    /// The messages of its events.
    pub events: Vec<String>,
    pub closed: bool,
}

impl Seen {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Makes a subscriber that of this thread until the guard is dropped.
///
/// While there is only one subscriber in the process, `tracing` asks that of the thread which comes to a span first
/// whether anybody wants it. In a thread of another test there is none, and then the span is off for all. So two more
/// are kept, which want everything.
pub fn subscribe(subscriber: impl Into<Dispatch>) -> DefaultGuard {
    static OTHERS: OnceLock<[Dispatch; 2]> = OnceLock::new();
    OTHERS.get_or_init(|| [(); 2].map(|()| Dispatch::new(tracing_subscriber::registry())));
    tracing::dispatcher::set_default(&subscriber.into())
}

/// The spans so far, in the order of their beginning.
#[derive(Clone, Default)]
pub struct Spans(Arc<Mutex<Vec<Seen>>>);

impl Spans {
    /// Keeps spans of this level and above until the guard is dropped.
    pub fn capture(level: LevelFilter) -> (Self, DefaultGuard) {
        let spans = Self::default();
        let subscriber = tracing_subscriber::registry()
            .with(level)
            .with(spans.clone());
        (spans, subscribe(subscriber))
    }

    pub fn all(&self) -> Vec<Seen> {
        self.0.lock().unwrap().clone()
    }

    /// The spans of this name.
    pub fn named(&self, name: &str) -> Vec<Seen> {
        let all = self.all();
        all.into_iter().filter(|span| span.name == name).collect()
    }

    pub fn all_closed(&self) -> bool {
        self.all().iter().all(|span| span.closed)
    }

    fn with(&self, id: &Id, change: impl FnOnce(&mut Seen)) {
        let mut spans = self.0.lock().unwrap();
        // Identities are used again.
        let span = spans.iter_mut().rev().find(|span| span.id == id.into_u64());
        if let Some(span) = span {
            change(span);
        }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("axum_upstream")
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if !is_ours(attributes.metadata()) {
            return;
        }
        let parent = context.span(id).unwrap().parent().map(|span| span.id());
        let mut spans = self.0.lock().unwrap();
        let parent = parent.and_then(|parent| {
            let parent = parent.into_u64();
            spans.iter().rposition(|span| span.id == parent)
        });
        let mut span = Seen {
            id: id.into_u64(),
            name: attributes.metadata().name(),
            parent,
            ..Seen::default()
        };
        attributes.record(&mut Values(&mut span.fields));
        spans.push(span);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        self.with(id, |span| values.record(&mut Values(&mut span.fields)));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context
            .event_span(event)
            .filter(|_| is_ours(event.metadata()))
        else {
            return;
        };
        let mut values = BTreeMap::new();
        event.record(&mut Values(&mut values));
        self.with(&span.id(), |span| span.events.push(format!("{values:?}")));
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.with(&id, |span| span.closed = true);
    }
}

struct Values<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Values<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        // Recorded twice, a field would be there twice for other subscribers.
        assert_eq!(self.0.insert(field.name(), value.to_owned()), None);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
