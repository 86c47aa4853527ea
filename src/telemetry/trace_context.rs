//! Trace context over HTTP, by the propagator that the application has set globally for OpenTelemetry.
//!
//! The request span continues the trace of the request; each attempt sends the context of its own span. Without a
//! propagator, or without OpenTelemetry's layer in the subscriber, the client's fields pass through as they are.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    global::get_text_map_propagator,
    propagation::{Extractor, Injector},
    trace::TraceContextExt,
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Makes a span part of the trace that the fields of a request name, unless a span around it is part of a trace
/// already: then a layer of the application has read the fields.
pub(super) fn continue_trace(span: &Span, fields: &HeaderMap) {
    if span.is_disabled() || is_in_trace(&Span::current().context()) {
        return;
    }
    let fields = ReceivedFields(fields);
    let trace = get_text_map_propagator(|propagator| propagator.extract(&fields));
    if is_in_trace(&trace) {
        // Fails if the subscriber has no layer of OpenTelemetry, and then there is no trace.
        let _ = span.set_parent(trace);
    }
}

/// Puts the context of a span into the fields of a request. Returns whether there is anything to be put.
pub(super) fn inject(span: &Span, fields: &mut HeaderMap) -> bool {
    let context = span.context();
    if !is_in_trace(&context) {
        return false;
    }
    let mut injected = InjectedFields {
        fields,
        changed: false,
    };
    get_text_map_propagator(|propagator| propagator.inject_context(&context, &mut injected));
    injected.changed
}

fn is_in_trace(context: &Context) -> bool {
    context.span().span_context().is_valid()
}

/// Reads the fields of a request. Of one that was sent several times, the propagator that knows what to do with it
/// gets all.
struct ReceivedFields<'a>(&'a HeaderMap);

impl Extractor for ReceivedFields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }

    fn get_all(&self, key: &str) -> Option<Vec<&str>> {
        let all = self.0.get_all(key).iter();
        let values: Vec<&str> = all.filter_map(|value| value.to_str().ok()).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// Replaces fields of a request. An empty value removes the field: there is no `tracestate` to be sent then, and that
/// of the client belongs to another `traceparent`.
struct InjectedFields<'a> {
    fields: &'a mut HeaderMap,
    changed: bool,
}

impl Injector for InjectedFields<'_> {
    fn set(&mut self, key: &str, value: String) {
        let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value))
        else {
            return;
        };
        self.changed = true;
        match value.is_empty() {
            true => drop(self.fields.remove(name)),
            false => drop(self.fields.insert(name, value)),
        }
    }
}
