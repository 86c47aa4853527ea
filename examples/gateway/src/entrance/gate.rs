//! What is done with a request before it is forwarded.

use std::{sync::Arc, time::Duration};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, RETRY_AFTER},
};

use super::redirect::HttpsRedirect;
use crate::{
    limits::{AddressKey, RequestRate},
    tls::{CLIENT_CERT, ClientCertificate},
};

/// What is done with the requests of one connection. A connection that nothing is done with has none.
pub(crate) struct Gate {
    redirect: Option<HttpsRedirect>,
    rate: Option<(Arc<RequestRate>, AddressKey)>,
    certificate: Option<Arc<ClientCertificate>>,
    /// The field that an endpoint gets.
    field: Option<HeaderValue>,
}

impl Gate {
    /// Returns the gate of a connection.
    pub(crate) fn new(
        redirect: Option<HttpsRedirect>,
        rate: Option<(Arc<RequestRate>, AddressKey)>,
        certificate: Option<ClientCertificate>,
    ) -> Option<Self> {
        if redirect.is_none() && rate.is_none() && certificate.is_none() {
            return None;
        }
        Some(Self {
            redirect,
            rate,
            field: certificate.as_ref().and_then(ClientCertificate::field),
            certificate: certificate.map(Arc::new),
        })
    }

    /// Lets a request through, with what is known of its client. Returns the response if it goes no further.
    pub(crate) fn pass<B, D: Default>(&self, request: &mut Request<B>) -> Option<Response<D>> {
        if let Some((rate, key)) = &self.rate {
            if let Err(wait) = rate.check(*key) {
                return Some(too_many(wait));
            }
        }
        if let Some(redirect) = self.redirect {
            return Some(redirect.answer(request));
        }
        if let Some(field) = &self.field {
            keep_client_cert(request.headers_mut());
            request.headers_mut().insert(CLIENT_CERT, field.clone());
        }
        if let Some(certificate) = &self.certificate {
            request.extensions_mut().insert(Arc::clone(certificate));
        }
        None
    }
}

/// Removes [`CLIENT_CERT`] from what `Connection` names: a client could have it removed before it reaches the endpoint.
fn keep_client_cert(headers: &mut HeaderMap) {
    let is_named = |value: &HeaderValue| {
        let name = b"client-cert";
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(name))
    };
    if !headers.get_all(CONNECTION).iter().any(is_named) {
        return;
    }
    let kept: Vec<_> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|option| !option.eq_ignore_ascii_case(CLIENT_CERT.as_str()))
        .collect();
    match HeaderValue::try_from(kept.join(", ")) {
        Ok(value) if !value.is_empty() => drop(headers.insert(CONNECTION, value)),
        _ => drop(headers.remove(CONNECTION)),
    }
}

/// Returns a 429 that says when the next request is not too soon (RFC 6585 4).
fn too_many<D: Default>(wait: Duration) -> Response<D> {
    let mut response = Response::new(D::default());
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let value = HeaderValue::from(seconds.max(1));
    response.headers_mut().insert(RETRY_AFTER, value);
    response
}
