//! What can go wrong, whose fault it is, and the status it becomes.
//!
//! There is one [`Error`] for the whole crate. How an exchange failed is decided once, where it failed; the status
//! code, the log line and the balancer all read that. `docs/ERRORS.md` has the table.

use std::{error::Error as StdError, fmt, sync::Arc};

use http::StatusCode;

/// A boxed error, as tower names it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An error of this crate.
///
/// `Display` says one level only; [`source`](StdError::source) leads to the cause. Neither is meant for the downstream
/// client: addresses and causes belong in logs. A refused setting says all in its `Display`.
pub struct Error(Box<Inner>);

struct Inner {
    kind: Kind,
    endpoint: Option<Arc<str>>,
    source: Option<BoxError>,
}

/// Which side of the proxy an error came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Side {
    /// The client that sent the request.
    Downstream,
    /// An endpoint, or the way to it.
    Upstream,
    /// This process: a setting, or nobody to send to.
    Internal,
}

/// How it failed: stage and side in one word. Private, so that it can grow; users ask the predicates of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A setting that cannot work, by name.
    Config(&'static str),
    NoEndpoint,
    /// The request head breaks a rule of HTTP.
    BadRequest(&'static str),
    /// CONNECT, which a gateway does not do.
    Method,
    /// A transfer coding other than `chunked`.
    Coding,
    /// The request carries our own `Via` entry.
    Loop,
    BodyTooLarge,
    ClientStalled,
    /// The request body broke off or was badly framed.
    RequestBody,
    Unreachable,
    /// This process, or the system under it, has no descriptor, port or memory left to connect with.
    LocalResources,
    ConnectTimeout,
    /// As many connections are open as may be, and all are in use.
    Busy,
    HeadTimeout,
    IdleTimeout,
    TotalTimeout,
    /// The connection broke, or what came over it was not HTTP, before a whole response head.
    Exchange,
    ResponseBody,
    /// A 101 that nobody asked for, or to another protocol.
    Upgrade,
    /// An endpoint that is a service of the user's returned an error.
    Service,
}

impl Kind {
    /// Side, status and words of each kind: the table of `docs/ERRORS.md`.
    fn describe(self) -> (Side, u16, &'static str) {
        use Side::{Downstream, Internal, Upstream};
        match self {
            Self::Config(_) => (Internal, 500, "invalid setting"),
            Self::NoEndpoint => (Internal, 503, "no endpoint is ready"),
            Self::BadRequest(_) => (Downstream, 400, "bad request"),
            Self::Method => (Downstream, 405, "method not allowed"),
            Self::Coding => (Downstream, 501, "unknown transfer coding"),
            Self::Loop => (Downstream, 508, "the request has passed this proxy before"),
            Self::BodyTooLarge => (Downstream, 413, "request body too large"),
            Self::ClientStalled => (Downstream, 408, "the client stopped sending"),
            Self::RequestBody => (Downstream, 400, "the request body broke off"),
            Self::Unreachable => (Upstream, 502, "could not connect"),
            Self::LocalResources => (
                Internal,
                503,
                "out of local resources: file descriptors, ports or memory",
            ),
            Self::ConnectTimeout => (Upstream, 504, "connecting took too long"),
            Self::Busy => (Upstream, 503, "no connection became free"),
            Self::HeadTimeout => (Upstream, 504, "no response head in time"),
            Self::IdleTimeout => (Upstream, 504, "nothing moved for too long"),
            Self::TotalTimeout => (Upstream, 504, "the exchange took too long"),
            Self::Exchange => (Upstream, 502, "the exchange with the endpoint failed"),
            Self::ResponseBody => (Upstream, 502, "the response body broke off"),
            Self::Upgrade => (
                Upstream,
                502,
                "the endpoint switched to a protocol nobody asked for",
            ),
            Self::Service => (Upstream, 502, "the endpoint's service failed"),
        }
    }
}

impl Error {
    pub(crate) fn new(kind: Kind) -> Self {
        Self(Box::new(Inner {
            kind,
            endpoint: None,
            source: None,
        }))
    }

    pub(crate) fn config(setting: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(Kind::Config(setting)).with(source)
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

    /// What something of the user's returned, as an `Error`: our own is taken out of its box, anything else is wrapped.
    pub(crate) fn own_or(kind: Kind, error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => *own,
            Err(other) => Self::new(kind).with(other),
        }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The side that is at fault.
    #[must_use]
    pub fn side(&self) -> Side {
        self.0.kind.describe().0
    }

    /// The status a downstream client gets for it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.kind.describe().1).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// The endpoint it happened at, as its address or name, if one had been picked.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    /// No connection could be made, so the request never left this process.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        matches!(
            self.0.kind,
            Kind::Unreachable | Kind::LocalResources | Kind::ConnectTimeout | Kind::Busy
        )
    }

    /// A deadline passed: connect, response head, idle or total.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.0.kind,
            Kind::ConnectTimeout
                | Kind::HeadTimeout
                | Kind::IdleTimeout
                | Kind::TotalTimeout
                | Kind::ClientStalled
        )
    }

    /// There was no endpoint, or none became ready in time.
    #[must_use]
    pub fn is_no_endpoint(&self) -> bool {
        self.0.kind == Kind::NoEndpoint
    }

    /// A setting was refused; `Display` names it.
    #[must_use]
    pub fn is_config(&self) -> bool {
        matches!(self.0.kind, Kind::Config(_))
    }

    /// The request body was larger than the limit.
    #[must_use]
    pub fn is_body_too_large(&self) -> bool {
        self.0.kind == Kind::BodyTooLarge
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.kind.describe().2)?;
        match self.0.kind {
            Kind::BadRequest(what) => write!(f, ": {what}")?,
            // For the eyes of whoever set it, so the whole story on one line.
            Kind::Config(what) => {
                write!(f, ": {what}")?;
                return self
                    .0
                    .source
                    .as_ref()
                    .map_or(Ok(()), |source| write!(f, ": {source}"));
            }
            _ => {}
        }
        match &self.0.endpoint {
            Some(endpoint) => write!(f, " ({endpoint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            kind,
            endpoint,
            source,
        } = &*self.0;
        f.debug_struct("Error")
            .field("kind", kind)
            .field("endpoint", endpoint)
            .field("source", source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self.0.kind {
            Kind::Config(_) => None,
            _ => self.0.source.as_deref().map(|source| source as _),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_one_level_and_source_leads_on() {
        let error = Error::new(Kind::Unreachable)
            .with("refused")
            .at(&"http://10.0.0.1:80".into());
        assert_eq!(error.to_string(), "could not connect (http://10.0.0.1:80)");
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("refused")
        );
        assert!(error.is_connect() && !error.is_timeout());
    }

    #[test]
    fn an_error_of_ours_survives_boxing() {
        let boxed: BoxError = Box::new(Error::new(Kind::HeadTimeout));
        assert_eq!(
            Error::own_or(Kind::Service, boxed).status(),
            StatusCode::GATEWAY_TIMEOUT
        );
        assert_eq!(
            Error::own_or(Kind::Service, "other".into()).kind(),
            Kind::Service
        );
    }
}
