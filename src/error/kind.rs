//! What can go wrong, the side at fault, and the status it becomes.

use std::fmt;

/// The side of the proxy that an error came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Side {
    /// The client that sent the request.
    Downstream,
    /// An endpoint, or the way to it.
    Upstream,
    /// This process: a setting, a limit of its own, or no endpoint to send to.
    Internal,
}

/// What went wrong: stage and side in one word.
///
/// [`as_str`](Self::as_str) is fit for the label of a metric: it holds no address, and there are few of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting that cannot work.
    Config,
    /// A hook on request heads made a request of it that cannot be sent.
    Hook,
    /// The cluster is empty, or its discovery has not said yet what there is.
    NoEndpoint,
    /// The request breaks a rule of HTTP.
    BadRequest,
    /// CONNECT, which a gateway does not serve.
    MethodNotAllowed,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// The request carries this proxy's own `Via` entry.
    Loop,
    /// The request body is larger than its limit.
    BodyTooLarge,
    /// The client stopped sending its request body for the idle timeout.
    ClientStalled,
    /// The client stopped reading its response body for the idle timeout.
    ClientNotReading,
    /// The client broke its request body off, or framed it badly.
    RequestBody,
    /// The client went away before it had its whole response.
    ClientGone,
    /// No connection could be made.
    Connect,
    /// No connection could be made in the connect timeout.
    ConnectTimeout,
    /// This process, or the system under it, has no file descriptor, port or memory left to connect with.
    LocalResources,
    /// As many connections are open as `max_connections` allows, and none became free in the connect timeout.
    MaxConnections,
    /// The response head did not come in the response timeout.
    ResponseTimeout,
    /// Nothing moved for the idle timeout.
    IdleTimeout,
    /// The exchange took longer than the total timeout.
    TotalTimeout,
    /// The connection broke, or what came over it was not HTTP, before there was a whole response head.
    Exchange,
    /// The response body broke off.
    ResponseBody,
    /// The endpoint switched protocols without having been asked, or to another protocol.
    Upgrade,
    /// An endpoint that is a service of the user's returned an error.
    Service,
}

impl ErrorKind {
    /// Name, side, status and words of each kind: the table of `docs/ERRORS.md`.
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
            Self::BadRequest => ("bad_request", Downstream, 400, "bad request"),
            Self::MethodNotAllowed => ("method_not_allowed", Downstream, 405, "method not allowed"),
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
            Self::IdleTimeout => ("idle_timeout", Upstream, 504, "idle timeout"),
            Self::TotalTimeout => ("total_timeout", Upstream, 504, "total timeout"),
            Self::Exchange => (
                "exchange",
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
        }
    }

    /// Its name in lower case, fit for a metric's label: `connect_timeout`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.describe().0
    }

    /// The side at fault.
    #[must_use]
    pub fn side(self) -> Side {
        self.describe().1
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
