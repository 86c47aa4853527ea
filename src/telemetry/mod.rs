//! What operators see of exchanges: spans, trace context, and a log with one line for each.
//!
//! Everything here reads the [record](crate::record) of an exchange, and decides nothing.

pub mod access_log;
mod span;
#[cfg(feature = "opentelemetry")]
mod trace_context;

pub(crate) use self::span::{
    SpanServer, answered, open_attempt, open_request, request_span, sent_to,
};
