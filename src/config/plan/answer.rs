//! Answers of a route's own: a fixed response, a redirect.

use axum::body::Body as AxumBody;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header, request::Parts};

use super::{
    super::{
        data::{RedirectConfig, RespondConfig},
        routing::RequestHost,
    },
    failures::status_code,
    fields::fields,
    place::SettingPlace,
};

/// A fixed response.
#[derive(Clone, Debug)]
pub(in crate::config) struct FixedAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl FixedAnswer {
    /// Checks a fixed response.
    pub(super) fn new(config: &RespondConfig, at: &SettingPlace<'_>) -> Option<Self> {
        let status = status_code(config.status.unwrap_or(200), 200, &at.key("status"));
        let body = match &config.body {
            Some(body) => at.key("body").text(body)?,
            None => String::new(),
        };
        let mut headers = HeaderMap::new();
        if !body.is_empty() {
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            headers.insert(header::CONTENT_TYPE, text);
        }
        for (name, value) in fields(&config.fields, &at.key("fields")) {
            headers.insert(name, value);
        }
        Some(Self {
            status: status?,
            headers,
            body: body.into(),
        })
    }

    /// Returns the response.
    pub(in crate::config) fn response(&self) -> Response<AxumBody> {
        let mut response = Response::new(AxumBody::from(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response
    }
}

/// A redirect.
#[derive(Clone, Debug)]
pub(in crate::config) struct RedirectAnswer {
    status: StatusCode,
    to: Vec<LocationPart>,
}

/// A part of where a redirect leads.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LocationPart {
    Text(String),
    Host,
    Path,
    Query,
}

impl RedirectAnswer {
    /// Checks a redirect.
    pub(super) fn new(config: &RedirectConfig, at: &SettingPlace<'_>) -> Option<Self> {
        let status = config.status.unwrap_or(308);
        let is_redirect = matches!(status, 301 | 302 | 303 | 307 | 308);
        if !is_redirect {
            let expected = "expected 301, 302, 303, 307 or 308, found";
            at.key("status").refuse(format!("{expected} {status}"));
        }
        let to = parts(&config.to)
            .map_err(|why| at.key("to").refuse(why))
            .ok();
        Some(Self {
            status: StatusCode::from_u16(status).ok().filter(|_| is_redirect)?,
            to: to?,
        })
    }

    /// Returns the response to a request: a 400 if the target needs a host, and there is none.
    pub(in crate::config) fn response(&self, parts: &Parts) -> Response<AxumBody> {
        let mut response = Response::new(AxumBody::empty());
        match self.location(parts) {
            Some(location) => {
                *response.status_mut() = self.status;
                response.headers_mut().insert(header::LOCATION, location);
            }
            None => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response
    }

    fn location(&self, parts: &Parts) -> Option<HeaderValue> {
        let mut to = String::new();
        for part in &self.to {
            match part {
                LocationPart::Text(text) => to.push_str(text),
                LocationPart::Host => to.push_str(RequestHost::of(parts)?.name()),
                LocationPart::Path => to.push_str(parts.uri.path()),
                LocationPart::Query => {
                    if let Some(query) = parts.uri.query() {
                        to.push('?');
                        to.push_str(query);
                    }
                }
            }
        }
        to.try_into().ok()
    }
}

/// Takes a target apart.
fn parts(to: &str) -> Result<Vec<LocationPart>, String> {
    let is_absolute = to.starts_with("http://") || to.starts_with("https://");
    // A client must not be led to wherever it wants: a path may begin with two slashes, after which comes a host.
    let is_path = to.starts_with('/') && !to.starts_with("//") && !to.starts_with("/{path}");
    if !is_absolute && !is_path {
        let url = "\"https://{host}{path}{query}\"";
        return Err(format!(
            "expected a URL, as {url}, or a path that is not the request's own, found {to:?}"
        ));
    }
    let mut parts = Vec::new();
    let mut rest = to;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, place) = rest.split_at(at);
        let known = [
            ("{host}", LocationPart::Host),
            ("{path}", LocationPart::Path),
            ("{query}", LocationPart::Query),
        ];
        let part = known.into_iter().find(|(name, _)| place.starts_with(name));
        let Some((name, part)) = part else {
            return Err("expected {host}, {path} or {query} in braces".into());
        };
        parts.push(LocationPart::Text(text.to_owned()));
        parts.push(part);
        rest = &place[name.len()..];
    }
    parts.push(LocationPart::Text(rest.to_owned()));
    let scheme_end = to.find("://").map_or(0, |at| at + 3);
    if is_absolute
        && to[scheme_end..].starts_with(['/', '{'])
        && !to[scheme_end..].starts_with("{host}")
    {
        return Err("expected a host after ://".into());
    }
    // What follows a host that is written out must not become part of it.
    let authority = &to[scheme_end..];
    let end = authority.find(['/', '?', '{']).unwrap_or(authority.len());
    let written = &authority[..end];
    if is_absolute && !written.is_empty() && authority[end..].starts_with("{host}") {
        return Err("expected {host} to be the whole host".into());
    }
    match HeaderValue::from_str(to) {
        Ok(_) => Ok(parts),
        Err(_) => Err("a character of it can be in no URL".into()),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn location(to: &str, uri: &str) -> Option<String> {
        let answer = RedirectAnswer {
            status: StatusCode::FOUND,
            to: parts(to).unwrap(),
        };
        let request = Request::get(uri).header("host", "Example.com:8080");
        let (head, ()) = request.body(()).unwrap().into_parts();
        let location = answer.location(&head)?;
        Some(location.to_str().unwrap().to_owned())
    }

    #[test]
    fn places_are_filled() {
        let to = |to, uri| location(to, uri).unwrap();
        let same = "https://{host}{path}{query}";
        assert_eq!(to(same, "/a?b=c"), "https://example.com/a?b=c");
        assert_eq!(to(same, "//evil/"), "https://example.com//evil/");
        assert_eq!(to("/new{path}", "/a?b"), "/new/a");
        assert_eq!(to("https://b.test/", "/a"), "https://b.test/");
        assert_eq!(to("https://b.test:81{path}", "/a"), "https://b.test:81/a");
    }

    #[test]
    fn what_may_lead_anywhere_is_refused() {
        for to in [
            "",
            "{path}",
            "/{path}",
            "//{host}",
            "ftp://a",
            "https://{path}",
            "https:///a",
            "https://a{host}/",
            "/{id}",
            "/{",
            "/a\n",
        ] {
            assert!(parts(to).is_err(), "{to:?}");
        }
    }
}
