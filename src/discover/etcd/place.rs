//! The URL of a prefix: that of a member, and a path that keys begin with.

use http::Uri;

use crate::{
    error::Error,
    upstream::{Client, ClientBuilder, redacted},
};

/// Returns the prefix that the path of a URL stands for.
///
/// # Errors
///
/// A config error if there is none.
pub(super) fn prefix_of(url: &str) -> Result<Vec<u8>, Error> {
    let uri = parse(url)?;
    let fail = |why: &str| Error::config("URL of etcd", format!("{:?} {why}", redacted(url)));
    if uri.query().is_some() {
        return Err(fail("must have no query"));
    }
    if uri.path() == "/" {
        return Err(fail("has no path, which the keys begin with"));
    }
    let mut bytes = uri.path().bytes();
    let mut prefix = Vec::new();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                let value = digit().zip(digit());
                let value = value.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
                value.ok_or_else(|| fail("has a % that is not followed by two digits"))?
            }
            byte => byte,
        };
        prefix.push(byte);
    }
    Ok(prefix)
}

/// Returns the URL of a member, without a path.
///
/// # Errors
///
/// A config error if it is none.
pub(super) fn member_url(url: &str) -> Result<String, Error> {
    let uri = parse(url)?;
    let fail = |why: &str| Error::config("URL of etcd", format!("{:?} {why}", redacted(url)));
    let authority = uri.authority().ok_or_else(|| fail("has no host"))?;
    let member = match uri.scheme_str() {
        Some(scheme @ ("http" | "https")) => format!("{scheme}://{authority}"),
        _ => return Err(fail("is neither http nor https")),
    };
    member_client(&ClientBuilder::default(), &member)?;
    Ok(member)
}

/// Builds a client of a member. gRPC without TLS is HTTP/2 by prior knowledge.
///
/// # Errors
///
/// That of [`ClientBuilder::build`].
pub(super) fn member_client(settings: &ClientBuilder, member: &str) -> Result<Client, Error> {
    let url = match member.strip_prefix("http://") {
        Some(authority) => &format!("h2c://{authority}"),
        None => member,
    };
    settings.clone().name(member).build(url)
}

/// Parses a URL.
fn parse(url: &str) -> Result<Uri, Error> {
    let fail = |why: &str| Error::config("URL of etcd", format!("{:?} {why}", redacted(url)));
    let uri: Uri = url.parse().map_err(|_| fail("is not a URL"))?;
    let authority = uri.authority();
    if authority.is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(fail("must hold no user or password: `user` has them"));
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_a_member_and_a_prefix() {
        for (url, member, prefix) in [
            (
                "http://a:2379/services/api/",
                "http://a:2379",
                &b"/services/api/"[..],
            ),
            ("http://[::1]:2379/api", "http://[::1]:2379", b"/api"),
            ("https://a/b%2fc%ff", "https://a", b"/b/c\xff"),
        ] {
            assert_eq!(member_url(url).unwrap(), member);
            assert_eq!(prefix_of(url).unwrap(), prefix);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (url, why) in [
            ("http://a:2379", "has no path"),
            ("http://a:2379/", "has no path"),
            ("http://a:2379/b?c", "query"),
            ("http://a:2379/b%2", "two digits"),
            ("http://a:2379/b%g0", "two digits"),
            ("not a url", "is not a URL"),
        ] {
            assert!(
                prefix_of(url).unwrap_err().to_string().contains(why),
                "{url}"
            );
        }
        for url in ["a:2379", "etcd://a:2379/b", "/b"] {
            assert!(member_url(url).is_err(), "{url}");
        }
    }

    #[test]
    fn passwords_are_in_no_error() {
        for url in [
            "http://user:secret@a:2379/b",
            "http://user:secret@a/b?c",
            "http://user:secret@a",
            "http://user:secret@a/%",
            "etcd://user:secret@a/b",
            "user:secret@a/b",
            "http://user:secret @a/b",
        ] {
            let results = [prefix_of(url).err(), member_url(url).err()];
            for error in results.into_iter().flatten() {
                let error = format!("{error} {error:?}");
                assert!(!error.contains("secret"), "{error}");
            }
            assert!(member_url(url).is_err(), "{url}");
        }
    }
}
