//! What the certificate of a client says.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use der::{
    Decode, Encode, Reader, SliceReader, Tag, Tagged,
    asn1::{AnyRef, ObjectIdentifier},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The field by which an endpoint gets the certificate of the client (RFC 9440).
pub(crate) const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// The field for the certificates that lead to its root.
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Removes the fields by which endpoints are told of certificates from what a client has sent.
///
/// RFC 9440 2.4: any occurrence of them in the original request must be removed or overwritten. That holds for clients
/// without a certificate, and without TLS, as well.
pub(crate) fn remove_client_cert(headers: &mut HeaderMap) {
    headers.remove(CLIENT_CERT);
    headers.remove(CLIENT_CERT_CHAIN);
}

/// A certificate that a client has proved to be its own, and that one of the roots of the listener stands for. It is an
/// extension of each request on the connection, as an `Arc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The subject as text, like `CN=Ada,O=Example` (RFC 4514). Empty if it has none.
    pub(crate) subject: String,
    /// The certificate itself.
    pub(crate) leaf: CertificateDer<'static>,
}

impl ClientCertificate {
    /// Reads a certificate.
    pub(super) fn new(leaf: CertificateDer<'static>) -> Self {
        let parsed = EndEntityCert::try_from(&leaf);
        let subject = parsed.map(|parsed| subject(parsed.subject()).unwrap_or_default());
        Self {
            subject: subject.unwrap_or_default(),
            leaf,
        }
    }

    /// Returns the value of [`CLIENT_CERT`].
    pub(crate) fn field(&self) -> Option<HeaderValue> {
        let value = format!(":{}:", STANDARD.encode(&self.leaf));
        HeaderValue::try_from(value).ok()
    }
}

/// Attributes that have a short name (RFC 4514 3).
const SHORT_NAMES: [(&str, &str); 9] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
];

/// Returns a name as text, its last part first (RFC 4514 2.1). `name` is the inside of its DER.
fn subject(name: &[u8]) -> der::Result<String> {
    let mut parts = Vec::new();
    let mut reader = SliceReader::new(name)?;
    while !reader.is_finished() {
        let set = AnyRef::decode(&mut reader)?;
        let mut attributes = Vec::new();
        let mut inside = SliceReader::new(set.value())?;
        while !inside.is_finished() {
            let pair = AnyRef::decode(&mut inside)?;
            attributes.push(pair.sequence(|reader| {
                let kind = ObjectIdentifier::decode(reader)?;
                Ok::<_, der::Error>(attribute(kind, AnyRef::decode(reader)?))
            })?);
        }
        parts.push(attributes.join("+"));
    }
    parts.reverse();
    Ok(parts.join(","))
}

/// Returns an attribute as text: `CN=Ada`, or its number and its bytes if it has no short name (RFC 4514 2.4).
fn attribute(kind: ObjectIdentifier, value: AnyRef<'_>) -> String {
    let kind = kind.to_string();
    let short = SHORT_NAMES.iter().find(|(number, _)| *number == kind);
    let is_text = matches!(
        value.tag(),
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String
    );
    let text = std::str::from_utf8(value.value()).ok().filter(|_| is_text);
    if let Some(((_, name), text)) = short.zip(text) {
        return format!("{name}={}", escaped(text));
    }
    let mut line = format!("{}=#", short.map_or(kind.as_str(), |(_, name)| name));
    for byte in value.to_der().unwrap_or_default() {
        let _ = write!(line, "{byte:02x}");
    }
    line
}

/// Escapes what would be read as something else (RFC 4514 2.4), and what is not to be printed.
fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        let at_the_edge = (at == 0 && matches!(c, ' ' | '#')) || (at == last && c == ' ');
        match c {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => line.extend(['\\', c]),
            _ if at_the_edge => line.extend(['\\', c]),
            c if c.is_control() => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(line, "\\{byte:02x}");
                }
            }
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    fn subject_of(parts: &[(DnType, &str)]) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        let cert = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::new(cert.der().clone()).subject
    }

    #[test]
    fn a_subject_is_written_as_rfc_4514_has_it() {
        let ada = [
            (DnType::CountryName, "GB"),
            (DnType::OrganizationName, "Engines, Ltd."),
            (DnType::CommonName, "#Ada \u{e9} "),
        ];
        let text = "CN=\\#Ada \u{e9}\\ ,O=Engines\\, Ltd.,C=GB";
        assert_eq!(subject_of(&ada), text);
        assert_eq!(subject_of(&[]), "");
        let unknown = [(DnType::CustomDnType(vec![1, 2, 3]), "a")];
        assert_eq!(subject_of(&unknown), "1.2.3=#0c0161");
        assert_eq!(subject_of(&[(DnType::CommonName, "a\nb")]), "CN=a\\0ab");
    }

    #[test]
    fn what_is_no_name_is_no_name() {
        for bytes in [&[0x31][..], &[0x31, 0x05, 0x30], &[0x31, 0x02, 0x30, 0x01]] {
            assert!(subject(bytes).is_err());
        }
    }
}
