//! The attributes of `Set-Cookie` that depend on where the client is: `Path`, `Domain` and `Secure` (RFC 6265 4.1.2).

use super::{ReverseMapping, origin::Origin};

impl ReverseMapping<'_> {
    /// Maps the attributes of a cookie. Returns `None` if all stay as they are; its name and value always do.
    ///
    /// - `Path` below the endpoint's base gets the client's prefix in its place.
    /// - `Domain` is removed if it is the endpoint's host, and not the client's as well. Without it the cookie is for
    ///   the host that the client has asked, and a browser refuses one for any other.
    /// - `Secure` is removed for a client of plain http, whose browser would not keep the cookie.
    ///
    /// `Secure` stays where a browser would refuse the cookie without it: with `SameSite=None`, with `Partitioned`, and
    /// with a name that begins with `__Secure-` or `__Http-`. A `__Host-` cookie stays as it is altogether, because it
    /// has to have `Path=/` as well. Such names are promises to the endpoint that reads the cookie, so they are no
    /// proxy's to change (RFC 6265bis 4.1.3).
    pub(super) fn cookie(&self, line: &str) -> Option<String> {
        let mut parts = line.split(';');
        let pair = parts.next()?;
        let (name, _) = pair.split_once('=')?;
        let has_prefix = |prefix: &str| {
            let start = name.trim().get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        if has_prefix("__Host-") {
            return None;
        }
        let is_plain = self.client_scheme == "http"
            && !has_prefix("__Secure-")
            && !has_prefix("__Http-")
            && !parts.clone().any(requires_secure);

        let (mut mapped, mut changed) = (pair.to_owned(), false);
        for part in parts {
            let (name, value) = attribute(part);
            let new = match () {
                () if name.eq_ignore_ascii_case("secure") => is_plain.then_some(None),
                () if name.eq_ignore_ascii_case("domain") => self.is_foreign(value).then_some(None),
                () if name.eq_ignore_ascii_case("path") => self.cookie_path(value).map(Some),
                () => None,
            };
            changed |= new.is_some();
            match new {
                None => mapped.extend([";", part]),
                Some(Some(path)) => mapped.extend(["; ", name, "=", &path]),
                Some(None) => {}
            }
        }
        changed.then_some(mapped)
    }

    /// Maps the path of a cookie. The client's prefix has no slash at its end: RFC 6265 5.1.4 has a cookie of `/api/`
    /// not sent to `/api`.
    fn cookie_path(&self, path: &str) -> Option<String> {
        // Anything else is no path, and the client takes the default in its place (RFC 6265 5.2.4).
        let mapped = path.starts_with('/').then(|| self.path(path)).flatten()?;
        Some(match mapped.strip_suffix('/') {
            Some(prefix) if prefix == self.prefix && !prefix.is_empty() => prefix.to_owned(),
            _ => mapped,
        })
    }

    /// Returns whether a domain is the endpoint's host, and means nothing to the client.
    fn is_foreign(&self, domain: &str) -> bool {
        // RFC 6265 5.2.3: a dot in front is ignored.
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let is = |host: &str| host.eq_ignore_ascii_case(domain);
        let client = self
            .client_host
            .and_then(|host| Origin::parse(host, "http"));
        let is_own = self.own.iter().flatten().any(|own| is(own.host));
        is_own && !client.is_some_and(|client| is(client.host))
    }
}

/// Returns whether an attribute is one that a browser accepts only together with `Secure`.
fn requires_secure(part: &str) -> bool {
    let (name, value) = attribute(part);
    name.eq_ignore_ascii_case("partitioned")
        || name.eq_ignore_ascii_case("samesite") && value.eq_ignore_ascii_case("none")
}

/// Returns the name and the value of an attribute; the value is empty if there is none.
fn attribute(part: &str) -> (&str, &str) {
    let (name, value) = part.split_once('=').unwrap_or((part, ""));
    (name.trim(), value.trim())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use crate::rewrite::reverse::{
        AskedFor,
        tests::{asked_for, mapped, mapped_to},
    };

    #[test]
    fn cookies_are_for_the_clients_host_and_path() {
        for (from, to) in [
            ("a=b; Path=/base/v1; HttpOnly", "a=b; Path=/api; HttpOnly"),
            ("a=b;path = /base/v1/ ;x", "a=b; path=/api;x"),
            ("a=b; Path=/base/v1/x/", "a=b; Path=/api/x/"),
            ("a=b; Path=/", "a=b; Path=/"),
            ("a=b; Path=/other", "a=b; Path=/other"),
            ("a=b; Path=", "a=b; Path="),
            ("a=b; Domain=10.0.0.1; Secure", "a=b; Secure"),
            ("a=b; DOMAIN=.10.0.0.1", "a=b"),
            ("a=b; Domain=0.0.1", "a=b; Domain=0.0.1"),
            ("a=b; Domain=example.com", "a=b; Domain=example.com"),
            ("a=/base/v1; Max-Age=1", "a=/base/v1; Max-Age=1"),
            ("a; Path=/base/v1", "a; Path=/base/v1"),
            ("__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"),
            (
                "__Secure-a=b; Path=/base/v1; Secure",
                "__Secure-a=b; Path=/api; Secure",
            ),
        ] {
            assert_eq!(mapped("set-cookie", from), to);
        }
        // A cookie for all paths of the endpoint is for all below the prefix.
        let to = |asked_for: &AskedFor| mapped_to(asked_for, None, "set-cookie", "a=b; Path=/");
        assert_eq!(to(&asked_for("http://a")), "a=b; Path=/api");
        let mut asked_for = asked_for("http://a");
        asked_for.prefix = None;
        assert_eq!(to(&asked_for), "a=b; Path=/");
    }

    #[test]
    fn secure_goes_for_a_client_without_tls() {
        let mut asked_for = asked_for("https://a");
        asked_for.scheme = Some(HeaderValue::from_static("http"));
        for (from, to) in [
            ("a=b; Secure; HttpOnly", "a=b; HttpOnly"),
            ("a=b; secure;SameSite=Lax", "a=b;SameSite=Lax"),
            ("a=b; Secure; SameSite=None", "a=b; Secure; SameSite=None"),
            ("a=b; Secure; Partitioned", "a=b; Secure; Partitioned"),
            ("__secure-a=b; Secure", "__secure-a=b; Secure"),
            (
                "__Http-a=b; Secure; HttpOnly",
                "__Http-a=b; Secure; HttpOnly",
            ),
            ("__Host-a=b; Secure; Path=/", "__Host-a=b; Secure; Path=/"),
        ] {
            assert_eq!(mapped_to(&asked_for, None, "set-cookie", from), to);
        }
        for (scheme, to) in [("ws", "a=b"), ("wss", "a=b; Secure"), ("?", "a=b; Secure")] {
            asked_for.scheme = Some(HeaderValue::from_static(scheme));
            let mapped = mapped_to(&asked_for, None, "set-cookie", "a=b; Secure");
            assert_eq!(mapped, to, "{scheme}");
        }
        // The domain that both have is the client's.
        asked_for.host = Some(HeaderValue::from_static("A:8080"));
        let both = "a=b; Domain=a";
        assert_eq!(mapped_to(&asked_for, None, "set-cookie", both), both);
    }
}
