//! Escapes what clients and users have chosen, so that it can neither end a line or a value nor control a terminal.

use std::{
    io::{self, Write},
    ops::RangeInclusive,
};

/// Writes a text as a JSON string, with its quotes.
///
/// RFC 8259 7 has quotation marks, backslashes and control characters escaped. Those above U+007F that control a
/// terminal or end a line somewhere are, too.
pub(super) fn json(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(br#"\""#),
            '\\' => out.extend_from_slice(br"\\"),
            c if is_harmless(c) => push(out, c),
            c => write!(out, "\\u{:04x}", u32::from(c))?,
        }
    }
    out.push(b'"');
    Ok(())
}

/// Writes a text as a part of a quoted field of the Common Log Format, in the way of Apache: what is not printable in
/// ASCII is written byte by byte as `\xhh`.
pub(super) fn common(out: &mut Vec<u8>, text: &str) -> io::Result<()> {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(br#"\""#),
            b'\\' => out.extend_from_slice(br"\\"),
            b' '..=b'~' => out.push(byte),
            byte => write!(out, "\\x{byte:02x}")?,
        }
    }
    Ok(())
}

/// Characters that end a line for some readers, or change the direction of what is shown.
const MISLEADING: [RangeInclusive<char>; 4] = [
    '\u{200e}'..='\u{200f}',
    '\u{2028}'..='\u{2029}',
    '\u{202a}'..='\u{202e}',
    '\u{2066}'..='\u{2069}',
];

/// Returns whether a character can be written as it is. All that are not are below U+10000.
fn is_harmless(c: char) -> bool {
    !c.is_control() && !MISLEADING.iter().any(|range| range.contains(&c))
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(escape: fn(&mut Vec<u8>, &str) -> io::Result<()>, text: &str) -> String {
        let mut out = Vec::new();
        escape(&mut out, text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn json_is_read_back_as_it_was() {
        for text in [
            "",
            "/a b",
            "\"\\/",
            "\r\n\t\0\u{1b}[31m",
            "ä€😀",
            "\u{85}\u{2028}\u{202e}",
        ] {
            let json = written(json, text);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
            assert!(json.chars().all(is_harmless), "{json}");
        }
    }

    #[test]
    fn a_common_field_is_printable_ascii() {
        let escaped = written(common, "a\" \\ \r\n\u{1b}é");
        assert_eq!(escaped, r#"a\" \\ \x0d\x0a\x1b\xc3\xa9"#);
    }
}
