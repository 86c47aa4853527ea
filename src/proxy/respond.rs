//! From an [`Error`] to the response a client gets: the only place where that is decided.

use std::{error::Error as StdError, sync::Arc};

use axum::{body::Body, response::IntoResponse};
use http::{HeaderValue, Request, Response, StatusCode, Version, header};

use crate::{
    error::{Error, ErrorKind, Side},
    record::Info,
    rewrite::is_grpc,
};

/// A hook that may change the response an error became.
pub(super) type ErrorHook = Arc<dyn Fn(&Error, Response<Body>) -> Response<Body> + Send + Sync>;

/// How the errors of one request become responses.
pub(super) struct ErrorResponder {
    hook: Option<ErrorHook>,
    grpc: bool,
    /// The client's connection can be closed by a field.
    http1: bool,
}

impl ErrorResponder {
    pub(super) fn new<B>(request: &Request<B>, hook: Option<&ErrorHook>) -> Self {
        let grpc = is_grpc(request.method(), request.headers());
        Self {
            hook: hook.cloned(),
            grpc,
            http1: request.version() < Version::HTTP_2,
        }
    }

    /// The status and a short body that gives nothing away; the cause goes to the log and, as an `Arc<Error>`, to the
    /// response's extensions.
    pub(super) fn respond(&self, error: Error, info: Option<Info>) -> Response<Body> {
        let status = error.status();
        log(&error, status);
        let mut response = if self.grpc {
            grpc_response(error.kind(), status)
        } else {
            text_response(status)
        };
        *response.status_mut() = status;
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.http1
            && matches!(
                status,
                StatusCode::BAD_REQUEST | StatusCode::NOT_IMPLEMENTED
            )
        {
            // Who knows where a malformed request ends: nothing after it is read as another. RFC 9112 6.3.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if status == StatusCode::METHOD_NOT_ALLOWED {
            // RFC 9110 15.5.6: a 405 must say what is allowed. All but CONNECT is; these are the ones in use.
            let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(hook) = &self.hook {
            response = hook(&error, response);
        }
        response.extensions_mut().insert(Arc::new(error));
        if let Some(info) = info {
            response.extensions_mut().insert(info);
        }
        response
    }
}

/// A short body with the status, the cause in the log and, as an `Arc<Error>`, in the response's extensions: what a
/// [`ReverseProxy`](crate::ReverseProxy) makes of an error without any settings.
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

fn text_response(status: StatusCode) -> Response<Body> {
    let text = status.canonical_reason().unwrap_or("error");
    let mut response = Response::new(Body::from(format!("{text}\n")));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

/// A gRPC client would take a text for a message, so it gets a status alone. Which one is gRPC's own table, "HTTP to
/// gRPC Status Code Mapping", but for deadlines, which have a status of their own: also where a stream of
/// messages was open on the client's side.
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

/// A client's own fault is no reason to wake anyone, but a request without `Host` is more often that of whoever tries
/// the proxy out, and finds the reason here.
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
