//! Registers instruments with the recorder of the application.
//!
//! Takes about a microsecond and allocates: not to be done with every request.

use metrics::{
    Counter, Gauge, Histogram, Key, Label, Level, Metadata, SharedString, with_recorder,
};

use super::names::Description;

const METADATA: Metadata<'static> =
    Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// The keys and values of an instrument's labels.
pub(super) type Labels<'a> = &'a [(&'static str, SharedString)];

/// Returns the counter with these labels.
pub(super) fn counter(what: &Description, labels: Labels<'_>) -> Counter {
    with_recorder(|recorder| {
        recorder.describe_counter(what.name.into(), Some(what.unit), what.text.into());
        recorder.register_counter(&key(what, labels), &METADATA)
    })
}

/// Returns the gauge with these labels.
pub(super) fn gauge(what: &Description, labels: Labels<'_>) -> Gauge {
    with_recorder(|recorder| {
        recorder.describe_gauge(what.name.into(), Some(what.unit), what.text.into());
        recorder.register_gauge(&key(what, labels), &METADATA)
    })
}

/// Returns the histogram with these labels.
pub(super) fn histogram(what: &Description, labels: Labels<'_>) -> Histogram {
    with_recorder(|recorder| {
        recorder.describe_histogram(what.name.into(), Some(what.unit), what.text.into());
        recorder.register_histogram(&key(what, labels), &METADATA)
    })
}

fn key(what: &Description, labels: Labels<'_>) -> Key {
    let labels = labels.iter().cloned();
    let labels: Vec<_> = labels.map(|(key, value)| Label::new(key, value)).collect();
    Key::from_parts(what.name, labels)
}
