//! The messages of the gRPC health protocol, `grpc.health.v1`, on the wire.
//!
//! A request has one string field, the name of the service, and a response one enum field, its state. That is a few
//! lines of the [protobuf encoding], which is cheaper for users than a dependency.
//!
//! In a body, each message has a prefix of five bytes ("gRPC over HTTP2", Length-Prefixed-Message): whether it is
//! compressed, and its length in big-endian order.
//!
//! [protobuf encoding]: https://protobuf.dev/programming-guides/encoding/

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::failure::CheckFailure;

/// The longest message that is accepted, in bytes. A response has two; a newer version of the protocol may have more.
const MAX_MESSAGE: usize = 4096;

/// The size of the prefix of a message.
const PREFIX: usize = 5;

/// The wire types of protobuf fields that can be skipped.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// Encodes a `HealthCheckRequest` for this service, with its prefix.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    // A field that has its default value is left out.
    if !service.is_empty() {
        message.put_u8(1 << 3 | BYTES as u8);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    // A name of 4 GiB is refused where it is set.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put(message);
    framed.freeze()
}

/// The state of a service, a `HealthCheckResponse.ServingStatus`, as it was received. Any value is valid protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServingStatus(u64);

impl ServingStatus {
    /// Judges the state: `SERVING` passes, every other one fails.
    pub(super) fn judge(self) -> Result<(), CheckFailure> {
        Err(CheckFailure::NotServing(match self.0 {
            1 => return Ok(()),
            0 => "UNKNOWN",
            2 => "NOT_SERVING",
            // What `Watch` says of a service that may yet be registered.
            3 => "SERVICE_UNKNOWN",
            _ => "a state that the protocol does not define",
        }))
    }
}

/// Takes states out of a body that arrives in pieces.
#[derive(Debug, Default)]
pub(super) struct MessageReader {
    /// What has arrived and belongs to no whole message yet. Less than a message and a frame.
    buffer: BytesMut,
}

impl MessageReader {
    /// Adds a piece of the body.
    pub(super) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// Returns whether part of a message has arrived, but not all of it.
    pub(super) fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Takes the next state, or `None` if its message has not arrived as a whole.
    ///
    /// # Errors
    ///
    /// What is wrong with the message.
    pub(super) fn next(&mut self) -> Result<Option<ServingStatus>, CheckFailure> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [compressed, length @ ..] = *prefix;
        // No encoding was offered, so none may be used.
        if compressed != 0 {
            return Err(CheckFailure::NotGrpc("a compressed message"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE {
            return Err(CheckFailure::NotGrpc("a message that is too long"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let message = self.buffer.split_to(length);
        match response(&message) {
            Some(status) => Ok(Some(status)),
            None => Err(CheckFailure::NotGrpc("a malformed message")),
        }
    }
}

/// Decodes a `HealthCheckResponse`: its field 1, or 0 without one. Returns `None` if it is malformed.
///
/// Unknown fields are skipped, and of several field 1 the last counts, as protobuf demands.
fn response(mut message: &[u8]) -> Option<ServingStatus> {
    let mut status = ServingStatus(0);
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, VARINT) => status = ServingStatus(take_varint(&mut message)?),
            (_, VARINT) => drop(take_varint(&mut message)?),
            (_, FIXED64) => message = message.get(8..)?,
            (_, FIXED32) => message = message.get(4..)?,
            (_, BYTES) => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            _ => return None,
        }
    }
    Some(status)
}

/// Writes a number, seven bits at a time, the lowest first.
fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Takes a number of at most ten bytes off the front. Returns `None` if it is longer or does not end.
fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Asked {
        #[prost(string, tag = "1")]
        service: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Answered {
        #[prost(uint64, tag = "1")]
        status: u64,
        #[prost(string, tag = "2")]
        text: String,
        #[prost(fixed64, tag = "3")]
        long: u64,
        #[prost(fixed32, tag = "300")]
        short: u32,
        #[prost(int64, tag = "5")]
        number: i64,
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0], &length.to_be_bytes()[..], message].concat()
    }

    #[test]
    fn requests_are_what_another_encoder_reads() {
        for service in [String::new(), "echo.Echo".to_owned(), "x".repeat(300)] {
            let request = request(&service);
            assert_eq!(request[0], 0);
            let length = u32::from_be_bytes(request[1..5].try_into().unwrap());
            assert_eq!(length as usize, request.len() - 5);
            assert_eq!(Asked::decode(&request[5..]).unwrap().service, service);
        }
    }

    #[test]
    fn responses_are_read_in_any_pieces() {
        let message = Answered {
            status: 2,
            text: "a".repeat(200),
            long: 7,
            short: 8,
            number: -1,
        };
        let bytes = [
            framed(&message.encode_to_vec()),
            framed(&[]),
            framed(&[8, 1]),
        ]
        .concat();
        for size in [1, 2, 7, bytes.len()] {
            let mut reader = MessageReader::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                reader.push(piece);
                while let Some(status) = reader.next().unwrap() {
                    read.push(status.0);
                }
            }
            assert_eq!(read, [2, 0, 1], "in pieces of {size}");
            assert!(!reader.is_partial());
        }
    }

    #[test]
    fn only_serving_passes() {
        assert!(ServingStatus(1).judge().is_ok());
        for (status, says) in [
            (0, "UNKNOWN"),
            (2, "NOT_SERVING"),
            (3, "SERVICE_UNKNOWN"),
            (u64::MAX, "a state that the protocol does not define"),
        ] {
            let failure = ServingStatus(status).judge().unwrap_err();
            assert_eq!(failure.to_string(), says);
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        let endless = [0xff; 11];
        for (bytes, says) in [
            (&[1, 0, 0, 0, 0][..], "compressed"),
            (b"<html>", "compressed"),
            (&[0, 0, 0, 0x10, 1], "too long"),
            (&[0, 0, 0, 0, 1, 8], "malformed"),
            (&[0, 0, 0, 0, 2, 0, 1], "malformed"),
            (&[0, 0, 0, 0, 2, 0x0b, 1], "malformed"),
            (&[0, 0, 0, 0, 3, 0x12, 9, 1], "malformed"),
            (&[0, 0, 0, 0, 2, 0x15, 1], "malformed"),
            (&framed(&endless), "malformed"),
        ] {
            let mut reader = MessageReader::default();
            reader.push(bytes);
            let failure = reader.next().unwrap_err().to_string();
            assert!(failure.contains(says), "{bytes:?}: {failure}");
        }
    }
}
