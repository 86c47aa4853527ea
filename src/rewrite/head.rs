//! The order of all changes to a head.

use http::{
    HeaderName, Method, StatusCode, Version, header,
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
    trailers::TrailerRule,
    via::{self, Via},
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
#[derive(Clone, Debug)]
pub(crate) enum NextStep {
    /// Send it on, with the trailers that this rule leaves.
    Forward(TrailerRule),
    /// `Max-Forwards` is used up: the proxy is the final recipient.
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
            // RFC 9110 10.1.1: a 100-continue expectation of an HTTP/1.0 request is to be ignored.
            parts.headers.remove(header::EXPECT);
        }
        if seen.repeats() && seen.any(Fields::COOKIE) {
            list::join_cookies(&mut parts.headers);
        }
        if let Some(via) = &self.via {
            via.add(&mut parts.headers, parts.version);
        }
        // RFC 9112 2.3: intermediaries send their own version in forwarded messages.
        parts.version = Version::HTTP_11;
        Ok(NextStep::Forward(trailers))
    }

    /// Makes a received response head fit to be sent down, and returns the rule for its trailers.
    ///
    /// # Errors
    ///
    /// 502 when its framing is in doubt, or one of its lists has too many members.
    pub(crate) fn response(&self, parts: &mut ResponseParts) -> Result<TrailerRule, Error> {
        let seen = Seen::in_head(&parts.headers);
        let broken = |error| Error::new(ErrorKind::Exchange).with(error);
        framing::strip(&mut parts.headers, seen, MAX_RESPONSE_TRAILERS).map_err(broken)?;
        if parts.status == StatusCode::NO_CONTENT {
            // RFC 9110 8.6: no Content-Length in a 204.
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let trailers = hop_by_hop::strip(&mut parts.headers, seen, &[]).map_err(broken)?;
        if let (true, Some(via)) = (self.via_on_responses, &self.via) {
            via.add(&mut parts.headers, parts.version);
        }
        parts.version = Version::HTTP_11;
        Ok(trailers)
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

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, Response};

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
