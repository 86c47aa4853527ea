//! Changes to a request or response head, as pure functions.
//!
//! `Rewrite::request` and `Rewrite::response` are the only places that say in which order they happen. Each
//! step's rule and source stand in its own file; `docs/HEADERS.md` lists every field.
//!
//! ```
//! use axum_upstream::{ReverseProxy, rewrite::HostPolicy};
//!
//! let proxy = ReverseProxy::to("http://127.0.0.1:5000")?
//!     .host(HostPolicy::Preserve)
//!     .strip_prefix("/api")?
//!     .trusted_peers(["10.0.0.0/8"])?;
//! # Ok::<(), axum_upstream::Error>(())
//! ```

mod client;
mod forwarded;
mod hop_by_hop;
mod host;
mod path;
mod seen;
mod via;

use std::fmt;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header,
    request::Parts as RequestParts,
    response::Parts as ResponseParts,
    uri::{PathAndQuery, Uri},
};

pub use self::host::HostPolicy;
pub(crate) use self::{
    forwarded::{Downstream, ForwardedPolicy, Peer},
    hop_by_hop::{accepts_trailers, strip_trailers, tokens},
    path::{PathRewrite, below, climbs, parse_prefix, strip_prefix},
    seen::{Fields, Seen},
    via::Via,
};
use crate::error::{Error, ErrorKind};

/// All that decides how heads are rewritten. One per proxy, shared by its requests.
#[derive(Clone, Debug)]
pub(crate) struct Rewrite {
    pub(crate) forwarded: ForwardedPolicy,
    pub(crate) path: PathRewrite,
    pub(crate) host: HostPolicy,
    /// Fields that a `Connection` line from the client cannot remove.
    pub(crate) protected: Vec<HeaderName>,
    /// Our name in `Via`; `None` sends none and sees no loops.
    pub(crate) via: Option<Via>,
    pub(crate) via_on_responses: bool,
}

impl Default for Rewrite {
    fn default() -> Self {
        Self {
            forwarded: ForwardedPolicy::default(),
            path: PathRewrite::default(),
            host: HostPolicy::default(),
            protected: Vec::new(),
            // Unlike a fixed name, one drawn per proxy tells a loop from a chain of two such proxies.
            via: Via::new(&format!("axum-upstream-{:08x}", fastrand::u32(..))).ok(),
            via_on_responses: false,
        }
    }
}

/// What a request head asks of the rest of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send it on, and let none of these be among its trailers.
    Forward { nominated: Vec<HeaderName> },
    /// `Max-Forwards` is used up: we are the final recipient.
    Answer,
}

impl Rewrite {
    /// Makes a received request head fit to be sent. `seen` is what is in it.
    ///
    /// 1. CONNECT is refused; there is exactly one valid host, or 400.
    /// 2. A loop is refused; `Max-Forwards` is counted down.
    /// 3. Framing is `chunked`, a length, or nothing; hop-by-hop fields go, before anything is added that a client
    ///    could name in `Connection`.
    /// 4. The path is rewritten.
    /// 5. Forwarding fields say who the client was and which host it asked for; `Host` follows its policy.
    /// 6. `TE: trailers`, one `Cookie` line, `Via`.
    ///
    /// The user's hook comes after all of it (in `forward/`), so that nothing undoes what it did.
    ///
    /// # Errors
    ///
    /// 400, 405, 501 or 508, as the step says.
    pub(crate) fn request(
        &self,
        parts: &mut RequestParts,
        seen: Seen,
        downstream: Downstream<'_>,
    ) -> Result<Verdict, Error> {
        if parts.method == Method::CONNECT {
            return Err(Error::new(ErrorKind::MethodNotAllowed));
        }
        host::settle(parts, seen)?;
        if let (Some(via), true) = (&self.via, seen.any(Fields::VIA)) {
            via.check_loop(&parts.headers)?;
        }
        if via::max_forwards(parts)? {
            return Ok(Verdict::Answer);
        }

        let te_trailers = seen.any(Fields::TE) && accepts_trailers(&parts.headers);
        strip_framing(&mut parts.headers, seen)?;
        let nominated = hop_by_hop::strip(&mut parts.headers, seen, &self.protected);

        if let Some(target) = self.target(&parts.uri)? {
            parts.uri = target;
        }

        let asked_for = match &self.host {
            HostPolicy::Preserve => parts.headers.get(header::HOST).cloned(),
            // Whoever knows the endpoint sets a Host where there is none.
            HostPolicy::Endpoint => parts.headers.remove(header::HOST),
            HostPolicy::Fixed(host) => {
                let asked_for = parts.headers.get(header::HOST).cloned();
                parts.headers.insert(header::HOST, host.clone());
                asked_for
            }
        };
        forwarded::apply(
            &self.forwarded,
            &mut parts.headers,
            seen,
            downstream,
            asked_for,
        );

        if te_trailers {
            hop_by_hop::set_te_trailers(&mut parts.headers);
        }
        if parts.version < Version::HTTP_11 {
            // RFC 9110 10.1.1: a 100-continue expectation of an HTTP/1.0 request is to be ignored.
            parts.headers.remove(header::EXPECT);
        }
        if seen.repeats() && seen.any(Fields::COOKIE) {
            join_cookies(&mut parts.headers);
        }
        if let Some(via) = &self.via {
            via.add(&mut parts.headers, parts.version);
        }
        // RFC 9112 2.3: intermediaries send their own version in forwarded messages.
        parts.version = Version::HTTP_11;
        Ok(Verdict::Forward { nominated })
    }

    /// Makes a received response head fit to be sent down, and says which fields may not be among its trailers.
    ///
    /// # Errors
    ///
    /// 502 when its transfer coding is not `chunked`.
    pub(crate) fn response(&self, parts: &mut ResponseParts) -> Result<Vec<HeaderName>, Error> {
        let seen = Seen::in_head(&parts.headers);
        strip_framing(&mut parts.headers, seen)
            .map_err(|error| Error::new(ErrorKind::Exchange).with(error))?;
        if parts.status == StatusCode::NO_CONTENT {
            // RFC 9110 8.6: no Content-Length in a 204.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let nominated = hop_by_hop::strip(&mut parts.headers, seen, &[]);
        if let (true, Some(via)) = (self.via_on_responses, &self.via) {
            via.add(&mut parts.headers, parts.version);
        }
        parts.version = Version::HTTP_11;
        Ok(nominated)
    }

    /// The request target in origin form, rewritten; none if it is that already.
    fn target(&self, from: &Uri) -> Result<Option<Uri>, Error> {
        // `*` is no path and has no prefix (RFC 9112 3.2.4).
        let keep = self.path.is_noop() || from.path() == "*";
        if keep && from.authority().is_none() {
            return Ok(None);
        }
        let from = from
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| PathAndQuery::from_static("/"));
        let target = if keep { from } else { self.path.apply(&from)? };
        Ok(Some(target.into()))
    }
}

/// RFC 9112 6.3: where both are received, `Transfer-Encoding` overrides `Content-Length`, and an intermediary "MUST
/// first remove the received Content-Length field" before it forwards the message.
///
/// hyper has undone `chunked` by now, and nobody else undoes any other coding: to send on what is left of
/// `gzip, chunked` would be to lose the `gzip`. RFC 9112 6.1: "A server that receives a request message with a transfer
/// coding it does not understand SHOULD respond with 501".
fn strip_framing(headers: &mut HeaderMap, seen: Seen) -> Result<(), Error> {
    if seen.any(Fields::TRANSFER_ENCODING) {
        let mut codings = tokens(headers, &header::TRANSFER_ENCODING);
        let chunked = codings
            .next()
            .is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if !chunked || codings.next().is_some() {
            return Err(Error::new(ErrorKind::TransferCoding));
        }
        drop(codings);
        headers.remove(header::CONTENT_LENGTH);
    }
    if seen.any(Fields::CONTENT_LENGTH) {
        one_length(headers)
    } else {
        Ok(())
    }
}

/// RFC 9112 6.3: a list of one and the same length is replaced by that length, or refused.
fn one_length(headers: &mut HeaderMap) -> Result<(), Error> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) => return Ok(()),
        (Some(only), None) if !only.as_bytes().contains(&b',') => return Ok(()),
        _ => {}
    }
    let lengths: Vec<&[u8]> = tokens(headers, &header::CONTENT_LENGTH).collect();
    if lengths.iter().any(|length| *length != lengths[0]) {
        return Err(Error::bad_request("more than one Content-Length"));
    }
    let one = HeaderValue::from_bytes(lengths[0]);
    let one = one.map_err(|_| Error::bad_request("invalid Content-Length"))?;
    headers.insert(header::CONTENT_LENGTH, one);
    Ok(())
}

/// Whether a request is a gRPC call: its protocol lives on trailers, and its clients read no text. Its method is
/// always POST ("gRPC over HTTP2", Requests).
pub(crate) fn is_grpc(method: &Method, headers: &HeaderMap) -> bool {
    let content_type = || headers.get(header::CONTENT_TYPE);
    method == Method::POST
        && content_type().is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// RFC 9113 8.2.3: cookie crumbs "MUST be concatenated into a single octet string using the two-octet delimiter of
/// 0x3b, 0x20" before they are passed into a non-HTTP/2 context.
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).into_iter();
    if let (Some(_), Some(_)) = (lines.next(), lines.next()) {
        let crumbs: Vec<&[u8]> = headers
            .get_all(header::COOKIE)
            .into_iter()
            .map(HeaderValue::as_bytes)
            .collect();
        if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

impl fmt::Display for HostPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint => f.write_str("endpoint"),
            Self::Preserve => f.write_str("preserve"),
            Self::Fixed(host) => write!(f, "{host:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    const NOBODY: Downstream<'static> = Downstream {
        peer: None,
        scheme: "http",
        prefix: None,
    };

    fn request(rewrite: &Rewrite, request: http::request::Builder) -> Result<RequestParts, Error> {
        let mut parts = request.body(()).unwrap().into_parts().0;
        let seen = Seen::in_head(&parts.headers);
        rewrite.request(&mut parts, seen, NOBODY).map(|_| parts)
    }

    /// Check 9, and 10: nothing is invented.
    #[test]
    fn te_keeps_trailers_only_and_no_user_agent_appears() {
        let get = || Request::get("/").header("host", "a");
        let sent = request(&Rewrite::default(), get().header("te", "gzip, Trailers")).unwrap();
        assert_eq!(sent.headers["te"], "trailers");
        let sent = request(&Rewrite::default(), get().header("te", "gzip")).unwrap();
        assert!(!sent.headers.contains_key("te"));
        assert!(!sent.headers.contains_key("user-agent"));
    }

    /// Check 11.
    #[test]
    fn cookie_crumbs_become_one_line() {
        let crumbs = Request::get("/")
            .header("host", "a")
            .header("cookie", "a=1")
            .header("cookie", "b=2");
        let sent = request(&Rewrite::default(), crumbs).unwrap();
        assert_eq!(sent.headers["cookie"], "a=1; b=2");
        assert_eq!(sent.headers.get_all("cookie").iter().count(), 1);
    }

    #[test]
    fn host_follows_its_policy_and_the_clients_is_kept_aside() {
        let with = |host| Rewrite {
            host,
            ..Rewrite::default()
        };
        let get = || Request::get("/").header("host", "a:1");
        let sent = request(&with(HostPolicy::Endpoint), get()).unwrap();
        assert!(!sent.headers.contains_key("host"));
        assert_eq!(sent.headers["x-forwarded-host"], "a:1");
        assert_eq!(
            request(&with(HostPolicy::Preserve), get()).unwrap().headers["host"],
            "a:1"
        );
        let fixed = HostPolicy::Fixed(HeaderValue::from_static("b"));
        assert_eq!(request(&with(fixed), get()).unwrap().headers["host"], "b");
    }

    #[test]
    fn connect_and_loops_are_refused() {
        let rewrite = Rewrite {
            via: Via::new("me").ok(),
            ..Rewrite::default()
        };
        let error =
            request(&rewrite, Request::connect("a:443").header("host", "a:443")).unwrap_err();
        assert_eq!(error.status(), StatusCode::METHOD_NOT_ALLOWED);
        let error = request(
            &rewrite,
            Request::get("/").header("host", "a").header("via", "2 me"),
        )
        .unwrap_err();
        assert_eq!(error.status(), StatusCode::LOOP_DETECTED);
    }

    #[test]
    fn asterisk_form_has_no_prefix() {
        let path = PathRewrite {
            strip: None,
            add: Some("/v1".into()),
        };
        let rewrite = Rewrite {
            path,
            ..Rewrite::default()
        };
        let sent = request(&rewrite, Request::options("*").header("host", "a")).unwrap();
        assert_eq!(sent.uri, "*");
    }

    /// RFC 9112 6.3, and check 61: no length in a 204.
    #[test]
    fn responses_keep_one_framing() {
        let response = |status: u16, fields: &[(&str, &str)]| {
            let mut response = Response::builder().status(status);
            for (name, value) in fields {
                response = response.header(*name, *value);
            }
            let mut parts = response
                .version(Version::HTTP_10)
                .body(())
                .unwrap()
                .into_parts()
                .0;
            Rewrite::default().response(&mut parts).unwrap();
            parts
        };
        let parts = response(
            200,
            &[("transfer-encoding", "chunked"), ("content-length", "3")],
        );
        assert!(parts.headers.is_empty());
        assert_eq!(parts.version, Version::HTTP_11);
        assert!(response(204, &[("content-length", "0")]).headers.is_empty());
        assert_eq!(
            response(304, &[("content-length", "9")]).headers["content-length"],
            "9"
        );
    }
}
