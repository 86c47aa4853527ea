//! Fields that say who the client was.

use std::net::{IpAddr, SocketAddr};

use axum_upstream::ReverseProxy;
use http::{HeaderValue, Response, uri::Scheme};

use super::{input, proxy, rules};

pub(crate) const PIECES: &[&str] = &[
    "t",
    "s",
    "6",
    "n",
    "m",
    "\n",
    "GET / HTTP/1.1\nhost: a\n",
    "GET / HTTP/1.1\nhost: a:1\n",
    "GET http://b/ HTTP/1.1\n",
    "GET / HTTP/1.0\n",
    "host: ",
    "a;for=6.6.6.6",
    "a\\",
    "[::1]",
    "x-forwarded-for: ",
    "X-Forwarded-For: ",
    "6.6.6.6",
    "x-forwarded-host: ",
    "x-forwarded-proto: ",
    "https",
    "x-forwarded-prefix: /x",
    "x_forwarded_for: ",
    "x-real-ip: 6.6.6.6",
    "forwarded: ",
    "for=6.6.6.6",
    ";host=a",
    "\"",
    ",",
    ", ",
    " ",
    "\u{e9}",
    "connection: x-forwarded-for\n",
];

/// A line of settings, then a request: the peer is trusted with `t`, over TLS with `s`, of IPv6 with `6`, mapped to it
/// with `m`, unknown with `n`. RFC 7239's field is always on.
pub fn forwarded(data: &[u8]) {
    let (settings, text) = input::split_settings(data);
    let Some(mut request) = input::request(text) else {
        return;
    };
    let has = |letter| settings.contains(&letter);
    let peer: Option<IpAddr> = match (has(b'n'), has(b'6'), has(b'm')) {
        (true, ..) => None,
        (_, true, _) => Some("2001:db8::1".parse().unwrap()),
        (_, _, true) => Some("::ffff:192.0.2.1".parse().unwrap()),
        _ => Some("192.0.2.1".parse().unwrap()),
    };
    if let Some(ip) = peer {
        request.extensions_mut().insert(SocketAddr::new(ip, 1));
    }
    if has(b's') {
        request.extensions_mut().insert(Scheme::HTTPS);
    }
    let trusted = has(b't') && peer.is_some();
    let (from, _) = request.clone().into_parts();
    let with = |proxy: ReverseProxy<_>| {
        let proxy = proxy.with_forwarded();
        match has(b't') {
            true => proxy
                .trusted_peers(["192.0.2.0/24", "2001:db8::/32"])
                .unwrap(),
            false => proxy,
        }
    };
    let Some(up) = proxy::exchange(with, request, Response::new(())).up else {
        return;
    };
    let (before, after) = (&from.headers, &up.headers);
    let said = |name| rules::lines(before, name);
    let sent = |name| rules::lines(after, name);
    let ip = peer.map(|ip| ip.to_canonical().to_string());

    let list = sent("x-forwarded-for");
    if let Some(ip) = &ip {
        assert_eq!(
            list.len(),
            1,
            "a reader that looks at one line sees another list"
        );
        let members: Vec<_> = list[0]
            .split(|byte| *byte == b',')
            .map(<[u8]>::trim_ascii)
            .collect();
        assert_eq!(members.last(), Some(&ip.as_bytes()));
        assert!(trusted || members.len() == 1, "a stranger is believed");
    } else {
        assert!(list.is_empty());
    }
    let scheme: &[u8] = if has(b's') { b"https" } else { b"http" };
    let protos = sent("x-forwarded-proto");
    if trusted && !said("x-forwarded-proto").is_empty() {
        assert_eq!(protos, said("x-forwarded-proto"));
    } else {
        assert_eq!(protos, [scheme]);
    }
    if !trusted {
        let ours = [
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
        ];
        for name in after
            .keys()
            .filter(|name| rules::is_forwarding(name.as_str()))
        {
            assert!(
                ours.contains(&name.as_str()),
                "a stranger's {name} has crossed"
            );
        }
        assert!(sent("x-forwarded-host").len() <= 1);
        let forwarded = sent("forwarded");
        assert_eq!(forwarded.len(), 1);
        let host = sent("x-forwarded-host").first().copied();
        is_our_element(forwarded[0], ip.as_deref(), host, scheme);
    }
}

/// RFC 7239 4: pairs of a token and a token or a quoted string, with `;` between them.
fn is_our_element(text: &[u8], ip: Option<&str>, host: Option<&[u8]>, scheme: &[u8]) {
    let mut pairs =
        pairs(text).unwrap_or_else(|| panic!("{:?} does not parse", HeaderValue::from_bytes(text)));
    let mut take = |name: &str| {
        let at = pairs.iter().position(|(other, _)| other == name)?;
        Some(pairs.remove(at).1)
    };
    let address = match ip {
        Some(ip) if ip.contains(':') => format!("[{ip}]"),
        Some(ip) => ip.to_owned(),
        None => "unknown".to_owned(),
    };
    assert_eq!(take("for").as_deref(), Some(address.as_bytes()));
    assert_eq!(take("proto").as_deref(), Some(scheme));
    if let Some(named) = take("host") {
        assert_eq!(Some(&named[..]), host);
    }
    assert!(pairs.is_empty(), "more pairs than are ours: {pairs:?}");
}

fn pairs(text: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let (name, value) = input::split_once(rest, b'=')?;
        let name = String::from_utf8(name.to_vec()).ok()?;
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let end = value
                    .iter()
                    .position(|byte| !token(*byte))
                    .unwrap_or(value.len());
                (value[..end].to_vec(), &value[end..])
            }
        };
        if !name.bytes().all(token) || name.is_empty() || value.is_empty() {
            return None;
        }
        found.push((name, value));
        match after {
            [] => return Some(found),
            [b';', more @ ..] => rest = more,
            _ => return None,
        }
    }
}

/// What stands before the closing quote, and what follows it.
fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut value = Vec::new();
    let mut bytes = text.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return Some((value, &text[at + 1..])),
            b'\\' => value.push(*bytes.next()?.1),
            byte => value.push(*byte),
        }
    }
    None
}
