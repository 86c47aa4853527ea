//! A call: its request, and the messages and the status that the server answers with.

use std::pin::Pin;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;

use super::message::{GrpcViolation, MessageReader};
use crate::error::BoxError;

/// The status of a method that the server does not have.
pub(crate) const UNIMPLEMENTED: u32 = 12;

/// The status of a server that sends none, or none that can be read: UNKNOWN.
const UNKNOWN: u32 = 2;

/// Why a call has failed.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// The response has an HTTP status other than 200.
    Http(StatusCode),
    /// The call has ended with this status, which is not 0, and this text.
    #[cfg_attr(
        not(feature = "etcd"),
        expect(dead_code, reason = "health goes by the status")
    )]
    Grpc(u32, String),
    /// The response is not gRPC.
    Violation(GrpcViolation),
    /// The body of the response broke off.
    Broken(BoxError),
}

impl From<GrpcViolation> for CallFailure {
    fn from(violation: GrpcViolation) -> Self {
        Self::Violation(violation)
    }
}

/// Returns the request of a call. Its body has messages with their prefixes.
pub(crate) fn call_request<B>(path: Uri, body: B) -> Request<B> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path;
    let fields = request.headers_mut();
    let (grpc, trailers) = ("application/grpc", "trailers");
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(grpc));
    fields.insert(header::TE, HeaderValue::from_static(trailers));
    request
}

/// The messages that a server sends in response to a call.
#[derive(Debug)]
pub(crate) struct MessageStream<B> {
    /// Boxed, since it is kept between polls of different futures.
    body: Pin<Box<B>>,
    reader: MessageReader,
}

impl<B> MessageStream<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Creates the stream of a response whose messages have up to `longest` bytes.
    ///
    /// # Errors
    ///
    /// The head has the failure of the call, or is not that of gRPC.
    pub(crate) fn new(response: Response<B>, longest: usize) -> Result<Self, CallFailure> {
        let (head, body) = response.into_parts();
        if head.status != StatusCode::OK {
            return Err(CallFailure::Http(head.status));
        }
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        if !head.headers.get(header::CONTENT_TYPE).is_some_and(is_grpc) {
            return Err(GrpcViolation("another content type").into());
        }
        // Without a message, the status is in the head ("gRPC over HTTP2", Trailers-Only).
        if head.headers.contains_key("grpc-status") {
            ended(&head.headers)?;
            return Err(GrpcViolation("no message").into());
        }
        Ok(Self {
            body: Box::pin(body),
            reader: MessageReader::new(longest),
        })
    }

    /// Waits for the next message. Returns `None` if the call has ended with a status of 0.
    ///
    /// # Errors
    ///
    /// How else it has ended, or that a message is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing: what has arrived is kept for the next call.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CallFailure> {
        loop {
            if let Some(message) = self.reader.next()? {
                return Ok(Some(message));
            }
            let end = match self.body.frame().await {
                Some(Err(error)) => return Err(CallFailure::Broken(error.into())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.reader.push(&data);
                        continue;
                    }
                    Err(frame) => frame.into_trailers().unwrap_or_default(),
                },
                None => HeaderMap::new(),
            };
            ended(&end)?;
            return match self.reader.is_partial() {
                true => Err(GrpcViolation("a message that is cut off").into()),
                false => Ok(None),
            };
        }
    }
}

/// Returns how a call has ended.
///
/// "Statuses and their use in gRPC": a client that finds none takes it for UNKNOWN.
fn ended(trailers: &HeaderMap) -> Result<(), CallFailure> {
    let status = trailers.get("grpc-status").and_then(|value| {
        let value = value.to_str().ok()?;
        value.parse().ok()
    });
    match status.unwrap_or(UNKNOWN) {
        0 => Ok(()),
        status => {
            let text = trailers.get("grpc-message").map(HeaderValue::as_bytes);
            let text = String::from_utf8_lossy(text.unwrap_or_default());
            Err(CallFailure::Grpc(status, text.into_owned()))
        }
    }
}
