//! What can go wrong, which side is at fault, and the status it becomes.
//!
//! There is one [`Error`] for the whole crate. Its [`ErrorKind`] is decided where the exchange failed; the status code,
//! the log line and the attempt's [`Outcome`](crate::Outcome) all read that. `docs/ERRORS.md` has the table.
//!
//! ```
//! use axum_upstream::{EndpointSpec, ErrorKind};
//!
//! let error = EndpointSpec::url("ftp://example.com").unwrap_err();
//! assert_eq!(error.kind(), ErrorKind::Config);
//! assert_eq!(error.kind().as_str(), "config");
//! ```

use std::{error::Error as StdError, fmt, sync::Arc};

use http::StatusCode;

/// A boxed error, as tower names it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An error of this crate.
///
/// `Display` says one level only; [`source`](StdError::source) leads to the cause. Neither is meant for the downstream
/// client: addresses and causes belong in logs. A refused setting says everything in its `Display`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// What exactly is wrong: the name of a setting, or the rule that a request breaks.
    detail: Option<&'static str>,
    endpoint: Option<Arc<str>>,
    source: Option<BoxError>,
}

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
    fn describe(self) -> (&'static str, Side, u16, &'static str) {
        use Side::{Downstream, Internal, Upstream};
        match self {
            Self::Config => ("config", Internal, 500, "invalid setting"),
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

impl Error {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: None,
            endpoint: None,
            source: None,
        }))
    }

    pub(crate) fn config(setting: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Config).detail(setting).with(source)
    }

    pub(crate) fn bad_request(rule: &'static str) -> Self {
        Self::new(ErrorKind::BadRequest).detail(rule)
    }

    fn detail(mut self, detail: &'static str) -> Self {
        self.0.detail = Some(detail);
        self
    }

    pub(crate) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the endpoint an error belongs to, unless a lower floor has done so.
    pub(crate) fn at(mut self, endpoint: &Arc<str>) -> Self {
        self.0.endpoint.get_or_insert_with(|| endpoint.clone());
        self
    }

    pub(crate) fn at_any(self, endpoint: Option<&Arc<str>>) -> Self {
        match endpoint {
            Some(endpoint) => self.at(endpoint),
            None => self,
        }
    }

    /// What a service of the user's returned, as an `Error`: one of ours is taken out of its box, another is wrapped.
    pub(crate) fn own_or(kind: ErrorKind, error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => *own,
            Err(other) => Self::new(kind).with(other),
        }
    }

    /// What went wrong, in one word.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The side that is at fault.
    #[must_use]
    pub fn side(&self) -> Side {
        self.0.kind.side()
    }

    /// The status a downstream client gets for it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.describe().2).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// The endpoint it happened at, as its address or name, if one had been picked.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    /// Whether no connection could be made, so that the request never left this process.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        use ErrorKind::{Connect, ConnectTimeout, LocalResources, MaxConnections};
        matches!(
            self.0.kind,
            Connect | ConnectTimeout | LocalResources | MaxConnections
        )
    }

    /// Whether a deadline passed: connect, response, idle or total.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        use ErrorKind::{
            ClientStalled, ConnectTimeout, IdleTimeout, ResponseTimeout, TotalTimeout,
        };
        matches!(
            self.0.kind,
            ConnectTimeout | ResponseTimeout | IdleTimeout | TotalTimeout | ClientStalled
        )
    }

    /// Whether there was no endpoint to send to.
    #[must_use]
    pub fn is_no_endpoint(&self) -> bool {
        self.0.kind == ErrorKind::NoEndpoint
    }

    /// Whether a setting was refused; `Display` names it.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.0.kind == ErrorKind::Config
    }

    /// Whether the request body was larger than its limit.
    #[must_use]
    pub fn is_body_too_large(&self) -> bool {
        self.0.kind == ErrorKind::BodyTooLarge
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            detail,
            endpoint,
            source,
        } = &*self.0;
        f.write_str(kind.describe().3)?;
        if let Some(detail) = detail {
            write!(f, ": {detail}")?;
        }
        if let (ErrorKind::Config, Some(source)) = (kind, source) {
            // A setting is put right by the one who reads this, so the whole story stands on one line.
            return write!(f, ": {source}");
        }
        match endpoint {
            Some(endpoint) => write!(f, " ({endpoint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            detail,
            endpoint,
            source,
        } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("detail", detail)
            .field("endpoint", endpoint)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.0.kind {
            ErrorKind::Config => None,
            _ => self.0.source.as_deref().map(|source| source as _),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_one_level_and_source_leads_on() {
        let error = Error::new(ErrorKind::Connect)
            .with("refused")
            .at(&"http://10.0.0.1:80".into());
        assert_eq!(error.to_string(), "connect failed (http://10.0.0.1:80)");
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("refused")
        );
        assert!(error.is_connect() && !error.is_timeout());
    }

    #[test]
    fn an_error_of_ours_survives_boxing() {
        let boxed: BoxError = Box::new(Error::new(ErrorKind::ResponseTimeout));
        assert_eq!(
            Error::own_or(ErrorKind::Service, boxed).status(),
            StatusCode::GATEWAY_TIMEOUT
        );
        assert_eq!(
            Error::own_or(ErrorKind::Service, "other".into()).kind(),
            ErrorKind::Service
        );
    }
}
