//! Messages within a body: each has a prefix of five bytes ("gRPC over HTTP2", Length-Prefixed-Message), whether it is
//! compressed, and its length in big-endian order.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The size of the prefix of a message.
const PREFIX: usize = 5;

/// What a server sent that is not gRPC, in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrpcViolation(pub(crate) &'static str);

/// Returns a message with its prefix. It must be shorter than 4 GiB.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// Takes messages out of a body that arrives in pieces.
#[derive(Debug)]
pub(super) struct MessageReader {
    /// What has arrived and belongs to no whole message yet. Less than a message and a frame.
    buffer: BytesMut,
    /// The longest message that is accepted, in bytes.
    longest: usize,
}

impl MessageReader {
    /// Creates a reader that accepts messages of up to `longest` bytes.
    pub(super) fn new(longest: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            longest,
        }
    }

    /// Adds a piece of the body.
    pub(super) fn push(&mut self, data: &[u8]) {
        self.buffer.extend_from_slice(data);
    }

    /// Returns whether part of a message has arrived, but not all of it.
    pub(super) fn is_partial(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Takes the next message, or `None` if it has not arrived as a whole.
    ///
    /// # Errors
    ///
    /// It is compressed or too long.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, GrpcViolation> {
        let Some((prefix, rest)) = self.buffer.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let [compressed, length @ ..] = *prefix;
        // No encoding was offered, so none may be used.
        if compressed != 0 {
            return Err(GrpcViolation("a compressed message"));
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.longest {
            return Err(GrpcViolation("a message that is too long"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_in_any_pieces() {
        let messages = [&[7; 300][..], &[], &[1, 2]];
        let bytes = messages.map(framed).concat();
        for size in [1, 2, 7, bytes.len()] {
            let mut reader = MessageReader::new(300);
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                reader.push(piece);
                while let Some(message) = reader.next().unwrap() {
                    read.push(message);
                }
            }
            assert_eq!(read, messages, "in pieces of {size}");
            assert!(!reader.is_partial());
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (bytes, says) in [
            (&[1, 0, 0, 0, 0][..], "compressed"),
            (b"<html>", "compressed"),
            (&[0, 0, 0, 1, 1], "too long"),
        ] {
            let mut reader = MessageReader::new(256);
            reader.push(bytes);
            assert!(reader.next().unwrap_err().0.contains(says), "{bytes:?}");
        }
    }
}
