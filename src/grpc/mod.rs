//! gRPC as far as a client here needs it: calls with one message at a time, without compression.
//!
//! The health check of endpoints calls `grpc.health.v1`, and discovery by etcd calls etcd. Both exchange a few fields,
//! which is a few lines of the [protobuf encoding] and cheaper for users than a dependency. What sends a request is up
//! to the caller.
//!
//! [protobuf encoding]: https://protobuf.dev/programming-guides/encoding/

mod call;
mod message;
mod protobuf;

#[cfg(feature = "etcd")]
pub(crate) use self::protobuf::put_number;
pub(crate) use self::{
    call::{CallFailure, MessageStream, UNIMPLEMENTED, call_request},
    message::{GrpcViolation, framed},
    protobuf::{FieldValue, MessageFields, put_bytes},
};
