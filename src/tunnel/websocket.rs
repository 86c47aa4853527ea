//! The keys of the WebSocket handshake over HTTP/1.1, which has no counterpart over HTTP/2.
//!
//! RFC 8441 5: over HTTP/2, `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` are not used, as what they prove, that the
//! server has understood the request, follows from the setting and `:protocol`. So a handshake that is translated
//! between the versions needs a key made, or its answer computed, on the way.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use sha1_smol::Sha1;

/// The one protocol that is translated between the versions. The form of another one could not be made without knowing
/// it.
pub(crate) const WEBSOCKET: &str = "websocket";

/// The key of a handshake over HTTP/1.1: `Sec-WebSocket-Key`.
#[derive(Clone, Debug)]
pub(crate) struct WebSocketKey(HeaderValue);

impl WebSocketKey {
    /// Returns a new key. RFC 6455 4.1: "a nonce [...] selected randomly for each connection".
    ///
    /// It need not be hard to guess: it guards against servers that do not speak WebSocket, and not against attackers.
    pub(crate) fn random() -> Self {
        let nonce = fastrand::u128(..).to_ne_bytes();
        Self(ascii(&STANDARD.encode(nonce)))
    }

    /// Returns the key in a request head, if it has exactly one.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
        let key = keys.next().cloned().map(Self);
        key.filter(|_| keys.next().is_none())
    }

    /// Puts the key on a request head, in place of any that it has.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(header::SEC_WEBSOCKET_KEY, self.0.clone());
    }

    /// Returns the `Sec-WebSocket-Accept` that answers this key (RFC 6455 4.2.2, step 5.4).
    pub(crate) fn accept(&self) -> HeaderValue {
        let mut sha1 = Sha1::new();
        sha1.update(self.0.as_bytes());
        sha1.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        ascii(&STANDARD.encode(sha1.digest().bytes()))
    }

    /// Returns whether a response head accepts this key.
    ///
    /// RFC 6455 4.1: if the field is absent or "contains a value other than" the one that is computed, "the client MUST
    /// _Fail the WebSocket Connection_".
    pub(crate) fn is_accepted_by(&self, headers: &HeaderMap) -> bool {
        let mut accepts = headers.get_all(header::SEC_WEBSOCKET_ACCEPT).iter();
        accepts.next() == Some(&self.accept()) && accepts.next().is_none()
    }
}

/// Returns the value of a field that is made of ASCII.
fn ascii(text: &str) -> HeaderValue {
    // Base64 has no character that a value cannot have.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    /// The example of RFC 6455 1.3.
    #[test]
    fn the_key_of_the_rfc_has_the_answer_of_the_rfc() {
        let key = head(&header::SEC_WEBSOCKET_KEY, &["dGhlIHNhbXBsZSBub25jZQ=="]);
        let key = WebSocketKey::of(&key).unwrap();
        assert_eq!(key.accept(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_key_is_accepted_by_its_own_answer_alone() {
        let (key, other) = (WebSocketKey::random(), WebSocketKey::random());
        let (own, wrong) = (key.accept(), other.accept());
        let (own, wrong) = (own.to_str().unwrap(), wrong.to_str().unwrap());
        for (values, accepted) in [
            (vec![own], true),
            (vec![wrong], false),
            (vec![], false),
            (vec![own, own], false),
            (vec![own, wrong], false),
        ] {
            let response = head(&header::SEC_WEBSOCKET_ACCEPT, &values);
            assert_eq!(key.is_accepted_by(&response), accepted, "{values:?}");
        }
    }

    #[test]
    fn keys_are_random_and_of_the_right_length() {
        let mut headers = HeaderMap::new();
        WebSocketKey::random().put(&mut headers);
        let first = headers[header::SEC_WEBSOCKET_KEY].clone();
        assert_eq!(STANDARD.decode(&first).unwrap().len(), 16);
        WebSocketKey::random().put(&mut headers);
        assert_ne!(WebSocketKey::of(&headers).unwrap().0, first);
    }

    #[test]
    fn two_keys_are_none() {
        assert!(WebSocketKey::of(&head(&header::SEC_WEBSOCKET_KEY, &["a", "b"])).is_none());
    }
}
