//! The messages of DNS (RFC 1035 4), as far as a name server for tests needs them.
//!
//! Written by hand: a server that shares its code with the client would share its mistakes.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The types of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    A = 1,
    Cname = 5,
    Aaaa = 28,
    Srv = 33,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// In lower case, without a dot at the end.
    pub name: String,
    pub of: Type,
}

/// A record of the name that is asked for.
#[derive(Clone, Debug)]
pub struct Record {
    ttl: u32,
    data: Data,
}

/// The data of a record.
#[derive(Clone, Debug)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Cname(&'static str),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: &'static str,
    },
}

impl Record {
    pub fn new(ttl: u32, data: Data) -> Self {
        Self { ttl, data }
    }
}

/// The length of a header.
const HEADER: usize = 12;

/// Where a question ends, and what it is. `None` if it is of another type.
fn parse(query: &[u8]) -> Option<(usize, Question)> {
    let (mut at, mut labels) = (HEADER, Vec::new());
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(std::str::from_utf8(query.get(at..at + length)?).ok()?);
        at += length;
    }
    let of = match query.get(at..at + 2)? {
        [0, 1] => Type::A,
        [0, 5] => Type::Cname,
        [0, 28] => Type::Aaaa,
        [0, 33] => Type::Srv,
        _ => return None,
    };
    let name = labels.join(".").to_lowercase();
    Some((at + 4, Question { name, of }))
}

/// Returns what a query asks for.
pub fn question(query: &[u8]) -> Option<Question> {
    parse(query).map(|(_, question)| question)
}

/// Returns the response to a query.
pub fn response(query: &[u8], code: u8, records: &[Record], truncated: bool) -> Vec<u8> {
    let (end, _) = parse(query).unwrap();
    let mut out = query[..2].to_vec();
    // A response to a standard query, recursion desired and available.
    out.extend([0x81 | u8::from(truncated) << 1, 0x80 | code]);
    let count = u16::try_from(records.len()).unwrap().to_be_bytes();
    out.extend([0, 1, count[0], count[1], 0, 0, 0, 0]);
    out.extend_from_slice(&query[HEADER..end]);
    for record in records {
        let (of, data) = match &record.data {
            Data::A(ip) => (Type::A, ip.octets().to_vec()),
            Data::Aaaa(ip) => (Type::Aaaa, ip.octets().to_vec()),
            Data::Cname(target) => (Type::Cname, name(target)),
            Data::Srv {
                priority,
                weight,
                port,
                target,
            } => {
                let numbers = [priority, weight, port].map(|number| number.to_be_bytes());
                (Type::Srv, [numbers.concat(), name(target)].concat())
            }
        };
        // A pointer to the name in the question, the type, the class IN.
        out.extend([0xc0, 12, 0, of as u8, 0, 1]);
        out.extend(record.ttl.to_be_bytes());
        out.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend(data);
    }
    out
}

/// A name as labels. The root is `.`.
fn name(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend(label.bytes());
    }
    out.push(0);
    out
}
