//! The order in which a head is rewritten. No other file of the code states it.
//!
//! The order matters. Checks come first, so that a refused request costs little. Hop-by-hop fields are removed before
//! any field is added, because a client could otherwise name the added field in `Connection` and have it removed
//! (CVE-2022-31813 was such a case).

use http::{
    HeaderName, HeaderValue, Method, StatusCode, Version, header,
    request::Parts as RequestParts,
    response::Parts as ResponseParts,
    uri::{PathAndQuery, Uri},
};

use super::{
    fields::{Fields, Seen},
    forwarded::{self, Downstream, ForwardedPolicy},
    framing, hop_by_hop,
    host::{self, HostPolicy},
    list,
    list::{MAX_NAMES, MAX_RESPONSE_TRAILERS},
    path::PathRewrite,
    reverse::{AskedFor, ReverseMapping},
    trailers::TrailerRule,
    via::{self, Via},
};
use crate::error::{Error, ErrorKind};

/// The settings that decide how heads are rewritten. One per proxy, shared by its requests.
#[derive(Clone, Debug)]
pub(crate) struct Rewrite {
    pub(crate) forwarded: ForwardedPolicy,
    pub(crate) path: PathRewrite,
    pub(crate) host: HostPolicy,
    /// Fields that a client cannot have removed by naming them in `Connection`. Default: none but those of
    /// `is_never_nominated`.
    pub(crate) protected: Vec<HeaderName>,
    /// This proxy's `Via`. `None` sends none, and detects no loops.
    pub(crate) via: Option<Via>,
    /// Whether `Via` is added to responses too. Default: `false`.
    pub(crate) via_on_responses: bool,
    /// Whether URLs of the endpoint in responses become the client's. Default: `false`.
    pub(crate) reverse_mapping: bool,
}

impl Default for Rewrite {
    fn default() -> Self {
        Self {
            forwarded: ForwardedPolicy::default(),
            path: PathRewrite::default(),
            host: HostPolicy::default(),
            protected: Vec::new(),
            // Drawn per proxy: with a fixed name, a chain of two such proxies would be taken for a loop.
            via: Via::new(&format!("axum-upstream-{:08x}", fastrand::u32(..))).ok(),
            via_on_responses: false,
            reverse_mapping: false,
        }
    }
}

/// What happens to a request whose head has been rewritten.
#[derive(Clone, Debug)]
pub(crate) enum NextStep {
    /// It is forwarded, with those of its trailers that this rule allows.
    Forward(TrailerRule),
    /// It is answered by the proxy: `Max-Forwards` is zero, which makes the proxy the final recipient.
    Answer,
}

impl Rewrite {
    /// Makes a received request head fit to be forwarded. `seen` is what it contains.
    ///
    /// 1. CONNECT is refused, and the head gets exactly one valid host.
    /// 2. A request loop is refused; `Max-Forwards` is decremented.
    /// 3. One framing is left, and hop-by-hop fields are removed.
    /// 4. The path is rewritten.
    /// 5. `Host` is set according to its policy, and the forwarding fields are set.
    /// 6. `TE: trailers` is put back, `Cookie` lines are joined, `Via` is added.
    ///
    /// The user's hooks run after all of it, in `forward/`, so that nothing undoes what they do.
    ///
    /// On an error the head may have been changed in part; it is of no further use then.
    ///
    /// # Errors
    ///
    /// Returns a 400, 405, 501 or 508 as the steps say, or a 500 for a path hook that returns no path.
    pub(crate) fn request(
        &self,
        parts: &mut RequestParts,
        seen: Seen,
        downstream: Downstream<'_>,
    ) -> Result<NextStep, Error> {
        if parts.method == Method::CONNECT {
            return Err(Error::new(ErrorKind::MethodNotAllowed));
        }
        host::settle(parts, seen)?;
        if let (Some(via), true) = (&self.via, seen.any(Fields::VIA)) {
            via.check_loop(&parts.headers)?;
        }
        if via::max_forwards(parts)? {
            return Ok(NextStep::Answer);
        }

        let te_trailers = seen.any(Fields::TE) && framing::accepts_trailers(&parts.headers);
        framing::strip(&mut parts.headers, seen, MAX_NAMES)?;
        let trailers = hop_by_hop::strip(&mut parts.headers, seen, &self.protected)?;

        if let Some(target) = self.target(&parts.uri)? {
            parts.uri = target;
        }

        let asked_for = host::asked_for(&parts.headers);
        match &self.host {
            HostPolicy::Endpoint => host::lend(&mut parts.headers),
            HostPolicy::Preserve => drop(
                asked_for
                    .clone()
                    .map(|host| parts.headers.insert(header::HOST, host)),
            ),
            HostPolicy::Fixed(host) => drop(parts.headers.insert(header::HOST, host.clone())),
        }
        forwarded::apply(
            &self.forwarded,
            &mut parts.headers,
            seen,
            downstream,
            asked_for,
        );

        if te_trailers {
            framing::set_te_trailers(&mut parts.headers);
        }
        if seen.any(Fields::EXPECT) && parts.version < Version::HTTP_11 {
            // RFC 9110 10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST ignore
            // that expectation."
            parts.headers.remove(header::EXPECT);
        }
        // RFC 9113 8.2.3, and several lines over HTTP/1 as well: an endpoint may read only the first.
        if seen.repeats() && seen.any(Fields::COOKIE) {
            list::join_cookies(&mut parts.headers);
        }
        if let Some(via) = &self.via {
            via.add(&mut parts.headers, parts.version);
        }
        // RFC 9112 2.3: intermediaries "MUST send their own HTTP-version in forwarded messages". Whether the endpoint
        // is sent HTTP/2 is decided in `upstream/`.
        parts.version = Version::HTTP_11;
        Ok(NextStep::Forward(trailers))
    }

    /// Checks the head of a CONNECT, which ends here: what the client sends after it goes through a tunnel.
    ///
    /// The target is not looked at.
    ///
    /// # Errors
    ///
    /// Returns a 400 for more than one host, or for content; a 508 for a loop.
    pub(crate) fn check_connect(&self, parts: &RequestParts) -> Result<(), Error> {
        host::check_field(parts)?;
        if let Some(via) = &self.via {
            via.check_loop(&parts.headers)?;
        }
        // RFC 9110 9.3.6: "A CONNECT request message does not have content." What claims to be content would be read
        // as such by some, and as the first bytes of the tunnel by others.
        let has_length = |length: &HeaderValue| length != "0";
        let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).into_iter();
        if lengths.any(has_length) || parts.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(Error::bad_request("CONNECT with content"));
        }
        Ok(())
    }

    /// Returns what a request asked for, if its response will be mapped back to that. The head has been rewritten, and
    /// hooks have yet to run.
    pub(crate) fn asked_for(&self, parts: &RequestParts) -> Option<Box<AskedFor>> {
        self.reverse_mapping
            .then(|| Box::new(AskedFor::in_head(&parts.headers)))
    }

    /// Makes a received response head fit to be relayed, and returns the rule for its trailers.
    ///
    /// The same steps 3 and 6 as for requests, without `protected`: fields that an endpoint names in `Connection` are
    /// its own. Between them, URLs are mapped to what was `asked_for`, if that is set.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Connection`], a 502, if the framing is ambiguous or a list has too many members.
    pub(crate) fn response(
        &self,
        parts: &mut ResponseParts,
        asked_for: Option<&AskedFor>,
    ) -> Result<TrailerRule, Error> {
        let seen = Seen::in_head(&parts.headers);
        let broken = |error| Error::new(ErrorKind::Connection).with(error);
        framing::strip(&mut parts.headers, seen, MAX_RESPONSE_TRAILERS).map_err(broken)?;
        if parts.status == StatusCode::NO_CONTENT {
            // RFC 9110 8.6: "A server MUST NOT send a Content-Length header field in any response with a status code of
            // 1xx (Informational) or 204 (No Content)."
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let trailers = hop_by_hop::strip(&mut parts.headers, seen, &[]).map_err(broken)?;
        let added = self.path.add.as_deref();
        if let Some(mapping) = asked_for.and_then(|to| ReverseMapping::new(to, added)) {
            mapping.apply(&mut parts.headers);
        }
        if let (true, Some(via)) = (self.via_on_responses, &self.via) {
            via.add(&mut parts.headers, parts.version);
        }
        parts.version = Version::HTTP_11;
        Ok(trailers)
    }

    /// Returns the request target in origin form, rewritten, or `None` if it is in that form and needs no rewriting.
    ///
    /// # Errors
    ///
    /// Those of [`PathRewrite::apply`].
    fn target(&self, from: &Uri) -> Result<Option<Uri>, Error> {
        // `*` is not a path and has no prefix (RFC 9112 3.2.4).
        let keep = self.path.is_noop() || from.path() == "*";
        if keep && from.authority().is_none() {
            return Ok(None);
        }
        let from = absolute_path(from)?;
        let target = if keep { from } else { self.path.apply(&from)? };
        Ok(Some(target.into()))
    }
}

/// Returns the path and query of a target, beginning with `/`.
///
/// RFC 9112 3.2.1: "If the target URI's path component is empty, the client MUST send "/" as the path within the
/// origin-form of request-target." `Uri` keeps it empty where a query or a fragment follows the authority.
fn absolute_path(target: &Uri) -> Result<PathAndQuery, Error> {
    match target.path_and_query() {
        Some(path) if path.as_str().starts_with('?') => {
            let path = PathAndQuery::try_from(format!("/{}", path.as_str()));
            path.map_err(|error| Error::bad_request("the target is no path").with(error))
        }
        Some(path) if path.as_str() != "/" => Ok(path.clone()),
        _ => Ok(PathAndQuery::from_static("/")),
    }
}

#[cfg(test)]
mod tests {
    use http::{Request, Response};

    use super::*;

    const UNKNOWN: Downstream<'static> = Downstream {
        client: None,
        scheme: "http",
        prefix: None,
    };

    fn request(rewrite: &Rewrite, request: http::request::Builder) -> Result<RequestParts, Error> {
        let mut parts = request.body(()).unwrap().into_parts().0;
        let seen = Seen::in_head(&parts.headers);
        rewrite.request(&mut parts, seen, UNKNOWN).map(|_| parts)
    }

    #[test]
    fn a_target_without_a_path_has_the_root() {
        for (target, path) in [
            ("http://b", "/"),
            ("http://b#x", "/"),
            ("http://b?q", "/?q"),
            ("http://b?", "/?"),
            ("http://b/?q", "/?q"),
            ("http://b//x", "//x"),
        ] {
            let get = Request::get(target).header("host", "b");
            let uri = request(&Rewrite::default(), get).unwrap().uri;
            let sent = uri.path_and_query().map(PathAndQuery::as_str);
            assert_eq!(
                (uri.path().starts_with('/'), sent),
                (true, Some(path)),
                "{target}"
            );
        }
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
        assert!(host::is_lent(&sent.headers["host"]));
        assert!(!host::is_lent(&sent.headers["x-forwarded-host"]));
        assert_eq!(sent.headers["x-forwarded-host"], "a:1");
        let kept = request(&with(HostPolicy::Preserve), get()).unwrap();
        assert_eq!(kept.headers["host"], "a:1");
        assert!(!host::is_lent(&kept.headers["host"]));
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
            add: Some("/v1".into()),
            ..PathRewrite::default()
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
            Rewrite::default().response(&mut parts, None).unwrap();
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
