//! How an attempt ended, and whose doing it was.

use http::{HeaderMap, StatusCode};

use crate::error::{Error, ErrorKind, Side};

/// How far an attempt came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// It was waiting for a connection, or making one.
    Connect,
    /// The request was being sent, or the response head awaited.
    Head,
    /// The response body, or a tunnel, was under way.
    Body,
    /// The last byte has left.
    Complete,
}

/// How an attempt ended: how far it came, which side is at fault, and whether the endpoint may have seen the request.
///
/// It is decided once, when the attempt ends: with the last byte of its response, with an error, with a deadline, or
/// when the client goes away. A response whose head already says that the endpoint failed is decided then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outcome {
    stage: Stage,
    fault: Option<Side>,
    sent: bool,
    error: Option<ErrorKind>,
}

impl Outcome {
    /// How far the attempt came.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The side at fault; `None` if the attempt succeeded.
    ///
    /// Only [`Side::Upstream`] is a failure of the endpoint: a server error, a connection that broke, a deadline that
    /// passed while the endpoint had to move.
    #[must_use]
    pub fn fault(&self) -> Option<Side> {
        self.fault
    }

    /// Whether any part of the request may have reached the endpoint.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.sent
    }

    /// The error that ended the attempt; `None` if it ended with a response, even with one that is a failure.
    #[must_use]
    pub fn error(&self) -> Option<ErrorKind> {
        self.error
    }

    /// Whether the endpoint did what it was asked. A 404 is an answer, too.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.fault.is_none()
    }

    /// Whether the endpoint failed.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.fault == Some(Side::Upstream)
    }
}

/// What a response says of the endpoint it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The endpoint did what it was asked.
    Success,
    /// The endpoint says that it failed.
    Failure,
}

/// How an attempt came to its end, as the part that held it saw it.
pub(super) enum Ending<'a> {
    /// With a response, which says this.
    Answered(Verdict),
    /// With an error.
    Failed(&'a Error),
    /// It was dropped half way.
    Dropped,
}

/// How an attempt stood when it ended.
#[derive(Clone, Copy)]
pub(super) struct Standing {
    pub(super) stage: Stage,
    pub(super) sent: bool,
    /// The client broke its request body off, or sent too much.
    pub(super) upload_failed: bool,
    /// Why the proxy gave the exchange up.
    pub(super) stopped: Option<ErrorKind>,
}

impl Outcome {
    /// Decides how an attempt ended: the only place that does.
    ///
    /// - A request body that the client broke off, or that is too large, is the client's fault, whatever error the
    ///   endpoint's connection made of it.
    /// - An attempt that was dropped was stopped by a deadline of the proxy, whose kind names the side that stood
    ///   still, or else by the client that went away.
    pub(super) fn decide(standing: Standing, ending: &Ending<'_>) -> Self {
        let Standing {
            stage,
            sent,
            upload_failed,
            stopped,
        } = standing;
        let (stage, fault, error) = match ending {
            Ending::Answered(Verdict::Success) => (Stage::Complete, None, None),
            Ending::Answered(Verdict::Failure) => (stage, Some(Side::Upstream), None),
            Ending::Failed(error) if upload_failed && !error.is_connect() => {
                (stage, Some(Side::Downstream), Some(ErrorKind::RequestBody))
            }
            Ending::Failed(error) => (stage, Some(error.side()), Some(error.kind())),
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
        }
    }
}

/// What a status says of its endpoint.
///
/// 500, 502, 503 and 504 are failures. Other server errors are answers: 501 and 505 speak of the request, and anyone
/// can send one that earns them. So is 429, which speaks of the user (RFC 6585 4).
pub(crate) fn status_verdict(status: StatusCode) -> Verdict {
    match status.as_u16() {
        500 | 502..=504 => Verdict::Failure,
        _ => Verdict::Success,
    }
}

/// What `grpc-status` says of its endpoint, in trailers or in the head of a response without messages; `None` if there
/// is none.
///
/// UNKNOWN, INTERNAL, UNAVAILABLE and DATA_LOSS are the server's own failures. DEADLINE_EXCEEDED and
/// RESOURCE_EXHAUSTED are not: a client chooses its deadline and uses up its quota by itself.
pub(crate) fn grpc_verdict(fields: &HeaderMap) -> Option<Verdict> {
    Some(match fields.get("grpc-status")?.as_bytes() {
        b"2" | b"13" | b"14" | b"15" => Verdict::Failure,
        _ => Verdict::Success,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDING: Standing = Standing {
        stage: Stage::Head,
        sent: true,
        upload_failed: false,
        stopped: None,
    };

    fn decide(standing: Standing, ending: &Ending<'_>) -> (Option<Side>, Option<ErrorKind>) {
        let outcome = Outcome::decide(standing, ending);
        (outcome.fault(), outcome.error())
    }

    #[test]
    fn a_broken_upload_is_the_clients_fault() {
        let echo = Error::new(ErrorKind::Exchange);
        let broken = Standing {
            upload_failed: true,
            ..STANDING
        };
        assert_eq!(
            decide(broken, &Ending::Failed(&echo)).0,
            Some(Side::Downstream)
        );
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
            assert_eq!(status_verdict(status), Verdict::Success, "{status}");
        }
        for status in [500, 502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(status_verdict(status), Verdict::Failure, "{status}");
        }
    }

    #[test]
    fn grpc_statuses_count_where_the_server_is_at_fault() {
        let verdict = |status: &'static str| {
            let mut fields = HeaderMap::new();
            fields.insert("grpc-status", status.parse().unwrap());
            grpc_verdict(&fields)
        };
        assert_eq!(grpc_verdict(&HeaderMap::new()), None);
        for status in ["0", "1", "3", "4", "5", "7", "8", "12", "16"] {
            assert_eq!(verdict(status), Some(Verdict::Success), "{status}");
        }
        for status in ["2", "13", "14", "15"] {
            assert_eq!(verdict(status), Some(Verdict::Failure), "{status}");
        }
    }
}
