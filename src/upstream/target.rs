//! Where an endpoint is: its URL, parsed once, and how a request head is pointed at it.
//!
//! A head arrives in origin form, without anything of a certain endpoint in it. [`Target::apply`] makes it one for this
//! endpoint and this version of HTTP, and returns a [`Before`] by which that can be undone: a request that could not be
//! sent must be able to go to another endpoint, of another base path or version.
//!
//! | | HTTP/1 | HTTP/2 |
//! |---|---|---|
//! | target | origin form, base path in front | absolute form, base path in front |
//! | host | `Host` | `:authority`, and no `Host` |
//! | connection fields | `Upgrade` kept; `http1/request_head.rs` adds the others | none (RFC 9113 8.2.2) |

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use http::{HeaderName, HeaderValue, Method, Request, Uri, header, uri::Authority};

use super::redacted::redacted;
use crate::{
    error::{BoxError, Error},
    record::EndpointId,
    rewrite::{self, Fields, Seen, is_lent},
    telemetry::SpanServer,
};

/// How to speak to an endpoint. Taken from the scheme of its URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// HTTP/1.1 over TCP.
    Http,
    /// TLS; ALPN chooses between HTTP/2 and HTTP/1.1.
    Https,
    /// HTTP/2 without TLS, with prior knowledge (RFC 9113 3.3).
    H2c,
    /// HTTP/1 over a Unix socket.
    Unix,
}

/// The parsed URL of an endpoint. Immutable, and shared by a client and its pool.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The protocols.
    pub(crate) scheme: Scheme,
    /// What a connector connects to: `http://host:port` or `https://host:port`.
    pub(crate) origin: Uri,
    /// The URL without a trailing slash.
    pub(crate) url: Arc<str>,
    /// For logs, errors and as the endpoint's identity: the URL, unless the client was given a name.
    pub(crate) name: Arc<str>,
    /// What records call it where no balancer has a name for it.
    pub(crate) id: Arc<EndpointId>,
    /// The file of a Unix socket.
    pub(crate) socket: Option<PathBuf>,
    /// The authority as a `Host`, made once.
    host: HeaderValue,
    /// The authority as `:authority`.
    authority: Authority,
    /// The base path: empty, or starts with `/` and does not end with one.
    base: String,
}

/// What was removed from a head, or replaced, to point it at an endpoint, so that an unsent request can go to another.
///
/// Boxed, since most heads are sent over HTTP/1 to endpoints without a base path, and stay as they are.
#[derive(Default)]
pub(crate) struct Before(Option<Box<Replaced>>);

/// What was in a head before.
struct Replaced {
    uri: Uri,
    /// `Host` and `Upgrade`, if they were removed.
    fields: [(HeaderName, Option<HeaderValue>); 2],
}

impl Before {
    /// Undoes [`Target::apply`].
    pub(crate) fn restore<B>(self, request: &mut Request<B>) {
        let Some(replaced) = self.0 else { return };
        *request.uri_mut() = replaced.uri;
        for (name, value) in replaced.fields {
            if let Some(value) = value {
                request.headers_mut().insert(name, value);
            }
        }
    }
}

impl Target {
    /// Returns the name or address to connect to, an IPv6 address without its brackets. It is the name in TLS, too.
    pub(crate) fn host_name(&self) -> &str {
        self.authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
    }

    /// Returns the port, or the default one of the scheme: 443 for `https`, else 80.
    pub(crate) fn port(&self) -> u16 {
        let default = if self.scheme == Scheme::Https {
            443
        } else {
            80
        };
        self.authority.port_u16().unwrap_or(default)
    }

    /// Returns what spans say of the server.
    pub(crate) fn in_span(&self) -> SpanServer<'_> {
        let socket = self.socket.as_ref().and_then(|socket| socket.to_str());
        SpanServer {
            address: socket.unwrap_or_else(|| self.host_name()),
            port: socket.is_none().then(|| self.port()),
            scheme: match self.scheme {
                Scheme::Https => "https",
                Scheme::Http | Scheme::H2c | Scheme::Unix => "http",
            },
            authority: self.authority.as_str(),
            base_path: &self.base,
        }
    }

    /// Points a head in origin form at this endpoint: its base path in front; for HTTP/2 in absolute form, with its
    /// authority unless another `Host` was chosen.
    ///
    /// The path is joined byte by byte, never decoded. `*` (OPTIONS) has no path and remains.
    ///
    /// # Errors
    ///
    /// 400 for CONNECT, whose target is no path; if the path would climb out of the base path, or if it or `Host`
    /// cannot be part of an absolute form. The head may then be changed in part, so the request is lost.
    pub(crate) fn apply<B>(&self, request: &mut Request<B>, http2: bool) -> Result<Before, Error> {
        if request.method() == Method::CONNECT {
            return Err(Error::bad_request("CONNECT is not supported"));
        }
        let is_below = !self.base.is_empty() && request.uri().path() != "*";
        if !is_below && !http2 {
            return Ok(Before::default());
        }
        let uri = request.uri().clone();
        if let Some(path) = uri.path_and_query().filter(|_| is_below) {
            *request.uri_mut() = Uri::from(rewrite::below(&self.base, path)?);
        }
        let mut fields = [(header::HOST, None), (header::UPGRADE, None)];
        if http2 {
            let takes_own = takes_own_host(request);
            // RFC 9113 8.2.2: no fields that belong to an HTTP/1 connection.
            for (name, value) in &mut fields {
                *value = request.headers_mut().remove(&*name);
            }
            self.absolute(request, fields[0].1.as_ref().filter(|_| !takes_own))?;
        }
        Ok(Before(Some(Box::new(Replaced { uri, fields }))))
    }

    /// Returns the `Host` that takes the place of that in a head for HTTP/1: the authority, unless another was chosen.
    /// `seen` describes the fields of the head.
    ///
    /// It is written instead of that in the head, which stays as it is.
    pub(crate) fn host_for<B>(&self, request: &Request<B>, seen: Seen) -> Option<HeaderValue> {
        let takes_own = !seen.any(Fields::HOST) || takes_own_host(request);
        takes_own.then(|| self.host.clone())
    }

    /// Puts a target into absolute form, from which HTTP/2 takes `:scheme` and `:authority`.
    ///
    /// RFC 9113 8.3.1: an intermediary that forwards a request with a `Host` makes `:authority` of it.
    fn absolute<B>(
        &self,
        request: &mut Request<B>,
        host: Option<&HeaderValue>,
    ) -> Result<(), Error> {
        let authority = match host.filter(|host| **host != self.host) {
            Some(host) => Authority::try_from(host.as_bytes())
                .map_err(|error| Error::bad_request("Host is no authority").with(error))?,
            None => self.authority.clone(),
        };
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = self.origin.scheme().cloned();
        uri.authority = Some(authority);
        *request.uri_mut() = Uri::from_parts(uri)
            .map_err(|error| Error::bad_request("the target has no absolute form").with(error))?;
        Ok(())
    }
}

impl FromStr for Target {
    type Err = Error;

    /// Parses the URL of an endpoint.
    ///
    /// # Errors
    ///
    /// A config error that says what is wrong with it.
    fn from_str(url: &str) -> Result<Self, Error> {
        parse(url).map_err(|error| Error::config("endpoint URL", error))
    }
}

/// Returns the form of an endpoint's URL that is its name, without a trailing slash, or `None` if it is no valid URL of
/// an endpoint. Two URLs of the same form are the same endpoint.
pub(crate) fn canonical_url(url: &str) -> Option<Arc<str>> {
    parse(url).ok().map(|target| target.url)
}

/// Returns whether a head has no `Host` of its own: none, or one that is only lent, a placeholder that `rewrite/` has
/// left.
fn takes_own_host<B>(request: &Request<B>) -> bool {
    request.headers().get(header::HOST).is_none_or(is_lent)
}

/// Returns the identity of an endpoint that is in no cluster.
pub(super) fn alone(name: &Arc<str>, url: &Arc<str>) -> Arc<EndpointId> {
    Arc::new(EndpointId::new(None, name.clone()).at(Some(url.clone())))
}

impl Target {
    /// Gives it another name than its URL.
    pub(crate) fn rename(&mut self, name: &Arc<str>) {
        (self.name, self.id) = (name.clone(), alone(name, &self.url));
    }
}

/// Parses a URL: `scheme://host[:port][/base]` or `unix:/path`. What has no meaning for an endpoint is refused rather
/// than ignored: user and password, query, fragment.
fn parse(url: &str) -> Result<Target, BoxError> {
    let fail = |why: &str| Err(format!("{:?} {why}", redacted(url)).into());
    if let Some(path) = url.strip_prefix("unix:") {
        let file = path.trim_end_matches('/');
        if !file.starts_with('/') {
            return fail("must have an absolute path, as unix:/run/app.sock");
        }
        let name: Arc<str> = format!("unix:{file}").into();
        return Ok(Target {
            scheme: Scheme::Unix,
            socket: Some(file.into()),
            url: name.clone(),
            id: alone(&name, &name),
            name,
            ..parse("http://localhost")?
        });
    }
    // `Uri` drops a fragment.
    if url.contains('#') {
        return fail("must have no fragment");
    }
    let uri: Uri = match url.parse() {
        Ok(uri) => uri,
        Err(error) => return fail(&format!("is not a URL: {error}")),
    };
    let scheme = match uri.scheme_str() {
        Some("http") => Scheme::Http,
        Some("https") if cfg!(feature = "_tls") => Scheme::Https,
        Some("https") => return fail("needs the feature `tls`"),
        Some("h2c") if cfg!(feature = "http2") => Scheme::H2c,
        Some("h2c") => return fail("needs the feature `http2`"),
        _ => return fail("must start with http://, https://, h2c:// or unix:/"),
    };
    let Some(authority) = uri
        .authority()
        .filter(|authority| !authority.host().is_empty())
    else {
        return fail("has no host");
    };
    if authority.as_str().contains('@') {
        return fail("must hold no user or password");
    }
    let has_port = authority.as_str().len() > authority.host().len();
    if has_port && authority.port_u16().is_none_or(|port| port == 0) {
        return fail("has an invalid port");
    }
    if uri.query().is_some() {
        return fail("must have no query");
    }
    let base = uri.path().trim_end_matches('/');
    let connect = if scheme == Scheme::Https {
        "https"
    } else {
        "http"
    };
    let url: Arc<str> = format!(
        "{}://{authority}{}",
        uri.scheme_str().unwrap_or_default(),
        base
    )
    .into();
    Ok(Target {
        scheme,
        origin: format!("{connect}://{authority}").parse()?,
        name: url.clone(),
        id: alone(&url, &url),
        url,
        socket: None,
        host: HeaderValue::from_str(authority.as_str())?,
        authority: authority.clone(),
        base: base.to_owned(),
    })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn bad_addresses_say_what_is_wrong() {
        for (url, says) in [
            ("127.0.0.1:80", "http://"),
            ("ftp://a", "http://"),
            ("http://", "not a URL"),
            ("http://u:p@a", "password"),
            ("http://a:99999", "port"),
            ("http://a:0", "port"),
            ("http://a/?x", "query"),
            ("http://a/#x", "fragment"),
            ("unix:a.sock", "absolute path"),
            ("unix:/", "absolute path"),
            ("http://a b", "not a URL"),
        ] {
            let error = Target::from_str(url).unwrap_err();
            assert!(
                error.is_config() && error.to_string().contains("endpoint URL"),
                "{url}"
            );
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    /// Whatever else is wrong with a URL, its password is not in the error.
    #[test]
    fn passwords_are_in_no_error() {
        for url in [
            "http://user:secret@a",
            "http://user:secret@a:99999",
            "http://user:secret@a?b",
            "http://user:secret@a#b",
            "http://user:sec/secret@a",
            "http://user:secret @a",
            "ftp://user:secret@a",
            "user:secret@a",
            "unix:user:secret@a",
        ] {
            let error = Target::from_str(url).unwrap_err();
            for error in [error.to_string(), format!("{error:?}")] {
                assert!(!error.contains("secret"), "{error}");
            }
            let shown = error.to_string();
            assert!(shown.contains("***@a"), "{shown}");
        }
    }

    #[test]
    fn base_and_host_are_put_on() {
        let target: Target = "http://a:5000/base/".parse().unwrap();
        let mut request = Request::get("/x?y").body(()).unwrap();
        let before = target.apply(&mut request, false).unwrap();
        assert_eq!(request.uri(), "/base/x?y");
        let seen = Seen::in_head(request.headers());
        assert_eq!(target.host_for(&request, seen).unwrap(), "a:5000");
        before.restore(&mut request);
        assert_eq!(request.uri(), "/x?y");
        assert!(request.headers().is_empty());

        let mut request = Request::get("/../x")
            .header("host", "kept")
            .body(())
            .unwrap();
        let seen = Seen::in_head(request.headers());
        assert!(target.host_for(&request, seen).is_none());
        let mut connect = Request::connect("a:1").body(()).unwrap();
        assert!(target.apply(&mut connect, false).is_err());
        assert!(target.apply(&mut request, false).is_err());
    }

    #[cfg(feature = "http2")]
    #[test]
    fn http2_takes_its_authority_from_host() {
        let target: Target = "h2c://a:5000".parse().unwrap();
        let mut request = Request::get("/x").header("host", "b").body(()).unwrap();
        let before = target.apply(&mut request, true).unwrap();
        assert_eq!(request.uri(), "http://b/x");
        assert!(!request.headers().contains_key("host"));
        before.restore(&mut request);
        assert_eq!(request.uri(), "/x");
        assert_eq!(request.headers()["host"], "b");
    }
}
