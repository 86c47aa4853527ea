//! The error type, opaque but for its kind, its endpoint and its source.

use std::{error::Error as StdError, fmt, sync::Arc};

use http::StatusCode;

use super::kind::{ErrorKind, Side};

/// A boxed error, as tower defines it.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// An error of this crate.
///
/// `Display` describes this error only; [`source`](StdError::source) returns its cause. Neither is meant for the
/// downstream client: addresses and causes belong in logs. A refused setting is the exception: its `Display` includes
/// the cause, and it has no `source`.
///
/// ```
/// use axum_upstream::{EndpointSpec, Side};
///
/// let error = EndpointSpec::url("ftp://example.com").unwrap_err();
/// assert!(error.is_config());
/// assert_eq!(error.side(), Side::Internal);
/// assert!(error.to_string().contains("ftp://example.com"));
/// ```
pub struct Error(Box<Inner>);

/// The contents of an [`Error`], boxed so that a `Result` with an `Error` stays small.
struct Inner {
    kind: ErrorKind,
    /// What exactly is wrong: the name of a setting, the rule that a request violates, or what a hook did.
    detail: Option<&'static str>,
    /// The name of the endpoint at which the error occurred, if one had been picked.
    endpoint: Option<Arc<str>>,
    /// The cause. Never a request or anything else that has to be handed back: `upstream::SendError` carries that.
    source: Option<BoxError>,
}

impl Error {
    /// Returns an error of this kind, without details, endpoint or source.
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            kind,
            detail: None,
            endpoint: None,
            source: None,
        }))
    }

    /// Returns the error of a setter that refuses its value. `setting` is what the user called: `strip_prefix`.
    pub(crate) fn config(setting: &'static str, source: impl Into<BoxError>) -> Self {
        Self::new(ErrorKind::Config).detail(setting).with(source)
    }

    /// Returns the error of a request that a hook made impossible to send.
    pub(crate) fn hook(fault: &'static str) -> Self {
        Self::new(ErrorKind::Hook).detail(fault)
    }

    /// Returns the error of a request that violates `rule`. The text goes to the log, never to the client.
    pub(crate) fn bad_request(rule: &'static str) -> Self {
        Self::new(ErrorKind::BadRequest).detail(rule)
    }

    /// Sets the detail, which `Display` appends to the words of the kind.
    pub(crate) fn detail(mut self, detail: &'static str) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Returns why a request was denied, in words that are meant for the client too. `None` for any other error.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.0.detail.filter(|_| self.0.kind == ErrorKind::Denied)
    }

    /// Returns of a refused setting which one it is, as [`config`](Self::config) was told, and why.
    #[cfg(feature = "config")]
    pub(crate) fn refusal(&self) -> (&'static str, String) {
        let why = self.0.source.as_ref().map(ToString::to_string);
        (self.0.detail.unwrap_or_default(), why.unwrap_or_default())
    }

    /// Sets the cause, which [`source`](StdError::source) returns.
    pub(crate) fn with(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the endpoint at which the error occurred, unless it is named already.
    ///
    /// The innermost endpoint is named first, and stays: of a cluster inside another, the address that failed is worth
    /// more than the name of the cluster.
    pub(crate) fn at(mut self, endpoint: &Arc<str>) -> Self {
        self.0.endpoint.get_or_insert_with(|| endpoint.clone());
        self
    }

    /// Like [`at`](Self::at), if there is an endpoint.
    pub(crate) fn at_any(self, endpoint: Option<&Arc<str>>) -> Self {
        match endpoint {
            Some(endpoint) => self.at(endpoint),
            None => self,
        }
    }

    /// Returns an `Error` for what a user's service returned: an `Error` is taken out of its box, anything else becomes
    /// the source of an error of `kind`.
    ///
    /// Only the outermost box is looked into. An `Error` that another error has as its source stays wrapped.
    pub(crate) fn own_or(kind: ErrorKind, error: BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => *own,
            Err(other) => Self::new(kind).with(other),
        }
    }

    /// Returns what went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns the side at fault.
    #[must_use]
    pub fn side(&self) -> Side {
        self.0.kind.side()
    }

    /// Returns the status with which the downstream client is answered.
    ///
    /// An error that occurs after the response head has been sent no longer changes the response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        // All statuses of the table are valid, so the fallback is never taken.
        StatusCode::from_u16(self.0.kind.describe().2).unwrap_or(StatusCode::BAD_GATEWAY)
    }

    /// Returns the name of the endpoint at which the error occurred: its URL, unless it was given another. `None` if no
    /// endpoint had been picked.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.0.endpoint.as_deref()
    }

    /// Returns whether no connection could be established, so that no byte of the request was sent.
    ///
    /// [`LoadBalance`](crate::LoadBalance) then tries another endpoint.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        use ErrorKind::{Connect, ConnectTimeout, LocalResources, MaxConnections};
        matches!(
            self.0.kind,
            Connect | ConnectTimeout | LocalResources | MaxConnections
        )
    }

    /// Returns whether one of the deadlines passed: connect, response, per-try, idle or total.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        use ErrorKind::{
            ClientNotReading, ClientStalled, ConnectTimeout, IdleTimeout, PerTryTimeout,
            ResponseTimeout, TotalTimeout,
        };
        match self.0.kind {
            ConnectTimeout | ResponseTimeout | PerTryTimeout | IdleTimeout | TotalTimeout => true,
            kind => matches!(kind, ClientStalled | ClientNotReading),
        }
    }

    /// Returns whether the cluster had no endpoint to send to.
    #[must_use]
    pub fn is_no_endpoint(&self) -> bool {
        self.0.kind == ErrorKind::NoEndpoint
    }

    /// Returns whether a setting was refused; `Display` names it.
    #[must_use]
    pub fn is_config(&self) -> bool {
        self.0.kind == ErrorKind::Config
    }

    /// Returns whether the request body was larger than its limit.
    #[must_use]
    pub fn is_body_too_large(&self) -> bool {
        self.0.kind == ErrorKind::BodyTooLarge
    }
}

impl fmt::Display for Error {
    /// Writes the words of the kind, the detail and the endpoint.
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
            // The reader of a config error is about to correct the setting, so its cause is on the same line.
            return write!(f, ": {source}");
        }
        match endpoint {
            Some(endpoint) => write!(f, " ({endpoint})"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    /// Shows all parts, the source included. Addresses of endpoints are among them.
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
    /// Returns the cause. `None` for a refused setting, whose `Display` includes it: reporters that walk the chain
    /// would print it twice.
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
