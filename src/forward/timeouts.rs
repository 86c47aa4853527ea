//! The deadlines of an exchange: the proxy's own, those of a single request, and gRPC's.
//!
//! Three sources, and [`Timeouts::of_request`] is the only place where they meet:
//!
//! 1. The settings of the proxy.
//! 2. [`RequestTimeouts`] in the extensions of a request, which replace the settings one by one.
//! 3. `grpc-timeout` on a gRPC call, which can only make the total deadline come sooner.
//!
//! A deadline never passes early, and is noticed within tokio's resolution of a millisecond, however long it is and
//! however many others there are. Only a client that does not read is noticed later, by a tenth of the idle time.
//!
//! How they are enforced is elsewhere: until the response head in `head_timer.rs`, after it in `body/response.rs` and
//! `body/unread.rs`, for tunnels in `tunnel/relay.rs`. The timers are those of `clock/timer.rs`. The connect timeout is
//! a setting of the endpoint's client.

use std::time::Duration;

use http::{HeaderMap, request::Parts};

use crate::rewrite::is_grpc;

/// The deadlines of an exchange. `None` is no deadline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From the last byte of the request, or its arrival if it has no body, to the response head.
    pub(crate) head: Option<Duration>,
    /// The longest time in which nothing moves, in bodies and tunnels.
    pub(crate) idle: Option<Duration>,
    /// For the whole exchange, from its arrival to the last byte of the response. Tunnels are excepted.
    pub(crate) total: Option<Duration>,
}

impl Default for Timeouts {
    /// The response timeout is that of nginx's `proxy_read_timeout`, the idle timeout that of YARP's `ActivityTimeout`.
    /// There is no total timeout, which would break long downloads and event streams.
    fn default() -> Self {
        let (head, idle) = (Duration::from_secs(60), Duration::from_secs(100));
        Self {
            head: Some(head),
            idle: Some(idle),
            total: None,
        }
    }
}

/// The deadlines of a single request, for its extensions.
///
/// Those that are set replace the deadlines of the proxy; the others stay. `None` is no deadline.
///
/// A layer, a handler or [`rewrite_request`](crate::ReverseProxy::rewrite_request) puts them there; the proxy reads
/// them when all of these have run.
///
/// ```
/// use std::time::Duration;
/// use axum_upstream::{RequestTimeouts, ReverseProxy};
///
/// let proxy = ReverseProxy::to("http://127.0.0.1:5000")?.rewrite_request(|head| {
///     if head.uri.path().starts_with("/reports/") {
///         let timeouts = RequestTimeouts::new().response(Duration::from_secs(600)).total(None);
///         head.extensions.insert(timeouts);
///     }
/// });
/// # Ok::<(), axum_upstream::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "it has no effect until it is in the extensions of a request"]
pub struct RequestTimeouts {
    /// `None` keeps the proxy's deadline, `Some(None)` is no deadline. The same holds for the other two.
    head: Option<Option<Duration>>,
    idle: Option<Option<Duration>>,
    total: Option<Option<Duration>>,
}

impl RequestTimeouts {
    /// Returns deadlines that replace none of the proxy's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the longest time from the last byte of the request to the response head, as
    /// [`response_timeout`](crate::ReverseProxy::response_timeout) does.
    pub fn response(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.head = Some(timeout.into());
        self
    }

    /// Sets the longest time in which nothing moves, in either body or in the tunnel, as
    /// [`idle_timeout`](crate::ReverseProxy::idle_timeout) does.
    pub fn idle(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle = Some(timeout.into());
        self
    }

    /// Sets the longest time for the whole exchange, as [`total_timeout`](crate::ReverseProxy::total_timeout) does. A
    /// `grpc-timeout` that is sooner still counts.
    pub fn total(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.total = Some(timeout.into());
        self
    }
}

impl Timeouts {
    /// Returns the deadlines of one request: the proxy's, replaced by those in its extensions, and the sooner of the
    /// total deadline and `grpc-timeout`.
    ///
    /// gRPC's deadline cannot be extended here: it binds all that take part in a call, and the client gives up at that
    /// time whatever the proxy does.
    ///
    /// `parts` is the head after all hooks, so that what they set counts.
    pub(super) fn of_request(mut self, parts: &Parts) -> Self {
        if let Some(own) = parts.extensions.get::<RequestTimeouts>() {
            self.head = own.head.unwrap_or(self.head);
            self.idle = own.idle.unwrap_or(self.idle);
            self.total = own.total.unwrap_or(self.total);
        }
        if is_grpc(&parts.method, &parts.headers) {
            self.total = [self.total, grpc_timeout(&parts.headers)]
                .into_iter()
                .flatten()
                .min();
        }
        self
    }
}

/// Returns the deadline of a gRPC call, or `None` if it has none, or one that is malformed.
///
/// "gRPC over HTTP2", Requests: "Timeout → "grpc-timeout" TimeoutValue TimeoutUnit; TimeoutValue → {positive integer as
/// ASCII string of at most 8 digits}".
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 60 * 60),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn timeouts(request: http::request::Builder) -> Timeouts {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        Timeouts::default().of_request(&parts)
    }

    fn call(timeout: &str) -> http::request::Builder {
        let call = Request::post("/").header("content-type", "application/grpc");
        call.header("grpc-timeout", timeout)
    }

    #[test]
    fn a_request_replaces_what_it_sets() {
        let own = RequestTimeouts::new()
            .response(None)
            .total(Duration::from_secs(5));
        let timeouts = timeouts(Request::get("/").extension(own));
        assert_eq!(timeouts.head, None);
        assert_eq!(timeouts.idle, Timeouts::default().idle);
        assert_eq!(timeouts.total, Some(Duration::from_secs(5)));
    }

    #[test]
    fn the_sooner_total_deadline_counts() {
        let own = |secs| RequestTimeouts::new().total(Duration::from_secs(secs));
        let total = |secs| timeouts(call("5S").extension(own(secs))).total;
        assert_eq!(total(3), Some(Duration::from_secs(3)));
        assert_eq!(total(8), Some(Duration::from_secs(5)));
    }

    #[test]
    fn every_unit_of_grpc() {
        for (value, total) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000S", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("+1S", None),
            ("", None),
        ] {
            assert_eq!(timeouts(call(value)).total, total, "{value}");
        }
        let plain = Request::get("/").header("grpc-timeout", "1S");
        assert_eq!(timeouts(plain).total, None, "no call");
    }
}
