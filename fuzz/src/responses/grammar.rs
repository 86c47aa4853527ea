//! Responses that are right but for a mutation or two: they get deeper than pieces in any order.

use std::io::Write;

use fastrand::Rng;

const STATUS_LINES: &[&str] = &[
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 OK",
    "HTTP/1.1 200 Fine",
    "HTTP/1.1 404",
    "HTTP/1.1 500 ",
    "HTTP/1.1 204 No Content",
    "HTTP/1.1 304 Not Modified",
    "HTTP/1.1 205 Reset Content",
    "HTTP/1.0 200 OK",
    "HTTP/1.1 101 Switching Protocols",
    "HTTP/1.1 999 \u{e9}",
    "HTTP/1.1 099 No",
    "HTTP/1.2 200 OK",
    "HTTP/1.1  200  OK",
];

const FIELDS: &[&str] = &[
    "x: y",
    "X: z",
    "set-cookie: a=b",
    "empty:",
    "spaces:  a b \t",
    "connection: close",
    "connection: keep-alive, x",
    "x: \u{e9}",
    "trailer: t",
    "keep-alive: timeout=5",
    "x: \0\x01a",
];

/// What is no field, or none that all take for one.
const ODD_FIELDS: &[&str] = &[
    "\u{e9}: x",
    "spaces  : a",
    " folded",
    ": x",
    "x",
    "x: \x01",
    "\0\x03a: b",
];

const FRAMINGS: &[&str] = &[
    "content-length: 5, 5",
    "content-length: 5\r\ncontent-length: 5",
    "content-length: 5\r\ncontent-length: 6",
    "content-length: 5,",
    "content-length:",
    "content-length: +5",
    "content-length: 05",
    "content-length: 18446744073709551615",
    "content-length: 18446744073709551616",
    "transfer-encoding: gzip, chunked",
    "transfer-encoding: chunked, gzip",
    "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
    "transfer-encoding: Chunked",
    "transfer-encoding: chunked,",
    "transfer-encoding: chunked;q=1",
    "transfer-encoding: \u{e9}, chunked",
    "transfer-encoding:",
    "transfer-encoding: identity",
    "transfer-encoding: chunked\r\ncontent-length: 5",
    "content-length: 5\r\ntransfer-encoding: \tchunked ",
];

/// What bytes are replaced by, and what is put between them.
const MUTATIONS: &[&str] = &[
    "\r", "\n", "\r\n", "\r\n\r\n", " ", "\t", ":", ";", ",", "0", "1", "5", "a", "F", "g", "=",
    "\"", "\u{e9}", "\x7f", "\x0b", "0\r\n", "\0\x01 ", "\0\x41;", "-", "+", "0x",
];

/// Makes up an input of the target `responses`.
#[must_use]
pub fn message(random: &mut Rng) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    settings(random, &mut out);
    let text = out.len();
    if random.u8(..32) == 0 {
        let blank = ["\n", "\r\n", "\r"];
        (0..random.usize(..12)).for_each(|_| out.extend_from_slice(any(random, &blank).as_bytes()));
    }
    let most = [0, 0, 0, 2, 12][random.usize(..5)];
    for _ in 0..random.usize(..=most) {
        interim(random, &mut out);
    }
    response(random, &mut out);
    if random.u8(..16) == 0 {
        response(random, &mut out);
    }
    while random.bool() {
        mutate(random, text, &mut out);
    }
    out
}

fn settings(random: &mut Rng, out: &mut Vec<u8>) {
    for (letter, one_in) in [(b'h', 16), (b's', 4), (b'o', 4), (b'x', 16)] {
        if random.u8(..one_in) == 0 {
            out.push(letter);
        }
    }
    if random.u8(..5) != 0 {
        let _ = write!(out, "{}", random.u32(..));
    }
    out.push(b'\n');
}

fn line(line: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(line.as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn any<'a>(random: &mut Rng, among: &[&'a str]) -> &'a str {
    among[random.usize(..among.len())]
}

fn fields(random: &mut Rng, most: usize, out: &mut Vec<u8>) {
    for _ in 0..random.usize(..=most) {
        let field = match random.u8(..32) {
            0 => any(random, ODD_FIELDS),
            _ => any(random, FIELDS),
        };
        line(field, out);
    }
}

fn interim(random: &mut Rng, out: &mut Vec<u8>) {
    line(
        any(
            random,
            &[
                "HTTP/1.1 103 Early Hints",
                "HTTP/1.1 100 Continue",
                "HTTP/1.0 199",
            ],
        ),
        out,
    );
    fields(random, 3, out);
    line("", out);
}

fn response(random: &mut Rng, out: &mut Vec<u8>) {
    let likely = random.u8(..4) != 0;
    line(
        if likely {
            STATUS_LINES[0]
        } else {
            any(random, STATUS_LINES)
        },
        out,
    );
    if random.bool() {
        fields(random, 4, out);
    }
    match random.u8(..16) {
        0..4 => {
            let len = random.usize(..40);
            let is_off = random.u8(..8) == 0;
            let _ = write!(out, "content-length: {}\r\n\r\n", len + usize::from(is_off));
            data(random, len, out);
        }
        4..12 => {
            line("transfer-encoding: chunked", out);
            line("", out);
            chunks(random, out);
        }
        12..15 => {
            line(any(random, FRAMINGS), out);
            line("", out);
            match random.bool() {
                true => chunks(random, out),
                false => data(random, 5, out),
            }
        }
        _ => {
            line("", out);
            let len = random.usize(..40);
            data(random, len, out);
        }
    }
}

/// Data which differ from place to place, so that a byte that is lost or out of its place shows.
fn data(random: &mut Rng, len: usize, out: &mut Vec<u8>) {
    for _ in 0..len {
        out.push(match random.u8(..32) {
            0 => b'\r',
            1 => b'\n',
            2 => b'0',
            _ => random.u8(b'a'..=b'z'),
        });
    }
}

fn chunks(random: &mut Rng, out: &mut Vec<u8>) {
    if random.u8(..32) == 0 {
        // As much of extensions as is allowed, or a bit more.
        for _ in 0..random.usize(3..6) {
            let times = random.u8(60..=64);
            out.extend_from_slice(&[b'1', b';', 0, times, b'e']);
            line("", out);
            line("a", out);
        }
    }
    for _ in 0..random.usize(..4) {
        let len = match random.u8(..16) {
            0 => random.usize(1..3000),
            _ => random.usize(1..20),
        };
        size(random, len, out);
        data(random, len, out);
        line("", out);
    }
    size(random, 0, out);
    if random.u8(..4) == 0 {
        fields(random, 4, out);
    }
    line("", out);
}

fn size(random: &mut Rng, size: usize, out: &mut Vec<u8>) {
    if random.u8(..64) == 0 {
        let large = ["fffffffffffffff", "ffffffffffffffff", "10000000000000000"];
        return line(any(random, &large), out);
    }
    let zeros = match random.u8(..8) {
        0 => random.usize(..20),
        _ => 0,
    };
    let _ = match random.bool() {
        true => write!(out, "{:0>zeros$}{size:x}", ""),
        false => write!(out, "{:0>zeros$}{size:X}", ""),
    };
    if random.u8(..8) == 0 {
        let extension = [
            " ",
            "\t ",
            ";a",
            ";a=b ; c",
            ";\0\x10e",
            ";\0\x42e",
            " ;",
            "; a=\"\u{e9}\"",
        ];
        out.extend_from_slice(any(random, &extension).as_bytes());
    }
    line("", out);
}

fn mutate(random: &mut Rng, from: usize, out: &mut Vec<u8>) {
    let at = random.usize(from..=out.len());
    let end = (at + random.usize(..4)).min(out.len());
    match random.u8(..8) {
        0 => drop(out.drain(at..end)),
        1 => out.truncate(at),
        2 => {
            let again = out[at..(at + random.usize(..40)).min(out.len())].to_vec();
            out.splice(at..at, again);
        }
        // A line end is where most goes wrong.
        3 | 4 => {
            let ends: Vec<_> = (from..out.len()).filter(|at| out[*at] == b'\r').collect();
            if let Some(at) = random.choice(ends) {
                let end = (at + random.usize(..=2)).min(out.len());
                let new = any(random, MUTATIONS).bytes();
                out.splice(at..end, new);
            }
        }
        5 => {
            if let Some(byte) = out.get_mut(at) {
                *byte = random.u8(..);
            }
        }
        _ => drop(out.splice(at..end, any(random, MUTATIONS).bytes())),
    }
}
