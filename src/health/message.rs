//! The messages of the gRPC health protocol, `grpc.health.v1`: a request has one string field, the name of the service,
//! and a response one enum field, its state.

use bytes::{Bytes, BytesMut};

use super::failure::CheckFailure;
use crate::grpc::{FieldValue, GrpcViolation, MessageFields, framed, put_bytes};

/// The longest message that is accepted, in bytes. A response has two; a newer version of the protocol may have more.
pub(super) const MAX_MESSAGE: usize = 4096;

/// Encodes a `HealthCheckRequest` for this service, with its prefix. A name of 4 GiB is refused where it is set.
pub(super) fn request(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    put_bytes(&mut message, 1, service.as_bytes());
    framed(&message)
}

/// The state of a service, a `HealthCheckResponse.ServingStatus`, as it was received. Any value is valid protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ServingStatus(u64);

impl ServingStatus {
    /// Decodes a `HealthCheckResponse`: its field 1, or 0 without one.
    pub(super) fn of(message: &[u8]) -> Result<Self, GrpcViolation> {
        let mut status = Self(0);
        for field in MessageFields::of(message) {
            match field? {
                (1, FieldValue::Number(state)) => status = Self(state),
                (1, _) => return Err(GrpcViolation("a malformed message")),
                _ => {}
            }
        }
        Ok(status)
    }

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

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[derive(Clone, PartialEq, prost::Message)]
    struct Asked {
        #[prost(string, tag = "1")]
        service: String,
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
    fn only_serving_passes() {
        assert!(ServingStatus::of(&[8, 1]).unwrap().judge().is_ok());
        for (message, says) in [
            (&[][..], "UNKNOWN"),
            (&[8, 1, 8, 2], "NOT_SERVING"),
            (&[8, 3], "SERVICE_UNKNOWN"),
            (&[8, 0x80, 1], "a state that the protocol does not define"),
        ] {
            let failure = ServingStatus::of(message).unwrap().judge().unwrap_err();
            assert_eq!(failure.to_string(), says);
        }
    }

    #[test]
    fn malformed_messages_are_refused() {
        for message in [&[8][..], &[0x0a, 0]] {
            let refused = ServingStatus::of(message).unwrap_err();
            assert_eq!(refused.0, "a malformed message");
        }
    }
}
