//! The part of Structured Fields (RFC 9651) that fields of caches need: dictionaries of bare items, lists of strings.
//!
//! RFC 9651 4.2: "If parsing fails, either the entire field value MUST be ignored (i.e., treated as if the field were
//! not present in the section), or alternatively the complete HTTP message MUST be treated as malformed." So every
//! function returns `None` for a field that is not well-formed anywhere, also in members that no rule needs.

use http::{HeaderMap, HeaderName};

/// The value of a member, as far as a cache reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StructuredItem {
    Integer(i64),
    Text(String),
    Boolean(bool),
    /// A token, a decimal, a byte sequence, a date, a display string or an inner list: well-formed, and of no meaning
    /// to any directive.
    Unused,
}

/// Returns the members of a dictionary over all its lines, in order. Of a key that is repeated, the last value counts.
pub(super) fn dictionary(
    headers: &HeaderMap,
    name: &HeaderName,
) -> Option<Vec<(String, StructuredItem)>> {
    let text = joined(headers, name)?;
    let mut parser = Parser(text.as_bytes());
    let mut members: Vec<(String, StructuredItem)> = Vec::new();
    parser.members(|parser| {
        let key = parser.key()?;
        let value = match parser.eat(b'=') {
            true => parser.member()?,
            false => {
                parser.parameters()?;
                StructuredItem::Boolean(true)
            }
        };
        members.retain(|(known, _)| *known != key);
        members.push((key, value));
        Some(())
    })?;
    Some(members)
}

/// Returns the members of a list of strings over all its lines. Members of other types make it `None`.
pub(super) fn strings(headers: &HeaderMap, name: &HeaderName) -> Option<Vec<String>> {
    let text = joined(headers, name)?;
    let mut parser = Parser(text.as_bytes());
    let mut all = Vec::new();
    parser.members(|parser| match parser.member()? {
        StructuredItem::Text(text) => {
            all.push(text);
            Some(())
        }
        _ => None,
    })?;
    Some(all)
}

/// Joins all lines. `None` if one of them is not ASCII.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut all = String::new();
    for line in headers.get_all(name) {
        if !all.is_empty() {
            all.push(',');
        }
        all.push_str(line.to_str().ok()?);
    }
    Some(all)
}

/// What is left to parse.
struct Parser<'a>(&'a [u8]);

impl<'a> Parser<'a> {
    /// Parses members with commas between them, to the end.
    fn members(&mut self, mut member: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.skip(b" ");
        if self.0.is_empty() {
            return Some(());
        }
        loop {
            member(self)?;
            self.skip(b" \t");
            if self.0.is_empty() {
                return Some(());
            }
            self.eat(b',').then_some(())?;
            self.skip(b" \t");
            // A comma at the end is an error.
            self.peek()?;
        }
    }

    /// Parses an item or an inner list, with its parameters.
    fn member(&mut self) -> Option<StructuredItem> {
        let item = match self.eat(b'(') {
            true => self.inner_list()?,
            false => self.bare_item()?,
        };
        self.parameters()?;
        Some(item)
    }

    fn inner_list(&mut self) -> Option<StructuredItem> {
        loop {
            self.skip(b" ");
            if self.eat(b')') {
                return Some(StructuredItem::Unused);
            }
            self.bare_item()?;
            self.parameters()?;
            matches!(self.peek()?, b' ' | b')').then_some(())?;
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip(b" ");
            self.key()?;
            if self.eat(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn key(&mut self) -> Option<String> {
        matches!(self.peek()?, b'a'..=b'z' | b'*').then_some(())?;
        let key = self.take_while(
            |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'*'),
        );
        String::from_utf8(key.to_vec()).ok()
    }

    fn bare_item(&mut self) -> Option<StructuredItem> {
        match self.peek()? {
            b'0'..=b'9' | b'-' => self.number(),
            b'"' => self.text(),
            b'?' => self.boolean(),
            b':' => self.delimited(b':'),
            b'@' => {
                self.eat(b'@');
                match self.number()? {
                    StructuredItem::Integer(_) => Some(StructuredItem::Unused),
                    _ => None,
                }
            }
            b'%' => {
                self.eat(b'%');
                self.delimited(b'"')
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'*' => {
                self.take_while(|byte| {
                    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
                });
                Some(StructuredItem::Unused)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<StructuredItem> {
        let negative = self.eat(b'-');
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        let whole: i64 = match digits.len() {
            1..=15 => std::str::from_utf8(digits).ok()?.parse().ok()?,
            _ => return None,
        };
        if self.eat(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit());
            let is_valid = (1..=3).contains(&fraction.len()) && digits.len() <= 12;
            return is_valid.then_some(StructuredItem::Unused);
        }
        Some(StructuredItem::Integer(if negative {
            -whole
        } else {
            whole
        }))
    }

    fn text(&mut self) -> Option<StructuredItem> {
        self.eat(b'"');
        let mut text = String::new();
        loop {
            match self.next()? {
                b'"' => return Some(StructuredItem::Text(text)),
                b'\\' => match self.next()? {
                    escaped @ (b'"' | b'\\') => text.push(char::from(escaped)),
                    _ => return None,
                },
                byte @ b' '..=b'~' => text.push(char::from(byte)),
                _ => return None,
            }
        }
    }

    fn boolean(&mut self) -> Option<StructuredItem> {
        self.eat(b'?');
        match self.next()? {
            b'0' => Some(StructuredItem::Boolean(false)),
            b'1' => Some(StructuredItem::Boolean(true)),
            _ => None,
        }
    }

    /// Skips what lies between two delimiters, without looking at it.
    fn delimited(&mut self, delimiter: u8) -> Option<StructuredItem> {
        self.eat(delimiter).then_some(())?;
        self.take_while(|byte| byte != delimiter);
        self.eat(delimiter).then_some(StructuredItem::Unused)
    }

    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.next();
        }
        is_next
    }

    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take_while(&mut self, matches: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.0.iter().position(|byte| !matches(*byte));
        let (taken, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
        self.0 = rest;
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[&str]) -> HeaderMap {
        lines.iter().fold(HeaderMap::new(), |mut map, line| {
            map.append("x", line.parse().unwrap());
            map
        })
    }

    fn parse(lines: &[&str]) -> Option<Vec<(String, StructuredItem)>> {
        dictionary(&map(lines), &HeaderName::from_static("x"))
    }

    /// RFC 9651 3.2 and 4.2.2.
    #[test]
    fn dictionaries() {
        use StructuredItem::{Boolean, Integer, Text, Unused};
        let member = |key: &str, value| (key.to_owned(), value);
        assert_eq!(
            parse(&["max-age=10;a=\"b\", no-store", "b=?0 ,\tc=\"x\\\"y\""]),
            Some(vec![
                member("max-age", Integer(10)),
                member("no-store", Boolean(true)),
                member("b", Boolean(false)),
                member("c", Text("x\"y".into())),
            ])
        );
        let unused = "a=token/x, b=1.5, c=:YQ==:, d=(1 \"b\");q=1, e=@1659578233, f=%\"x\"";
        let unused = parse(&[unused]).unwrap();
        assert!(unused.iter().all(|(_, item)| *item == Unused), "{unused:?}");
        assert_eq!(unused.len(), 6);
        assert_eq!(
            parse(&["a=1, b, a=-2"]).unwrap(),
            [member("b", Boolean(true)), member("a", Integer(-2))]
        );
        assert_eq!(parse(&[""]), Some(vec![]));
    }

    /// RFC 9651 4.2: one error anywhere, and the whole field is ignored.
    #[test]
    fn what_is_not_well_formed_is_nothing() {
        for wrong in [
            "max-age=10, &&&&&",
            "Max-Age=10",
            "max-age =10",
            "max-age= 10",
            "max-age=10,",
            "a=\"b",
            "a=1.",
            "a=1234567890123456",
            "a=1 b=2",
            "a=(1",
            "a=?2",
            "a=:x",
            "a=\"\u{e4}\"",
        ] {
            assert_eq!(parse(&[wrong]), None, "{wrong}");
        }
    }

    #[test]
    fn lists_of_strings() {
        let parse = |lines: &[&str]| strings(&map(lines), &HeaderName::from_static("x"));
        assert_eq!(
            parse(&["\"a\";revalidate, \"b c\"", "\"d\""]),
            Some(vec!["a".into(), "b c".into(), "d".into()])
        );
        assert_eq!(parse(&["\"a\", b"]), None);
        assert_eq!(parse(&["\"a\", 1"]), None);
    }
}
