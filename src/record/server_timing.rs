//! `Server-Timing`: the facts of an exchange for the tools of a browser.

use std::{fmt::Write, time::Duration};

use http::HeaderValue;

use super::info::Info;

impl Info {
    /// Returns the times until the response head as the value of a `Server-Timing` field (W3C Server Timing): how long
    /// the request waited for an endpoint, for its connection if it needed a new one, and for the response head; and
    /// the number of attempts if there was more than one.
    ///
    /// It names no endpoint. `None` without any attempt.
    #[must_use]
    pub fn server_timing(&self) -> Option<HeaderValue> {
        let last = self.0.outermost_attempt()?;
        let attempts = self.attempts().filter(|attempt| attempt.depth() == 0);
        let count = attempts.count();
        let mut value = String::new();
        let mut add = |name: &str, took: Duration| {
            let comma = if value.is_empty() { "" } else { ", " };
            // Writing to a string does not fail.
            let _ = write!(value, "{comma}{name};dur={:.3}", took.as_secs_f64() * 1e3);
        };
        add("wait", last.started());
        if let Some(connected) = last.connected().filter(|_| !last.is_reused()) {
            add("connect", connected);
        }
        if let Some(head) = last.time_to_head() {
            add("upstream", head);
        }
        if count > 1 {
            let _ = write!(value, ", attempts;desc=\"{count}\"");
        }
        HeaderValue::try_from(value).ok()
    }
}
