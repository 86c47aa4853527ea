//! The values of labels, of which there are few whatever clients send.

use http::{Method, StatusCode};

use crate::{error::ErrorKind, record::Outcome};

/// Stands for a cluster where there is none.
pub(super) const NO_CLUSTER: &str = "none";

/// A method, as OpenTelemetry's conventions have it: those of RFC 9110 and PATCH, and `_OTHER` for all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum MethodLabel {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
    Trace,
    Connect,
    Other,
}

/// How many [`MethodLabel`]s there are.
pub(super) const METHODS: usize = MethodLabel::Other as usize + 1;

impl MethodLabel {
    /// Returns the label of a method.
    pub(crate) fn of(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            Method::TRACE => Self::Trace,
            Method::CONNECT => Self::Connect,
            _ => Self::Other,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Connect => "CONNECT",
            Self::Other => "_OTHER",
        }
    }
}

/// The class of a status: its first digit, or 0 without a response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StatusLabel(u8);

impl StatusLabel {
    pub(super) fn of(status: Option<StatusCode>) -> Self {
        Self(status.map_or(0, |status| (status.as_u16() / 100) as u8))
    }

    pub(super) fn as_str(self) -> &'static str {
        match self.0 {
            0 => "none",
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        }
    }
}

/// How an attempt or an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutcomeLabel {
    Success,
    /// A whole response that reports a failure, such as a 503.
    Failure,
    Error(ErrorKind),
}

impl OutcomeLabel {
    pub(super) fn of(outcome: Outcome) -> Self {
        match outcome.error() {
            _ if outcome.is_success() => Self::Success,
            Some(error) => Self::Error(error),
            None => Self::Failure,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error(error) => error.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_makes_up_no_method() {
        let label = |method: &str| MethodLabel::of(&method.parse().unwrap()).as_str();
        for method in [
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
        ] {
            assert_eq!(label(method), method);
        }
        assert_eq!(["get", "BREW", "_OTHER"].map(label), ["_OTHER"; 3]);
    }

    #[test]
    fn a_status_is_its_class() {
        let label = |status| StatusLabel::of(StatusCode::from_u16(status).ok()).as_str();
        assert_eq!(
            [0, 101, 200, 304, 499, 599].map(label),
            ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]
        );
    }
}
