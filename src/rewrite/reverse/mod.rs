//! Reverse mapping: what an endpoint says of its own address in a response, put into the client's terms.
//!
//! The way up changes what a request asks for: the endpoint sees another host, scheme and path than the client. An
//! application that does not know of the proxy derives redirects and the paths of cookies from what it sees, and a
//! client cannot follow those redirects, nor does it send those cookies back.
//! [`ReverseMapping`] is the inverse of that change, for the fields that hold URLs or parts of them:
//!
//! | field | what is mapped | file |
//! |---|---|---|
//! | `Location`, `Content-Location` | the URL | `reference.rs` |
//! | `Refresh` | the URL after the time | `embedded.rs` |
//! | `Link` | each target in angle brackets | `embedded.rs` |
//! | `Set-Cookie` | `Path`, `Domain`, `Secure` | `cookie.rs` |
//!
//! nginx has this as `proxy_redirect`, `proxy_cookie_path`, `proxy_cookie_domain` and `proxy_cookie_flags`, Apache as
//! `ProxyPassReverse`, `ProxyPassReverseCookiePath` and `ProxyPassReverseCookieDomain`. Unlike theirs, the mapping
//! follows from how this request was changed, for the endpoint that has answered it, so there is nothing to configure.
//!
//! What does not name the endpoint, or is malformed, stays byte for byte. Bodies are not looked at.

mod cookie;
mod embedded;
mod origin;
mod reference;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, header};

use self::origin::Origin;
use super::{
    forwarded::{X_FORWARDED_HOST, X_FORWARDED_PREFIX, X_FORWARDED_PROTO},
    host::is_lent,
};

/// What one request was changed to, for the mapping of its response.
#[derive(Clone, Debug, Default)]
pub(crate) struct AskedFor {
    /// The client's scheme, host and prefix, as the endpoint is told them by `X-Forwarded-*`: behind a trusted proxy,
    /// those of its client.
    scheme: Option<HeaderValue>,
    host: Option<HeaderValue>,
    prefix: Option<HeaderValue>,
    /// The `Host` that the endpoint is sent, or the one that is lent to it.
    sent: Option<HeaderValue>,
    /// The URL of the endpoint that has answered. `None` for a service in this process.
    url: Option<Arc<str>>,
}

impl AskedFor {
    /// Reads the forwarding fields of a request whose head has been rewritten. Hooks have yet to run, which may remove
    /// them.
    pub(super) fn in_head(headers: &HeaderMap) -> Self {
        let field = |name| headers.get(name).cloned();
        Self {
            scheme: field(X_FORWARDED_PROTO),
            host: field(X_FORWARDED_HOST),
            prefix: field(X_FORWARDED_PREFIX),
            sent: None,
            url: None,
        }
    }

    /// Reads the `Host` that is sent. Hooks have run, which may set it.
    pub(crate) fn sent_as(&mut self, headers: &HeaderMap) {
        self.sent = headers.get(header::HOST).cloned();
    }

    /// Sets which endpoint has answered, by its URL.
    pub(crate) fn answered_by(&mut self, url: Option<Arc<str>>) {
        self.url = url;
    }
}

/// The inverse of what was done to one request, for its response.
#[derive(Debug)]
pub(super) struct ReverseMapping<'a> {
    /// What the endpoint takes for its own scheme and host: those of its URL, and those of the request.
    scheme: &'static str,
    own: [Option<Origin<'a>>; 2],
    /// What was put in front of the path: the base path of the endpoint's URL, and `add_prefix`. Empty, or begins with
    /// `/` and does not end with one.
    base: String,
    /// What takes their place.
    client_scheme: &'static str,
    client_host: Option<&'a str>,
    /// What was removed from the front of the path. Empty, or begins with `/` and does not end with one.
    prefix: &'a str,
}

impl<'a> ReverseMapping<'a> {
    /// Returns the mapping for the response to a request in front of whose path `added` was put.
    ///
    /// Returns `None` if the prefix could be more than a part of a path where it is put: a router takes it from the
    /// request, so a client chooses what matches a parameter, and a trusted proxy may pass on what a client says.
    pub(super) fn new(asked_for: &'a AskedFor, added: Option<&str>) -> Option<Self> {
        let url = asked_for.url.as_deref();
        let (scheme, authority, base) = url.map_or(("http", "", ""), origin::of_endpoint);
        // What is lent stays only where there is nothing to replace it by.
        let sent = asked_for.sent.as_ref();
        let sent = first(sent.filter(|host| url.is_none() || !is_lent(host)));
        // Only what is plain for certain: a proxy in front may say `wss`, and a cookie must not lose `Secure` for that.
        let is_plain = first(asked_for.scheme.as_ref()).is_some_and(|scheme| {
            scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("ws")
        });
        let prefix = match &asked_for.prefix {
            Some(prefix) => prefix.to_str().ok().filter(|prefix| is_path(prefix))?,
            None => "",
        };
        let client_host = first(asked_for.host.as_ref());
        Some(Self {
            scheme,
            own: [
                Origin::parse(authority, scheme),
                sent.and_then(|host| Origin::parse(host, scheme)),
            ],
            base: [base, added.unwrap_or("")].concat(),
            client_scheme: if is_plain { "http" } else { "https" },
            client_host: client_host.filter(|host| Origin::parse(host, "http").is_some()),
            prefix: prefix.trim_end_matches('/'),
        })
    }

    /// Maps all fields of a response head that hold a URL or a part of one.
    pub(super) fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            let map = match name.as_str() {
                "location" | "content-location" => Self::reference,
                "refresh" => Self::refresh,
                "link" => Self::links,
                "set-cookie" => Self::cookie,
                _ => continue,
            };
            let text = std::str::from_utf8(value.as_bytes()).ok();
            let mapped = text.and_then(|text| map(self, text));
            // Made of parts of two valid values, so it is one.
            if let Some(Ok(mut mapped)) = mapped.map(HeaderValue::try_from) {
                mapped.set_sensitive(value.is_sensitive());
                *value = mapped;
            }
        }
    }
}

/// Returns whether a prefix is a path and nothing else: no host, which two slashes or a backslash would make of it; no
/// attribute of a cookie, which follows a `;`; no end of a quoted or bracketed URL.
fn is_path(prefix: &str) -> bool {
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&()*+=:@".contains(&byte);
    prefix.starts_with('/') && !prefix.starts_with("//") && prefix.bytes().all(in_path)
}

/// Returns the first member of a forwarding field, which is what the outermost proxy saw.
fn first(value: Option<&HeaderValue>) -> Option<&str> {
    let first = value?.to_str().ok()?.split(',').next()?.trim();
    Some(first).filter(|first| !first.is_empty())
}

#[cfg(test)]
mod tests;
