//! The messages of etcd, `etcdserverpb`, of which a few fields are written and read.

use bytes::{Bytes, BytesMut};

use crate::grpc::{FieldValue, GrpcViolation, MessageFields, framed, put_bytes, put_number};

/// How many keys a page of a list has.
const PAGE: u64 = 1000;

/// The largest revision that can be.
const LAST_REVISION: u64 = i64::MAX as u64;

/// A key, and its value as text. `None` for a key that was deleted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeyChange {
    pub(super) key: Vec<u8>,
    pub(super) value: Option<String>,
}

/// A page of a list, a `RangeResponse`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KeyPage {
    /// The revision at which it was read.
    pub(super) revision: u64,
    pub(super) keys: Vec<KeyChange>,
    /// Whether there are more keys behind the last one.
    pub(super) has_more: bool,
}

/// A message of a watch, a `WatchResponse`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct WatchMessage {
    pub(super) is_created: bool,
    /// Why the watch has ended, if it has. It may be empty.
    pub(super) canceled: Option<String>,
    /// The oldest revision that is there, if the one that was to be watched from is not any more; 0 otherwise.
    pub(super) compact_revision: u64,
    pub(super) changes: Vec<KeyChange>,
}

/// Encodes an `AuthenticateRequest`.
pub(super) fn authenticate(user: &str, password: &str) -> Bytes {
    let mut message = BytesMut::new();
    put_bytes(&mut message, 1, user.as_bytes());
    put_bytes(&mut message, 2, password.as_bytes());
    framed(&message)
}

/// Encodes a `RangeRequest` for a page of the keys from `key` up to `end`, as of `revision`. 0 is the latest.
pub(super) fn range(key: &[u8], end: &[u8], revision: u64) -> Bytes {
    let mut message = BytesMut::new();
    put_bytes(&mut message, 1, key);
    put_bytes(&mut message, 2, end);
    put_number(&mut message, 3, PAGE);
    put_number(&mut message, 4, revision);
    framed(&message)
}

/// Encodes a `WatchRequest` for the changes of the keys from `key` up to `end`, from `revision` on.
pub(super) fn watch(key: &[u8], end: &[u8], revision: u64) -> Bytes {
    let mut create = BytesMut::new();
    put_bytes(&mut create, 1, key);
    put_bytes(&mut create, 2, end);
    put_number(&mut create, 3, revision);
    // Changes that are too long for one message come in several.
    put_number(&mut create, 8, 1);
    let mut message = BytesMut::new();
    put_bytes(&mut message, 1, &create);
    framed(&message)
}

/// Encodes a `WatchRequest` for a message that says that there are no changes: an empty message in its field 3.
pub(super) fn progress() -> Bytes {
    framed(&[3 << 3 | 2, 0])
}

/// Returns the end of the range of keys that begin with `prefix`, which must not be empty.
pub(super) fn range_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // What etcd takes for the end of all keys.
    vec![0]
}

/// Decodes an `AuthenticateResponse`: the token.
pub(super) fn token(message: &[u8]) -> Result<String, GrpcViolation> {
    let mut token = String::new();
    for field in MessageFields::of(message) {
        if let (2, FieldValue::Bytes(text)) = field? {
            token = String::from_utf8_lossy(text).into_owned();
        }
    }
    Ok(token)
}

impl KeyPage {
    /// Decodes a `RangeResponse`.
    pub(super) fn of(message: &[u8]) -> Result<Self, GrpcViolation> {
        let mut page = Self::default();
        for field in MessageFields::of(message) {
            match field? {
                (1, FieldValue::Bytes(header)) => page.revision = revision(header)?,
                (2, FieldValue::Bytes(pair)) => page.keys.push(KeyChange::of(pair, false)?),
                (3, FieldValue::Number(more)) => page.has_more = more != 0,
                _ => {}
            }
        }
        // Revisions are positive, and of type `int64`.
        match page.revision {
            1..=LAST_REVISION => Ok(page),
            _ => Err(GrpcViolation("a page without a valid revision")),
        }
    }
}

impl WatchMessage {
    /// Decodes a `WatchResponse`.
    pub(super) fn of(message: &[u8]) -> Result<Self, GrpcViolation> {
        let mut read = Self::default();
        let (mut is_canceled, mut reason) = (false, String::new());
        for field in MessageFields::of(message) {
            match field? {
                (3, FieldValue::Number(created)) => read.is_created = created != 0,
                (4, FieldValue::Number(canceled)) => is_canceled = canceled != 0,
                (5, FieldValue::Number(revision)) => read.compact_revision = revision,
                (6, FieldValue::Bytes(text)) => reason = String::from_utf8_lossy(text).into_owned(),
                (11, FieldValue::Bytes(event)) => read.changes.push(event_change(event)?),
                _ => {}
            }
        }
        read.canceled = is_canceled.then_some(reason);
        Ok(read)
    }
}

impl KeyChange {
    /// Decodes a `KeyValue`.
    fn of(message: &[u8], is_deleted: bool) -> Result<Self, GrpcViolation> {
        let (mut key, mut value) = (&[][..], &[][..]);
        for field in MessageFields::of(message) {
            match field? {
                (1, FieldValue::Bytes(bytes)) => key = bytes,
                (5, FieldValue::Bytes(bytes)) => value = bytes,
                _ => {}
            }
        }
        let value = (!is_deleted).then(|| String::from_utf8_lossy(value).into_owned());
        let key = key.to_vec();
        Ok(Self { key, value })
    }
}

/// Decodes an `Event`. One whose type is 1 is a deletion, as when a lease expires.
fn event_change(message: &[u8]) -> Result<KeyChange, GrpcViolation> {
    let (mut pair, mut is_deleted) = (&[][..], false);
    for field in MessageFields::of(message) {
        match field? {
            (1, FieldValue::Number(of)) => is_deleted = of == 1,
            (2, FieldValue::Bytes(bytes)) => pair = bytes,
            _ => {}
        }
    }
    KeyChange::of(pair, is_deleted)
}

/// Decodes a `ResponseHeader`: the revision.
fn revision(header: &[u8]) -> Result<u64, GrpcViolation> {
    let mut revision = 0;
    for field in MessageFields::of(header) {
        if let (3, FieldValue::Number(number)) = field? {
            revision = number;
        }
    }
    Ok(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range() {
        for (prefix, end) in [
            (&b"/services/api/"[..], &b"/services/api0"[..]),
            (&[1, 0xff, 0xff], &[2]),
            (&[0xff], &[0]),
        ] {
            assert_eq!(range_end(prefix), end);
        }
    }

    /// As etcd 3.4 wrote them.
    #[test]
    fn messages_of_a_server_are_read() {
        let pair = [&b"\x0a\x02/a\x10\x05\x18\x05\x20\x01\x2a\x08http://a"[..]].concat();
        let header = [0x0a, 4, 0x18, 0xac, 0x02, 0x20];
        let mut page = header.to_vec();
        page[5] = 0;
        page[1] = 3;
        page.truncate(5);
        page.extend([0x12, u8::try_from(pair.len()).unwrap()]);
        page.extend(&pair);
        page.extend([0x18, 1, 0x20, 2]);
        let change = || KeyChange {
            key: b"/a".to_vec(),
            value: Some("http://a".to_owned()),
        };
        let read = KeyPage::of(&page).unwrap();
        assert_eq!((read.revision, read.has_more), (300, true));
        assert_eq!(read.keys, [change()]);

        for revision in [0, 1 << 63, u64::MAX] {
            let (mut header, mut page) = (BytesMut::new(), BytesMut::new());
            put_number(&mut header, 3, revision);
            put_bytes(&mut page, 1, &header);
            assert!(KeyPage::of(&page).is_err(), "{revision}");
        }
        assert!(KeyPage::of(&[]).is_err());

        let mut message = vec![0x5a, u8::try_from(pair.len() + 2).unwrap(), 0x12];
        message.push(u8::try_from(pair.len()).unwrap());
        message.extend(&pair);
        message.extend(b"\x5a\x08\x08\x01\x12\x04\x0a\x02/b");
        let read = WatchMessage::of(&message).unwrap();
        let deleted = KeyChange {
            key: b"/b".to_vec(),
            value: None,
        };
        assert_eq!(read.changes, [change(), deleted]);
        assert_eq!((read.is_created, read.canceled), (false, None));

        let read = WatchMessage::of(b"\x20\x01\x28\x07\x32\x04gone").unwrap();
        assert_eq!(read.canceled.as_deref(), Some("gone"));
        assert_eq!(read.compact_revision, 7);
        assert!(WatchMessage::of(&[0x18, 1]).unwrap().is_created);
        assert_eq!(token(b"\x0a\x00\x12\x03abc").unwrap(), "abc");
        for malformed in [&[0x5a, 9][..], &[0x5a, 2, 0x12, 9]] {
            assert!(WatchMessage::of(malformed).is_err());
        }
    }
}
