//! [`CheckFailure`]: why a check of an endpoint failed.

use std::{error::Error as StdError, fmt, time::Duration};

use http::StatusCode;

use crate::error::{Error, ErrorKind};

/// Why a check failed, in a few words for the log.
#[derive(Debug)]
pub(crate) enum CheckFailure {
    /// The status of the response is not one of the expected ones.
    Status(StatusCode),
    /// The user's closure did not accept the response, which has this status.
    NotAccepted(StatusCode),
    /// The check did not end within its timeout.
    Timeout(Duration),
    /// The endpoint's service failed: nothing could be connected to, or the connection broke.
    Service(Error),
    /// The server says of itself that it does not serve, in the words of the gRPC health protocol.
    NotServing(&'static str),
    /// The call failed with this gRPC status.
    GrpcStatus(u32),
    /// The response is not what the gRPC health protocol prescribes.
    NotGrpc(&'static str),
    /// Code of the user panicked: the endpoint's service, or a closure over the response.
    Panicked,
}

impl CheckFailure {
    /// Returns whether this process is at fault, so that the failure says nothing about the endpoint.
    ///
    /// Other errors of [`Side::Internal`](crate::Side::Internal) do say something: a setting with which no connection
    /// can be made keeps requests from the endpoint, too, and an inner cluster without endpoints answers nobody.
    pub(super) fn is_ours(&self) -> bool {
        use ErrorKind::{LocalResources, MaxConnections};
        matches!(self, Self::Service(error) if matches!(error.kind(), LocalResources | MaxConnections))
    }
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::NotAccepted(status) => {
                write!(f, "response not accepted (status {})", status.as_u16())
            }
            Self::Timeout(timeout) => write!(f, "no result within {timeout:?}"),
            Self::Service(error) => {
                write!(f, "{error}")?;
                // The innermost cause says most: "connection refused".
                let causes = std::iter::successors(error.source(), |error| (*error).source());
                causes.last().map_or(Ok(()), |cause| write!(f, ": {cause}"))
            }
            Self::NotServing(state) => f.write_str(state),
            Self::GrpcStatus(code) => write!(f, "gRPC status {code}"),
            Self::NotGrpc(why) => write!(f, "not a response of gRPC health: {why}"),
            Self::Panicked => f.write_str("the check panicked"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_named() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = Error::new(ErrorKind::Connect).with(refused);
        assert_eq!(
            CheckFailure::Service(error).to_string(),
            "connect failed: connection refused"
        );
    }

    #[test]
    fn only_a_lack_in_this_process_is_ours() {
        let of = |kind| CheckFailure::Service(Error::new(kind)).is_ours();
        assert!(of(ErrorKind::LocalResources) && of(ErrorKind::MaxConnections));
        assert!(!of(ErrorKind::Connect) && !of(ErrorKind::Config) && !of(ErrorKind::NoEndpoint));
        assert!(!CheckFailure::Status(StatusCode::OK).is_ours());
    }
}
