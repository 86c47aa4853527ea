//! URLs inside of a field value: `Refresh` and `Link`.

use super::ReverseMapping;

impl ReverseMapping<'_> {
    /// Maps the URL of a `Refresh`. Returns `None` if it stays as it is.
    ///
    /// No RFC has this field. The grammar is that of browsers (WHATWG HTML, "shared declarative refresh steps"): a
    /// time, `;` or `,`, and a URL, which may have `url=` in front and quotes around it.
    ///
    /// ```text
    /// 5; url=/users
    ///        ^^^^^^ mapped
    /// ```
    pub(super) fn refresh(&self, value: &str) -> Option<String> {
        let rest = value[value.find([';', ','])? + 1..].trim_start();
        let rest = after_url_sign(rest).unwrap_or(rest);
        let (rest, url) = match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => (&rest[1..], rest[1..].split(quote).next()?),
            _ => (rest, rest.trim_end()),
        };
        let (before, after) = (&value[..value.len() - rest.len()], &rest[url.len()..]);
        Some([before, &self.reference(url)?, after].concat())
    }

    /// Maps the targets of a `Link` (RFC 8288 3). Returns `None` if all stay as they are.
    ///
    /// ```text
    /// </style.css>; rel=preload, <http://10.0.0.1:5000/?page=2>; rel="next"
    ///  ^^^^^^^^^^                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ mapped
    /// ```
    ///
    /// Parameters stay, `anchor` included: it is a URL for programs that compare it with one they know.
    pub(super) fn links(&self, value: &str) -> Option<String> {
        let (mut mapped, mut copied) = (String::new(), 0);
        let (mut quoted, mut escaped) = (false, false);
        let mut target = None;
        for (at, byte) in value.bytes().enumerate() {
            match (byte, target) {
                (b'>', Some(start)) => {
                    target = None;
                    if let Some(url) = self.reference(&value[start..at]) {
                        mapped.push_str(&value[copied..start]);
                        mapped.push_str(&url);
                        copied = at;
                    }
                }
                (_, Some(_)) => {}
                _ if escaped => escaped = false,
                (b'\\', None) => escaped = quoted,
                (b'"', None) => quoted = !quoted,
                (b'<', None) if !quoted => target = Some(at + 1),
                _ => {}
            }
        }
        (copied > 0).then(|| mapped + &value[copied..])
    }
}

/// Returns what follows `url=`, white space around the sign aside. `None` if the text does not begin with that.
fn after_url_sign(text: &str) -> Option<&str> {
    let (sign, rest) = text.split_at_checked(3)?;
    let rest = rest.trim_start().strip_prefix('=')?;
    sign.eq_ignore_ascii_case("url").then(|| rest.trim_start())
}

#[cfg(test)]
mod tests {
    use crate::rewrite::reverse::tests::mapped;

    #[test]
    fn refresh_has_a_url_behind_the_time() {
        for (from, to) in [
            ("5; url=/base/v1/x", "5; url=/api/x"),
            ("5;URL = '/base/v1/x' y", "5;URL = '/api/x' y"),
            (
                "0, url=\"http://10.0.0.1:5000/base/v1/x",
                "0, url=\"https://example.com/api/x",
            ),
            ("5; /base/v1/x ", "5; /api/x"),
            ("5", "5"),
            ("5; url=", "5; url="),
            ("5; url=\"", "5; url=\""),
            ("5; url=http://other/", "5; url=http://other/"),
        ] {
            assert_eq!(mapped("refresh", from.trim_end()), to);
        }
    }

    #[test]
    fn links_are_in_angle_brackets() {
        for (from, to) in [
            (
                "</base/v1/a>; rel=\"x, </base/v1/no>\", <http://other/>, </base/v1/b>;rel=y",
                "</api/a>; rel=\"x, </base/v1/no>\", <http://other/>, </api/b>;rel=y",
            ),
            (
                "<http://10.0.0.1:5000/base/v1/,;>; title=\"\\\"<\"; anchor=\"/base/v1\"",
                "<https://example.com/api/,;>; title=\"\\\"<\"; anchor=\"/base/v1\"",
            ),
            ("</base/v1/a", "</base/v1/a"),
            ("/base/v1/a>", "/base/v1/a>"),
            ("<", "<"),
        ] {
            assert_eq!(mapped("link", from), to);
        }
    }
}
