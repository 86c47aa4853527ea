//! Turns an [`Error`] into the response that a client gets. This is the only place where that is decided.
//!
//! The response never says more than its status: no address, no cause, no name of an endpoint, all of which would
//! describe the network behind the proxy. A client that is denied something is told by which rule, in words. The whole
//! error goes to the log, one event per request, and into the response's extensions, for layers around the proxy.
//!
//! Which status an error has is decided by its kind (`error/kind.rs`). An error that occurs after the response head has
//! been sent does not come here: `body/response.rs` logs it.

use std::{error::Error as StdError, sync::Arc};

use axum::{body::Body, response::IntoResponse};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};

use crate::{
    error::{Error, ErrorKind, Side},
    record::Info,
    rewrite::is_grpc,
};

/// A user's hook that may change the response which an error has become.
pub(super) type ErrorHook = Arc<dyn Fn(&Error, Response<Body>) -> Response<Body> + Send + Sync>;

/// Turns the errors of one request into responses. Made before the request is forwarded, since the request is gone when
/// an error is known.
pub(super) struct ErrorResponder {
    /// The user's hooks, composed into one.
    hook: Option<ErrorHook>,
    /// Whether the request is a gRPC call, which is answered in gRPC's form.
    grpc: bool,
    /// Whether the client's connection can be closed by a field: that of HTTP/1 only.
    http1: bool,
}

impl ErrorResponder {
    /// Reads what decides about the form of an error from the request.
    pub(super) fn new<B>(request: &Request<B>, hook: Option<&ErrorHook>) -> Self {
        let grpc = is_grpc(request.method(), request.headers());
        Self {
            hook: hook.cloned(),
            grpc,
            http1: request.version() < Version::HTTP_2,
        }
    }

    /// Returns the response for an error, and logs the error.
    ///
    /// In this order: the status and a short body; the user's hook; the fields that the status requires; then the
    /// error, as an `Arc<Error>`, and `info`, if the request was forwarded, in the extensions. The extensions come
    /// last, so that a hook that makes a new response need not copy them.
    pub(super) fn respond(&self, error: Error, info: Option<Info>) -> Response<Body> {
        let status = error.status();
        log(&error, status);
        let mut response = if self.grpc {
            grpc_response(error.kind(), status)
        } else {
            text_response(status, error.reason())
        };
        *response.status_mut() = status;
        // RFC 9110 10.2.3: how long the service is expected to be unavailable, in seconds. One is the shortest time
        // that makes a client wait at all: a cluster may get an endpoint at any moment, and a connection becomes free
        // with the next request that ends, as a tunnel does with another one.
        if matches!(
            status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        ) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(hook) = &self.hook {
            response = hook(&error, response);
        }
        self.require(&mut response, status);
        response.extensions_mut().insert(Arc::new(error));
        if let Some(info) = info {
            response.extensions_mut().insert(info);
        }
        response
    }

    /// Adds the fields without which the response to an error of this `status` would break a rule, whatever response a
    /// hook has put in its place.
    fn require(&self, response: &mut Response<Body>, status: StatusCode) {
        // Where a malformed request ends is unknown, so nothing after it is read as another one. RFC 9112 6.3: "the
        // server MUST respond with the 400 (Bad Request) status code and then close the connection".
        if self.http1
            && matches!(
                status,
                StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED
            )
        {
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // RFC 9110 15.5.6: "The origin server MUST generate an Allow header field in a 405 response". All methods but
        // CONNECT are allowed; these are the ones in use.
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
            let allow = response.headers_mut().entry(header::ALLOW);
            allow.or_insert(HeaderValue::from_static(methods));
        }
    }
}

/// The response that a [`ReverseProxy`](crate::ReverseProxy) without any settings makes of an error: a short body with
/// the status, the cause in the log and, as an `Arc<Error>`, in the response's extensions.
///
/// For handlers that call a [`LoadBalance`](crate::LoadBalance) or a [`Client`](crate::upstream::Client) themselves.
/// Since nothing is known of the request here, a gRPC call gets plain text, and the connection of a malformed request
/// is not closed.
impl IntoResponse for Error {
    fn into_response(self) -> Response<Body> {
        ErrorResponder {
            hook: None,
            grpc: false,
            http1: false,
        }
        .respond(self, None)
    }
}

/// Returns a response whose text is the name of the status, such as `Bad Gateway`, with a reason that the client is to
/// know. The caller sets the status itself.
fn text_response(status: StatusCode, reason: Option<&str>) -> Response<Body> {
    let text = status.canonical_reason().unwrap_or("error");
    let text = match reason {
        Some(reason) => format!("{text}: {reason}\n"),
        None => format!("{text}\n"),
    };
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// Returns a response with a gRPC status and no message, since a gRPC client would take a text for a message.
///
/// The status is that of gRPC's own table, "HTTP to gRPC Status Code Mapping". Deadlines are the exception, which have
/// a status of their own, DEADLINE_EXCEEDED (4): also one that passes while the client's side of a stream is open,
/// which is a 408 for any other request.
fn grpc_response(kind: ErrorKind, status: StatusCode) -> Response<Body> {
    let code = match status.as_u16() {
        _ if matches!(kind, ErrorKind::TotalTimeout | ErrorKind::ClientStalled) => "4",
        400 => "13",
        401 => "16",
        403 => "7",
        404 => "12",
        429 | 502..=504 => "14",
        _ => "2",
    };
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    response
        .headers_mut()
        .insert("grpc-status", HeaderValue::from_static(code));
    response
}

/// Logs an error by the side at fault: `INFO` for the client's, `WARN` for the others.
///
/// A client's mistake is no reason for an alert. It is not at `DEBUG` either: a user who tries the proxy out with a
/// request that has no `Host` finds the reason at the default level.
fn log(error: &Error, status: StatusCode) {
    let status = status.as_u16();
    let cause = error as &dyn StdError;
    match error.side() {
        Side::Downstream => tracing::info!(status, error = cause, "request refused"),
        Side::Upstream | Side::Internal => tracing::warn!(status, error = cause, "request failed"),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn respond(error: Error, hook: Option<&ErrorHook>) -> Response<Body> {
        ErrorResponder::new(&Request::new(()), hook).respond(error, None)
    }

    /// Check 76.
    #[tokio::test]
    async fn the_body_is_silent_and_the_cause_is_kept_aside() {
        let error = Error::new(ErrorKind::Connect)
            .with("10.0.0.7 refused")
            .at(&"http://10.0.0.7".into());
        let response = respond(error, None);
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert!(
            response
                .extensions()
                .get::<Arc<Error>>()
                .unwrap()
                .to_string()
                .contains("10.0.0.7")
        );
        assert_eq!(
            response.into_body().collect().await.unwrap().to_bytes(),
            "Bad Gateway\n"
        );
    }

    #[test]
    fn every_status_says_what_the_client_needs() {
        assert_eq!(
            respond(Error::new(ErrorKind::NoEndpoint), None).headers()["retry-after"],
            "1"
        );
        assert_eq!(
            respond(Error::new(ErrorKind::TooManyTunnels), None).headers()["retry-after"],
            "1"
        );
        assert!(
            respond(Error::new(ErrorKind::MethodNotAllowed), None)
                .headers()
                .contains_key("allow")
        );
    }

    #[test]
    fn a_hook_has_the_last_word() {
        let hook: ErrorHook = Arc::new(|error, response| {
            let (mut parts, _) = response.into_parts();
            parts.status = StatusCode::IM_A_TEAPOT;
            Response::from_parts(parts, Body::from(error.status().to_string()))
        });
        let response = respond(Error::new(ErrorKind::ResponseTimeout), Some(&hook));
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        assert!(response.extensions().get::<Arc<Error>>().is_some());
    }
}
