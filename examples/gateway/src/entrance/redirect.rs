//! Sends clients that come without TLS to where there is TLS.

use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{HOST, LOCATION},
    uri::Authority,
};

/// Answers requests by a redirect to `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HttpsRedirect {
    /// The port on which TLS is spoken, as clients see it.
    pub(crate) port: u16,
}

/// The port of `https` that is not written.
const DEFAULT_PORT: u16 = 443;

impl HttpsRedirect {
    /// Answers a request: a 308 to the same host, path and query, or a 400 if it names no host.
    pub(crate) fn answer<B, D: Default>(self, request: &Request<B>) -> Response<D> {
        let mut response = Response::new(D::default());
        match self.location(request) {
            Some(location) => {
                *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
                response.headers_mut().insert(LOCATION, location);
            }
            None => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }

    /// Returns where a request is sent.
    fn location<B>(self, request: &Request<B>) -> Option<HeaderValue> {
        let path = request.uri().path_and_query()?;
        // `*` is the server itself, which has no address.
        if !path.as_str().starts_with('/') {
            return None;
        }
        let authority = authority(request)?;
        let location = match self.port {
            DEFAULT_PORT => format!("https://{}{path}", authority.host()),
            port => format!("https://{}:{port}{path}", authority.host()),
        };
        HeaderValue::try_from(location).ok()
    }
}

/// Returns the host that a request is for. RFC 9112 3.2.2: an absolute target takes the place of `Host`.
fn authority<B>(request: &Request<B>) -> Option<Authority> {
    let target = request.uri().authority().cloned();
    let authority = target.or_else(|| {
        let mut fields = request.headers().get_all(HOST).iter();
        let (host, more) = (fields.next()?, fields.next());
        let uri: Uri = host
            .to_str()
            .ok()
            .filter(|_| more.is_none())?
            .parse()
            .ok()?;
        // A `Host` that is more than a host would become one.
        (uri.scheme().is_none() && uri.path().is_empty()).then(|| uri.authority().cloned())?
    })?;
    let is_host = !authority.host().is_empty() && !authority.as_str().contains('@');
    is_host.then_some(authority)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(port: u16, target: &str, host: Option<&str>) -> (u16, String) {
        let mut request = Request::get(target);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        let request = request.body(()).unwrap();
        let response: Response<()> = HttpsRedirect { port }.answer(&request);
        let location = response.headers().get(LOCATION);
        let location = location.map_or("", |location| location.to_str().unwrap());
        (response.status().as_u16(), location.to_owned())
    }

    #[test]
    fn host_path_and_query_stay() {
        for (port, target, host, expected) in [
            (443, "/", Some("a.example"), "https://a.example/"),
            (
                8443,
                "/a%20b?c=d",
                Some("a.example:8080"),
                "https://a.example:8443/a%20b?c=d",
            ),
            (
                443,
                "//b.example/",
                Some("a.example"),
                "https://a.example//b.example/",
            ),
            (443, "/", Some("[::1]:80"), "https://[::1]/"),
            (
                443,
                "http://a.example:80/b",
                Some("other"),
                "https://a.example/b",
            ),
        ] {
            assert_eq!(location(port, target, host), (308, expected.to_owned()));
        }
    }

    #[test]
    fn without_a_host_there_is_nowhere_to_go() {
        for (target, host) in [
            ("/", None),
            ("/", Some("")),
            ("/", Some("a/b")),
            ("/", Some("a@b")),
            ("/", Some("http://a")),
            ("*", Some("a")),
        ] {
            assert_eq!(
                location(443, target, host),
                (400, String::new()),
                "{host:?}"
            );
        }
    }
}
