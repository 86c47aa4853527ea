//! How an attempt ended, and which side was at fault.
//!
//! [`Outcome::decide`] is the only place where this is decided. The balancer's load estimate, metrics and logs read the
//! same value, so that a client's mistake can never count against an endpoint in one place and not in another.
//!
//! What a complete response says about its endpoint is a [`ResponseClass`]: [`class_of_head`] reads it from the head,
//! [`class_of_grpc_status`] from gRPC's own status, which may come as late as the trailers.

use http::{HeaderMap, HeaderName, Response, StatusCode};

use crate::error::{Error, ErrorKind, Side};

/// How far an attempt came. Stages are ordered: each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The attempt was waiting for a connection, or establishing one.
    Connect,
    /// The request was being sent, or the response head was awaited.
    Head,
    /// The response body was in transfer, or a tunnel was open.
    Body,
    /// The whole response was relayed.
    Complete,
}

/// How an attempt ended: how far it came, which side was at fault, and whether the endpoint may have received the
/// request.
///
/// It is decided once, when the attempt ends: at the end of the response body, by an error, by a deadline, or when the
/// client disconnects. For a response whose head already says that the endpoint failed, such as a 503, it is decided
/// when the head arrives.
///
/// ```
/// use axum_upstream::Outcome;
///
/// /// The class of an outcome, for a metric's label.
/// fn class(outcome: Outcome) -> &'static str {
///     match outcome.error() {
///         _ if outcome.is_success() => "success",
///         // An error kind: "connect", "response_timeout", "client_gone".
///         Some(error) => error.as_str(),
///         // A whole response that reports a failure, such as a 503.
///         None => "failure",
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    stage: Stage,
    fault: Option<Side>,
    /// Whether any part of the request may have reached the endpoint.
    sent: bool,
    error: Option<ErrorKind>,
    /// The status of the response, if its head arrived.
    status: Option<StatusCode>,
    /// Whether a response said that the endpoint could not serve the request at all.
    refused: bool,
}

impl Outcome {
    /// Returns how far the attempt came.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Returns the side at fault, or `None` if the attempt succeeded.
    ///
    /// Only [`Side::Upstream`] is a failure of the endpoint: a server error, a connection that failed, a deadline that
    /// passed while it was the endpoint's turn to send or to read.
    #[must_use]
    pub fn fault(&self) -> Option<Side> {
        self.fault
    }

    /// Returns whether any part of the request may have reached the endpoint.
    ///
    /// `false` is certain: the request can be sent elsewhere whatever its method. `true` is not: an endpoint that is a
    /// service of your own is assumed to have received it.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// Returns the error that ended the attempt. `None` if it ended with a response, even with one that is a failure.
    #[must_use]
    pub fn error(&self) -> Option<ErrorKind> {
        self.error
    }

    /// Returns the status of the response, or `None` if no response head arrived.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.status
    }

    /// Returns whether the endpoint failed to serve the request at all: no connection, a connection that broke before
    /// the response head, a deadline, or a 502, 503, 504 or gRPC UNAVAILABLE.
    ///
    /// Another endpoint may well serve the same request. A 500 or a response body that broke is a failure too, but not
    /// of this sort: the endpoint began to work on the request.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        self.is_failure() && (self.refused || (self.error.is_some() && self.stage < Stage::Body))
    }

    /// Returns whether the endpoint failed, and nothing was heard from it in this attempt: no connection could be made,
    /// or a deadline passed before the response head.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let unheard = self.is_timeout() || self.error == Some(ErrorKind::Connect);
        self.stage < Stage::Body && unheard
    }

    /// Returns whether a failure shows that the endpoint is alive.
    ///
    /// A connection that breaks or a response that is invalid does: something was heard. A connection that cannot be
    /// made does not, nor does a deadline; then the endpoint may have stalled, and the silence goes on.
    pub(crate) fn is_heard(&self) -> bool {
        use ErrorKind::{Connection, ResponseBody, Service, Upgrade};
        matches!(
            self.error,
            Some(Connection | ResponseBody | Service | Upgrade)
        )
    }

    /// Returns whether the attempt ended by a deadline that passed while it was the endpoint's turn.
    pub(crate) fn is_timeout(&self) -> bool {
        use ErrorKind::{
            ConnectTimeout, IdleTimeout, PerTryTimeout, ResponseTimeout, TotalTimeout,
        };
        matches!(
            self.error,
            Some(ConnectTimeout | IdleTimeout | PerTryTimeout | ResponseTimeout | TotalTimeout)
        )
    }

    /// Returns whether the endpoint did what it was asked to do. A 404 is a success in this sense: the endpoint
    /// answered.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.fault.is_none()
    }

    /// Returns whether the endpoint failed. An attempt that the client or this process ended is neither a success nor a
    /// failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.fault == Some(Side::Upstream)
    }
}

/// What a response says about the endpoint that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseClass {
    /// The endpoint did what it was asked to do, or refused for a reason that is not its own.
    Success,
    /// The response reports a failure of the endpoint.
    Failure,
    /// The response reports that the endpoint cannot serve the request, so that another one should be asked.
    Unavailable,
}

impl ResponseClass {
    /// Returns whether the endpoint has failed.
    pub(crate) fn is_failure(self) -> bool {
        self != Self::Success
    }
}

/// What ended an attempt, as observed by the future or body that held it.
pub(super) enum Ending<'a> {
    /// A response with this class.
    Answered(ResponseClass),
    /// An error.
    Failed(&'a Error),
    /// The future or body was dropped before its end.
    Dropped,
}

/// The state of an exchange and its attempt at the moment when the attempt ends.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    /// How far the attempt had come.
    pub(super) stage: Stage,
    /// Whether any part of the request may have been sent.
    pub(super) sent: bool,
    /// The status of the response, if its head has arrived.
    pub(super) status: Option<StatusCode>,
    /// Why the client's request body failed, if it did: it ended early or exceeded a limit.
    pub(super) upload_error: Option<ErrorKind>,
    /// Why the proxy gave the exchange up, if it did.
    pub(super) stopped: Option<ErrorKind>,
}

impl Outcome {
    /// Decides how an attempt ended. Every outcome comes from here.
    ///
    /// - A complete response succeeded or failed as its class says. A success is always `Complete`; a failure has the
    ///   stage at which it was noticed, since a failing head ends the attempt before its body.
    /// - A request body that the client broke off, or that exceeded a limit, is the client's fault, whatever error the
    ///   endpoint's connection reported as a consequence. An attempt that had no connection yet is the exception: its
    ///   body was not even asked for.
    /// - An attempt that was dropped was stopped by a deadline of the proxy, whose kind names the side at fault, or
    ///   else by a client that disconnected.
    pub(super) fn decide(standing: Standing, ending: &Ending<'_>) -> Self {
        let Standing {
            stage,
            sent,
            status,
            upload_error,
            stopped,
        } = standing;
        let (stage, fault, error) = match ending {
            Ending::Answered(ResponseClass::Success) => (Stage::Complete, None, None),
            Ending::Answered(_) => (stage, Some(Side::Upstream), None),
            Ending::Failed(error) => {
                let own = upload_error.filter(|_| !error.is_connect());
                let kind = own.unwrap_or(error.kind());
                (stage, Some(kind.side()), Some(kind))
            }
            Ending::Dropped => {
                let kind = stopped.unwrap_or(ErrorKind::ClientGone);
                (stage, Some(kind.side()), Some(kind))
            }
        };
        Self {
            stage,
            fault,
            sent,
            error,
            status,
            refused: matches!(ending, Ending::Answered(ResponseClass::Unavailable)),
        }
    }
}

/// Returns what a response head says about its endpoint: its `grpc-status` if it has one, since gRPC reports failures
/// with a 200, and its status otherwise.
pub(crate) fn class_of_head<B>(response: &Response<B>) -> ResponseClass {
    class_of_grpc_status(response.headers()).unwrap_or_else(|| class_of_status(response.status()))
}

/// Returns what a status says about its endpoint.
///
/// 500 is a failure, and 502, 503 and 504 say that the endpoint is unavailable. Other server errors are successes: 501
/// and 505 refer to the request, and if they counted, any client could have an endpoint ejected by sending requests
/// that earn them. The same applies to 429, which refers to the user (RFC 6585 4).
fn class_of_status(status: StatusCode) -> ResponseClass {
    match status.as_u16() {
        500 => ResponseClass::Failure,
        502..=504 => ResponseClass::Unavailable,
        _ => ResponseClass::Success,
    }
}

// A name that is parsed for each look-up costs more than the look-up.
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Returns what `grpc-status` says about its endpoint, or `None` if the field is absent.
///
/// The field is in the trailers, or in the head of a response without messages ("Trailers-Only" in "gRPC over HTTP2");
/// the status of the response is 200 in either case.
///
/// UNKNOWN (2), INTERNAL (13), UNAVAILABLE (14) and DATA_LOSS (15) are the server's own failures. DEADLINE_EXCEEDED (4)
/// and RESOURCE_EXHAUSTED (8) are not: clients choose their deadlines and use up their own quotas.
pub(crate) fn class_of_grpc_status(fields: &HeaderMap) -> Option<ResponseClass> {
    Some(match fields.get(&GRPC_STATUS)?.as_bytes() {
        b"2" | b"13" | b"15" => ResponseClass::Failure,
        b"14" => ResponseClass::Unavailable,
        _ => ResponseClass::Success,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDING: Standing = Standing {
        stage: Stage::Head,
        sent: true,
        status: None,
        upload_error: None,
        stopped: None,
    };

    fn decide(standing: Standing, ending: &Ending<'_>) -> (Option<Side>, Option<ErrorKind>) {
        let outcome = Outcome::decide(standing, ending);
        (outcome.fault(), outcome.error())
    }

    #[test]
    fn a_broken_upload_is_the_clients_fault() {
        let echo = Error::new(ErrorKind::Connection);
        for kind in [ErrorKind::RequestBody, ErrorKind::BodyTooLarge] {
            let failed = Standing {
                upload_error: Some(kind),
                ..STANDING
            };
            assert_eq!(
                decide(failed, &Ending::Failed(&echo)),
                (Some(Side::Downstream), Some(kind))
            );
        }
        assert_eq!(
            decide(STANDING, &Ending::Failed(&echo)).0,
            Some(Side::Upstream)
        );
    }

    #[test]
    fn a_deadline_names_the_side_that_stood_still() {
        for (kind, side) in [
            (ErrorKind::ResponseTimeout, Side::Upstream),
            (ErrorKind::IdleTimeout, Side::Upstream),
            (ErrorKind::TotalTimeout, Side::Upstream),
            (ErrorKind::ClientStalled, Side::Downstream),
        ] {
            let stopped = Standing {
                stopped: Some(kind),
                ..STANDING
            };
            assert_eq!(decide(stopped, &Ending::Dropped), (Some(side), Some(kind)));
        }
    }

    #[test]
    fn a_client_that_left_is_no_failure_of_the_endpoint() {
        let left = decide(STANDING, &Ending::Dropped);
        assert_eq!(left, (Some(Side::Downstream), Some(ErrorKind::ClientGone)));
    }

    #[test]
    fn our_own_limits_are_no_failure_of_the_endpoint() {
        for kind in [ErrorKind::MaxConnections, ErrorKind::LocalResources] {
            let ours = Error::new(kind);
            assert_eq!(
                decide(STANDING, &Ending::Failed(&ours)).0,
                Some(Side::Internal)
            );
        }
    }

    #[test]
    fn statuses_that_a_client_can_cause_are_answers() {
        for status in [200, 304, 400, 404, 429, 499, 501, 505, 507, 511] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(class_of_status(status), ResponseClass::Success, "{status}");
        }
        for status in [502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            let class = class_of_status(status);
            assert_eq!(class, ResponseClass::Unavailable, "{status}");
        }
        let internal = class_of_status(StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(internal, ResponseClass::Failure);
    }

    #[test]
    fn grpc_statuses_count_where_the_server_is_at_fault() {
        let class = |status: &'static str| {
            let mut fields = HeaderMap::new();
            fields.insert("grpc-status", status.parse().unwrap());
            class_of_grpc_status(&fields)
        };
        assert_eq!(class_of_grpc_status(&HeaderMap::new()), None);
        for status in ["0", "1", "3", "4", "5", "7", "8", "12", "16"] {
            assert_eq!(class(status), Some(ResponseClass::Success), "{status}");
        }
        for status in ["2", "13", "15"] {
            assert_eq!(class(status), Some(ResponseClass::Failure), "{status}");
        }
        assert_eq!(class("14"), Some(ResponseClass::Unavailable));
    }
}
