//! From an [`Error`] to the response a client gets: the only place where that is decided.

use std::{error::Error as StdError, sync::Arc};

use axum::body::Body;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{error::Error, error::Side};

/// A hook that may change the response an error became.
pub(super) type ErrorHook = Arc<dyn Fn(&Error, Response<Body>) -> Response<Body> + Send + Sync>;

/// The status and a short body that gives nothing away; the cause goes to the log and, as an `Arc<Error>`, to the
/// response's extensions.
pub(super) fn respond(error: Error, hook: Option<&ErrorHook>) -> Response<Body> {
    let status = error.status();
    log(&error, status);
    let mut response =
        Response::new(Body::from(format!("{}\n", status.canonical_reason().unwrap_or("error"))));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // RFC 9110 15.5.6: a 405 must say what is allowed. All but CONNECT is; these are the registered ones in use.
        StatusCode::METHOD_NOT_ALLOWED => {
            let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";
            headers.insert(header::ALLOW, HeaderValue::from_static(methods));
        }
        _ => {}
    }
    let mut response = match hook {
        Some(hook) => hook(&error, response),
        None => response,
    };
    response.extensions_mut().insert(Arc::new(error));
    response
}

/// A client's own fault is no reason to wake anyone.
fn log(error: &Error, status: StatusCode) {
    let status = status.as_u16();
    let cause = error as &dyn StdError;
    match error.side() {
        Side::Downstream => tracing::debug!(status, error = cause, "request refused"),
        Side::Upstream | Side::Internal => tracing::warn!(status, error = cause, "request failed"),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::error::Kind;

    /// Check 76.
    #[tokio::test]
    async fn the_body_is_silent_and_the_cause_is_kept_aside() {
        let error = Error::new(Kind::Unreachable).with("10.0.0.7 refused").at(&"http://10.0.0.7".into());
        let response = respond(error, None);
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
        assert!(response.extensions().get::<Arc<Error>>().unwrap().to_string().contains("10.0.0.7"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "Bad Gateway\n");
    }

    #[test]
    fn every_status_says_what_the_client_needs() {
        assert_eq!(respond(Error::new(Kind::NoEndpoint), None).headers()["retry-after"], "1");
        assert!(respond(Error::new(Kind::Method), None).headers().contains_key("allow"));
    }

    #[test]
    fn a_hook_has_the_last_word() {
        let hook: ErrorHook = Arc::new(|error, response| {
            let (mut parts, _) = response.into_parts();
            parts.status = StatusCode::IM_A_TEAPOT;
            Response::from_parts(parts, Body::from(error.status().to_string()))
        });
        let response = respond(Error::new(Kind::HeadTimeout), Some(&hook));
        assert_eq!(response.status(), StatusCode::IM_A_TEAPOT);
        assert!(response.extensions().get::<Arc<Error>>().is_some());
    }
}
