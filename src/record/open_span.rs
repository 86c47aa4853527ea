//! A span of `tracing` that is open for as long as what it describes.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tracing::{Level, Span, level_filters::LevelFilter, span::EnteredSpan};

/// The span of an exchange or of an attempt, which is part of its record.
///
/// The record may outlive what it describes, since users hold it as an [`Info`](super::Info), so the span is closed by
/// [`close`](Self::close) and not by the drop. Where spans are not enabled, nothing is stored: it costs a word or two
/// in the record, and nothing in the futures and bodies that the exchange moves through.
#[derive(Debug)]
pub(super) struct OpenSpan<T>(OnceLock<Box<SpanState<T>>>);

#[derive(Debug)]
struct SpanState<T> {
    /// `None` once it has been closed. Locked for a moment only, and only where spans are enabled.
    span: Mutex<Option<Span>>,
    at_end: AtEnd<T>,
}

/// Adds to a span what is known when the part of the record that it describes has ended.
pub(crate) type AtEnd<T> = fn(&T, &Span);

impl<T> Default for OpenSpan<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}

impl<T> OpenSpan<T> {
    /// Keeps a span until [`close`](Self::close), and has `at_end` called then. Does nothing for a span that is
    /// disabled, or if there is one already.
    pub(super) fn open(&self, span: Span, at_end: AtEnd<T>) {
        if !span.is_disabled() {
            let span = Mutex::new(Some(span));
            let _ = self.0.set(Box::new(SpanState { span, at_end }));
        }
    }

    /// Returns the span, if there is one and it is open.
    pub(super) fn get(&self) -> Option<Span> {
        self.0.get()?.lock().clone()
    }

    /// Enters the span, if there is one and it is open. What is logged until the drop of the result is part of it.
    #[cold]
    pub(super) fn enter(&self) -> Option<EnteredSpan> {
        self.get().map(Span::entered)
    }

    /// Closes the span of `described`, which has ended.
    pub(super) fn close(&self, described: &T) {
        let Some(state) = self.0.get() else { return };
        let span = state.lock().take();
        if let Some(span) = span {
            (state.at_end)(described, &span);
        }
    }
}

impl<T> SpanState<T> {
    fn lock(&self) -> MutexGuard<'_, Option<Span>> {
        self.span.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns whether any subscriber may want spans of this crate. The answer costs one load.
#[inline]
pub(crate) fn spans_are_wanted() -> bool {
    LevelFilter::current() >= Level::DEBUG
}
