//! The error type itself.

use std::{error::Error as StdError, fmt, sync::Arc};

use http::StatusCode;

use super::kind::{ErrorKind, Side};

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

    pub(crate) fn hook(fault: &'static str) -> Self {
        Self::new(ErrorKind::Hook).detail(fault)
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
