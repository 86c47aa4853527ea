//! Paths: prefixes taken off and put on.

use axum_upstream::ReverseProxy;
use http::{Request, Response, Uri};

use super::{input::split_once, proxy};

pub(crate) const PIECES: &[&str] = &[
    "\n", "/", "//", "/api", "/api/", "/v1", "a", "..", "/..", "/../", ".", "%2e", "%2E", "%2f",
    "%5c", "\\", ";", ";x", "%3b", "%25", "?", "?a=b", "%", "%zz", "*", "%00",
];

/// Three lines: a prefix to take off, a prefix to put on, and a path with a query. Either prefix may be empty.
pub fn paths(data: &[u8]) {
    let Some((strip, rest)) = split_once(data, b'\n') else {
        return;
    };
    let Some((add, target)) = split_once(rest, b'\n') else {
        return;
    };
    let (Ok(strip), Ok(add), Ok(uri)) = (
        std::str::from_utf8(strip),
        std::str::from_utf8(add),
        Uri::try_from(target),
    ) else {
        return;
    };
    if uri.authority().is_some() || uri.path() == "*" {
        return;
    }
    let proxied = |proxy: ReverseProxy<_>| {
        let proxy = match strip {
            "" => Ok(proxy),
            prefix => proxy.strip_prefix(prefix),
        };
        match add {
            "" => proxy,
            prefix => proxy.and_then(|proxy| proxy.add_prefix(prefix)),
        }
    };
    // What is no prefix is refused, whatever the request.
    let endpoint =
        tower::util::BoxCloneSyncService::new(tower::service_fn(|_| async { unreachable!() }));
    if proxied(ReverseProxy::new(endpoint)).is_err() {
        return;
    }
    let mut request = Request::new(());
    *request.uri_mut() = uri.clone();
    request.headers_mut().insert("host", "a".parse().unwrap());
    let exchange = proxy::exchange(|proxy| proxied(proxy).unwrap(), request, Response::new(()));

    let path = uri.path();
    let base = add.trim_end_matches('/');
    let inner = inside(path, strip).unwrap_or(path);
    let Some(up) = exchange.up else {
        assert_eq!(exchange.down.status, 400);
        let rewritten = !strip.is_empty() || !add.is_empty();
        assert!(
            rewritten && inner.contains('.') | inner.contains("%2"),
            "{path} is refused"
        );
        return;
    };
    assert_eq!(up.uri.query(), uri.query());
    if strip.is_empty() && add.is_empty() {
        assert_eq!(up.uri.path(), path);
        return;
    }
    // Byte for byte what the client sent, with exactly one slash where it was joined.
    let slash = if inner.starts_with('/') { "" } else { "/" };
    assert_eq!(up.uri.path(), format!("{base}{slash}{inner}"));
    for reader in READERS {
        assert!(!climbs(inner, reader), "{inner} climbs out of {base:?}");
    }
}

/// What is left of a path inside of a prefix, which ends at a slash.
fn inside<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let prefix = prefix.trim_end_matches('/');
    let rest = path.strip_prefix(prefix)?;
    match rest {
        "" => Some("/"),
        rest => rest.starts_with('/').then_some(rest),
    }
}

/// Ways in which a server may read a path: which of its bytes are decoded, whether `\` is a slash, and whether what
/// follows a `;` is no part of a segment.
const READERS: [Reader; 4] = [
    Reader {
        decodes: false,
        backslash: false,
        parameters: false,
    },
    Reader {
        decodes: true,
        backslash: false,
        parameters: false,
    },
    Reader {
        decodes: true,
        backslash: true,
        parameters: false,
    },
    Reader {
        decodes: true,
        backslash: true,
        parameters: true,
    },
];

struct Reader {
    decodes: bool,
    backslash: bool,
    parameters: bool,
}

/// Whether this reader leaves the root at any point.
fn climbs(path: &str, reader: Reader) -> bool {
    let mut text = match reader.decodes {
        true => decoded(path),
        false => path.to_owned(),
    };
    if reader.backslash {
        text = text.replace('\\', "/");
    }
    let mut depth = 0;
    text.split('/').any(|segment| {
        let segment = match reader.parameters {
            true => segment.split(';').next().unwrap(),
            false => segment,
        };
        match segment {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        depth < 0
    })
}

/// Once, and only what is ASCII.
fn decoded(path: &str) -> String {
    let mut parts = path.split('%');
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let byte = part
            .get(..2)
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte {
            Some(byte) if byte.is_ascii() => {
                text.push(char::from(byte));
                text.push_str(&part[2..]);
            }
            _ => {
                text.push('%');
                text.push_str(part);
            }
        }
    }
    text
}
