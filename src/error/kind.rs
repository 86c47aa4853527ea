//! The kinds of errors, and the table that gives each its name, side, status and words.
//!
//! A new kind needs a variant of [`ErrorKind`], a row in [`ErrorKind::describe`] and a row in `docs/ERRORS.md`.

use std::fmt;

/// The side of the proxy that is at fault for an error.
///
/// Only [`Upstream`](Self::Upstream) counts as a failure of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Side {
    /// The client that sent the request, or the network between it and this process.
    Downstream,
    /// An endpoint, or the network between it and this process.
    Upstream,
    /// This process: a setting, a limit of its own, or a cluster without an endpoint to send to.
    Internal,
}

/// What went wrong: the stage of the exchange and the side at fault, in one value.
///
/// Each kind has one [side](Self::side) and one status, which [`Error::status`](super::Error::status) returns; the
/// statuses are given below. More kinds may be added in a minor release.
///
/// [`as_str`](Self::as_str) suits as a metric's label: it contains no address, and there are few distinct values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting that cannot work. 500, if it is found out by a request rather than by the setter.
    Config,
    /// A hook on request heads left a head that cannot be sent. 500.
    Hook,
    /// The cluster has no endpoint to send to, or its discovery has not yielded one within the ready timeout. 503.
    NoEndpoint,
    /// There is no cluster for the request: see [`clusters`](crate::clusters). 404.
    NoCluster,
    /// The request violates a rule of HTTP, or its path would leave a prefix. 400.
    BadRequest,
    /// The policy of a forward proxy does not allow the target, its address, or the client that asks for it. 403.
    Denied,
    /// The client has as many tunnels as it may have. 429.
    TooManyTunnels,
    /// The method is CONNECT, which a gateway does not serve. 405.
    MethodNotAllowed,
    /// The request is an extended CONNECT for another protocol than an allowed WebSocket. 501.
    ConnectProtocol,
    /// The request has a transfer coding other than `chunked`. 501.
    TransferCoding,
    /// The request carries this proxy's own `Via` entry: it has been here before. 508.
    Loop,
    /// The request body is larger than a limit, the proxy's or that of a layer in front. 413.
    BodyTooLarge,
    /// The client sent nothing of its request body for the idle timeout, although the endpoint was ready for more. 408.
    ClientStalled,
    /// The client read nothing of the response body for the idle timeout. The response has begun, so its body is cut
    /// short.
    ClientNotReading,
    /// The request body ended early or was badly framed. 400.
    RequestBody,
    /// The client disconnected before it had the whole response. 499 in the log; nothing is sent.
    ClientGone,
    /// No connection to the endpoint could be established. 502.
    Connect,
    /// No connection to the endpoint was established within the connect timeout. 504.
    ConnectTimeout,
    /// This process, or the operating system, has no file descriptor, port or memory left for another connection. 503.
    LocalResources,
    /// `max_connections` connections are open, and none became free within the connect timeout. 503.
    MaxConnections,
    /// The response head did not arrive within the response timeout. 504.
    ResponseTimeout,
    /// The response head of one attempt did not arrive within the per-try timeout. 504, if no other attempt followed.
    PerTryTimeout,
    /// The endpoint neither read nor sent anything for the idle timeout. 504, or a body cut short once the head has
    /// been sent.
    IdleTimeout,
    /// The exchange took longer than the total timeout. 504, or a body cut short once the head has been sent.
    TotalTimeout,
    /// The connection failed before a whole response head arrived, or what arrived was not valid HTTP. 502.
    Connection,
    /// The response body ended early. The response has begun, so its body is cut short.
    ResponseBody,
    /// The endpoint switched protocols without having been asked to, or to another protocol. 502.
    Upgrade,
    /// An endpoint's service that is not a client of this crate returned an error of its own. 502.
    Service,
    /// An in-flight limit was reached, and the queue was full, or none of the requests before this one ended in time.
    /// 503.
    Overloaded,
    /// Another attempt of the same exchange was answered first, so this one was cancelled. It is the outcome of an
    /// attempt, and never that of an exchange.
    Superseded,
    /// The endpoint was drained, and the exchange had not ended at the deadline. 503, or a body cut short once the head
    /// has been sent.
    Drained,
}

impl ErrorKind {
    /// Returns the kind's name, side, status and words: the table of `docs/ERRORS.md`.
    ///
    /// The status of a kind that can occur only after the response head has been sent is used in logs alone.
    pub(super) fn describe(self) -> (&'static str, Side, u16, &'static str) {
        use Side::{Downstream, Internal, Upstream};
        match self {
            Self::Config => ("config", Internal, 500, "invalid setting"),
            Self::Hook => (
                "hook",
                Internal,
                500,
                "a hook made a request that cannot be sent",
            ),
            Self::NoEndpoint => ("no_endpoint", Internal, 503, "no endpoint available"),
            Self::NoCluster => ("no_cluster", Downstream, 404, "no such cluster"),
            Self::BadRequest => ("bad_request", Downstream, 400, "bad request"),
            Self::Denied => ("denied", Downstream, 403, "denied"),
            Self::TooManyTunnels => (
                "too_many_tunnels",
                Downstream,
                429,
                "the client has too many tunnels",
            ),
            Self::MethodNotAllowed => ("method_not_allowed", Downstream, 405, "method not allowed"),
            Self::ConnectProtocol => (
                "connect_protocol",
                Downstream,
                501,
                "unsupported protocol in CONNECT",
            ),
            Self::TransferCoding => (
                "transfer_coding",
                Downstream,
                501,
                "unknown transfer coding",
            ),
            Self::Loop => ("loop", Downstream, 508, "request loop detected"),
            Self::BodyTooLarge => ("body_too_large", Downstream, 413, "request body too large"),
            Self::ClientStalled => (
                "client_stalled",
                Downstream,
                408,
                "idle timeout: the client stopped sending",
            ),
            Self::ClientNotReading => (
                "client_not_reading",
                Downstream,
                408,
                "idle timeout: the client stopped reading",
            ),
            Self::RequestBody => ("request_body", Downstream, 400, "request body broken off"),
            Self::ClientGone => (
                "client_gone",
                Downstream,
                499,
                "client closed the connection",
            ),
            Self::Connect => ("connect", Upstream, 502, "connect failed"),
            Self::ConnectTimeout => ("connect_timeout", Upstream, 504, "connect timeout"),
            Self::LocalResources => (
                "local_resources",
                Internal,
                503,
                "out of local resources: file descriptors, ports or memory",
            ),
            Self::MaxConnections => (
                "max_connections",
                Internal,
                503,
                "max_connections reached, and none became free",
            ),
            Self::ResponseTimeout => (
                "response_timeout",
                Upstream,
                504,
                "response timeout: no response head in time",
            ),
            Self::PerTryTimeout => (
                "per_try_timeout",
                Upstream,
                504,
                "per-try timeout: no response head in time",
            ),
            Self::IdleTimeout => ("idle_timeout", Upstream, 504, "idle timeout"),
            Self::TotalTimeout => ("total_timeout", Upstream, 504, "total timeout"),
            Self::Connection => (
                "connection",
                Upstream,
                502,
                "connection to the endpoint failed",
            ),
            Self::ResponseBody => ("response_body", Upstream, 502, "response body broken off"),
            Self::Upgrade => (
                "upgrade",
                Upstream,
                502,
                "endpoint switched to a protocol not asked for",
            ),
            Self::Service => ("service", Upstream, 502, "endpoint service failed"),
            Self::Overloaded => ("overloaded", Internal, 503, "in-flight limit reached"),
            Self::Superseded => (
                "superseded",
                Internal,
                503,
                "another attempt was answered first",
            ),
            Self::Drained => (
                "drained",
                Internal,
                503,
                "endpoint drained: its deadline has passed",
            ),
        }
    }

    /// Returns the kind's name in snake case, such as `connect_timeout`, for use as a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.describe().0
    }

    /// Returns the side at fault.
    #[must_use]
    pub fn side(self) -> Side {
        self.describe().1
    }
}

impl fmt::Display for ErrorKind {
    /// Writes the name that [`as_str`](Self::as_str) returns.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
