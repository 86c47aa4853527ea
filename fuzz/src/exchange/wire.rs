//! Requests of HTTP/1 as they are on the wire, read as strictly as RFC 9112 allows.

/// A whole request, or one whose body is still to come.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) head: Vec<u8>,
    /// The values of `X-Forwarded-For`, which the proxy replaces.
    forwarded_for: Vec<Vec<u8>>,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    Length(usize),
    Chunked,
}

impl Request {
    /// Reads a head off the front of what has come. `None` if it is not whole.
    ///
    /// # Panics
    ///
    /// If what has come is no head that a proxy may write.
    pub(crate) fn read(buffer: &mut Vec<u8>) -> Option<Self> {
        let end = find(buffer, b"\r\n\r\n")? + 4;
        let head: Vec<u8> = buffer.drain(..end).collect();
        let shown = String::from_utf8_lossy(&head).into_owned();
        let mut lines = split_lines(&head[..end - 4]);
        let start = lines.next().unwrap();
        let words: Vec<&[u8]> = start.split(|byte| *byte == b' ').collect();
        let is_start = matches!(words[..], [method, target, b"HTTP/1.1"] if !method.is_empty() && !target.is_empty());
        assert!(is_start, "no request line: {shown}");
        let fields: Vec<(String, &[u8])> = lines.map(|line| field(line, &shown)).collect();
        let all = |name: &str| -> Vec<&[u8]> {
            let named = fields.iter().filter(|(other, _)| other == name);
            named.map(|(_, value)| *value).collect()
        };
        assert_eq!(all("host").len(), 1, "one Host: {shown}");
        let framing = match (&all("content-length")[..], &all("transfer-encoding")[..]) {
            ([], []) => Framing::Length(0),
            ([length], []) => {
                assert!(length.iter().all(u8::is_ascii_digit), "no length: {shown}");
                Framing::Length(std::str::from_utf8(length).unwrap().parse().unwrap())
            }
            ([], [b"chunked"]) => Framing::Chunked,
            _ => panic!("more than one framing: {shown}"),
        };
        let forwarded_for = all("x-forwarded-for").into_iter().map(<[u8]>::to_vec);
        let forwarded_for = forwarded_for.collect();
        Some(Self {
            head,
            forwarded_for,
            framing,
        })
    }

    /// Which of the two clients it is for.
    ///
    /// # Panics
    ///
    /// If it is for neither.
    pub(super) fn client(&self) -> usize {
        match &self.forwarded_for[..] {
            [address] if address == b"192.0.2.1" => 0,
            [address] if address == b"192.0.2.2" => 1,
            _ => panic!("no client: {}", String::from_utf8_lossy(&self.head)),
        }
    }

    /// Reads the body off the front of what has come. `None` if it is not whole.
    ///
    /// # Panics
    ///
    /// If it is not framed as the head says.
    pub(crate) fn read_body(&self, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
        let length = match self.framing {
            Framing::Length(length) => length,
            Framing::Chunked => chunked_length(buffer)?,
        };
        (buffer.len() >= length).then(|| buffer.drain(..length).collect())
    }
}

/// How long a chunked body is on the wire, its trailers included.
fn chunked_length(buffer: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = find(&buffer[at..], b"\r\n")?;
        let size = std::str::from_utf8(&buffer[at..at + line]).unwrap();
        let size =
            usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        at += line + 2;
        if size == 0 {
            break;
        }
        let end = buffer.get(at + size..at + size + 2)?;
        assert_eq!(end, b"\r\n", "a chunk does not end where it should");
        at += size + 2;
    }
    loop {
        let line = find(&buffer[at..], b"\r\n")?;
        let trailer = &buffer[at..at + line];
        at += line + 2;
        if trailer.is_empty() {
            return Some(at);
        }
        field(trailer, &String::from_utf8_lossy(trailer));
    }
}

/// Lines that end with CR LF, and with nothing else.
fn split_lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let line = match find(text, b"\r\n") {
            Some(at) => {
                rest = Some(&text[at + 2..]);
                &text[..at]
            }
            None => {
                rest = None;
                text
            }
        };
        let bare = line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
        assert!(
            !bare,
            "a bare CR, LF or NUL: {:?}",
            String::from_utf8_lossy(line)
        );
        Some(line)
    })
}

fn field<'a>(line: &'a [u8], shown: &str) -> (String, &'a [u8]) {
    let colon = line.iter().position(|byte| *byte == b':');
    let colon = colon.unwrap_or_else(|| panic!("no field: {shown}"));
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    assert!(
        !name.is_empty() && name.iter().all(token),
        "no name: {shown}"
    );
    let name = String::from_utf8(name.to_ascii_lowercase()).unwrap();
    (name, value.trim_ascii())
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

pub(super) fn contains(text: &[u8], what: &[u8]) -> bool {
    find(text, what).is_some()
}

pub(super) fn replace(text: &[u8], what: u8, by: &[u8]) -> Vec<u8> {
    text.split(|byte| *byte == what)
        .collect::<Vec<_>>()
        .join(by)
}
