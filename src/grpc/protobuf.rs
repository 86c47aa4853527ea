//! The fields of a message in protobuf.

use bytes::{BufMut, BytesMut};

use super::message::GrpcViolation;

/// The wire types of fields. Groups, which are deprecated, are not accepted.
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const FIXED32: u64 = 5;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldValue<'a> {
    /// An integer, an enum or a bool. Negative ones are in two's complement.
    Number(u64),
    /// A string, bytes, or a message within the message.
    Bytes(&'a [u8]),
    /// A value of fixed length, which nothing here reads.
    Fixed,
}

/// The fields of a message, in the order in which they were written, each with its number.
///
/// Fields that are not known are to be skipped, and of several with the number of a single one the last counts.
#[derive(Clone, Debug)]
pub(crate) struct MessageFields<'a>(Option<&'a [u8]>);

impl<'a> MessageFields<'a> {
    /// Reads an encoded message.
    pub(crate) fn of(message: &'a [u8]) -> Self {
        Self(Some(message))
    }
}

impl<'a> Iterator for MessageFields<'a> {
    type Item = Result<(u64, FieldValue<'a>), GrpcViolation>;

    fn next(&mut self) -> Option<Self::Item> {
        // Taken for good if the message is malformed.
        let mut rest = self.0.take().filter(|rest| !rest.is_empty())?;
        let field = take_field(&mut rest);
        if field.is_some() {
            self.0 = Some(rest);
        }
        Some(field.ok_or(GrpcViolation("a malformed message")))
    }
}

/// Takes a field off the front. Returns `None` if it is malformed.
fn take_field<'a>(message: &mut &'a [u8]) -> Option<(u64, FieldValue<'a>)> {
    let tag = take_varint(message)?;
    let value = match tag & 7 {
        VARINT => FieldValue::Number(take_varint(message)?),
        BYTES => {
            let length = usize::try_from(take_varint(message)?).ok()?;
            FieldValue::Bytes(take(message, length)?)
        }
        FIXED64 => take(message, 8).map(|_| FieldValue::Fixed)?,
        FIXED32 => take(message, 4).map(|_| FieldValue::Fixed)?,
        _ => return None,
    };
    let number = tag >> 3;
    (number != 0).then_some((number, value))
}

/// Takes this many bytes off the front.
fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

/// Writes a field of bytes, a string or a message. One that is empty, as by default, is left out.
///
/// `field` must be less than 16.
pub(crate) fn put_bytes(out: &mut BytesMut, field: u8, value: &[u8]) {
    if !value.is_empty() {
        out.put_u8(field << 3 | BYTES as u8);
        put_varint(out, value.len() as u64);
        out.put_slice(value);
    }
}

/// Writes a field of a number. One that is 0, as by default, is left out.
///
/// `field` must be less than 16.
#[cfg(feature = "etcd")]
pub(crate) fn put_number(out: &mut BytesMut, field: u8, value: u64) {
    if value != 0 {
        out.put_u8(field << 3 | VARINT as u8);
        put_varint(out, value);
    }
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
    struct AllTypes {
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
        #[prost(bytes, tag = "6")]
        bytes: Vec<u8>,
    }

    fn all() -> AllTypes {
        AllTypes {
            status: 300,
            text: "a".repeat(200),
            long: 7,
            short: 8,
            number: -1,
            bytes: vec![1],
        }
    }

    #[test]
    fn fields_of_another_encoder_are_read() {
        let message = all().encode_to_vec();
        let fields: Result<Vec<_>, _> = MessageFields::of(&message).collect();
        let expected = [
            (1, FieldValue::Number(300)),
            (2, FieldValue::Bytes(&[b'a'; 200])),
            (3, FieldValue::Fixed),
            (5, FieldValue::Number(u64::MAX)),
            (6, FieldValue::Bytes(&[1])),
            (300, FieldValue::Fixed),
        ];
        assert_eq!(fields.unwrap(), expected);
    }

    #[cfg(feature = "etcd")]
    #[test]
    fn another_decoder_reads_what_is_written() {
        let mut out = BytesMut::new();
        put_number(&mut out, 1, 300);
        put_bytes(&mut out, 2, &[b'a'; 200]);
        put_number(&mut out, 5, u64::MAX);
        put_bytes(&mut out, 6, &[1]);
        let read = AllTypes::decode(&out[..]).unwrap();
        let expected = AllTypes {
            long: 0,
            short: 0,
            ..all()
        };
        assert_eq!(read, expected);
        let mut out = BytesMut::new();
        put_number(&mut out, 1, 0);
        put_bytes(&mut out, 2, b"");
        assert!(out.is_empty());
    }

    #[test]
    fn malformed_messages_are_refused() {
        let endless = [0xff; 11];
        for bytes in [
            &[8][..],
            &[0, 1],
            &[0x0b],
            &[0x12, 9, 1],
            &[0x15, 1],
            &[0x11, 1],
            &endless,
        ] {
            let mut fields = MessageFields::of(bytes);
            let expected = GrpcViolation("a malformed message");
            assert_eq!(fields.next(), Some(Err(expected)), "{bytes:?}");
            assert_eq!(fields.next(), None);
        }
    }
}
