//! `Expect: 100-continue` at an HTTP/1 endpoint: the request body waits for the endpoint's decision.
//!
//! hyper's server sends a client its 100 as soon as the request body is polled. If the body were polled at once, the
//! client would be told to continue before the endpoint has seen the request. So the body is not polled until the
//! endpoint has decided: it is sent after the endpoint's 100, and not at all when the endpoint answers with a final
//! response instead (RFC 9110 10.1.1). In that case the client receives no 100, and does not send its body.
//!
//! States of the decision:
//!
//! - *Awaited*: the request head is sent, the body is not polled, and there is an [`Expectation`].
//! - *Wanted*: a 100 has arrived, a 101, or nothing for [`PATIENCE`]. The body is polled as usual.
//! - *Unwanted*: the final response came first. The body is never polled, and the connection closes after the response,
//!   because the message that was announced has no end.
//!
//! The first decision is final. A request that is sent again, on another connection, starts over with *Awaited*.
//!
//! Over HTTP/2 nothing waits: neither hyper's client nor its server supports interim responses there. A client of
//! HTTP/2 receives no 100 and sends its body when it has waited long enough; to an endpoint of HTTP/2 the body is sent
//! at once, so that an HTTP/1 client receives its 100 from the proxy.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderMap, Request, header};
use http_body::Body as _;
use tokio::time::{Sleep, sleep};

use crate::{
    body::Body,
    record::{Record, UploadState},
};

/// How long a body waits for an endpoint that says nothing, as curl does.
///
/// RFC 9110 10.1.1: "A client that sends a 100-continue expectation is not required to wait for any specific length of
/// time; such a client MAY proceed to send the content even if it has not yet received a response."
const PATIENCE: Duration = Duration::from_secs(1);

/// A request body that waits for the endpoint's decision.
///
/// It says in the record whose turn it is: a silence while the body waits is the endpoint's, and not the client's.
pub(super) struct Expectation {
    record: Arc<Record>,
    /// The generation of the body's upload.
    generation: u32,
    /// When the body is sent although the endpoint has said nothing.
    patience: Pin<Box<Sleep>>,
}

/// Returns whether a request says that its body waits for a 100. The value is case-insensitive (RFC 9110 10.1.1).
pub(in crate::upstream) fn expects_continue(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::EXPECT).into_iter();
    lines.any(|line| line.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Expectation {
    /// Returns what a request body waits for. `None` if the request has no body or does not expect a 100.
    pub(super) fn of(request: &mut Request<Body>) -> Option<Self> {
        if request.body().is_end_stream() || !expects_continue(request.headers()) {
            return None;
        }
        let expectation = Self {
            generation: request.body().upload_generation(),
            record: request.body_mut().record().clone(),
            patience: Box::pin(sleep(PATIENCE)),
        };
        expectation.touch(UploadState::Undecided);
        Some(expectation)
    }

    /// Ready when the endpoint has said nothing for [`PATIENCE`].
    pub(super) fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.patience.as_mut().poll(cx)
    }

    /// The body is to be sent.
    pub(super) fn met(self) {
        self.touch(UploadState::Held);
    }

    /// The body is not to be sent.
    pub(super) fn refused(self) {
        self.touch(UploadState::Done);
    }

    /// Records whose turn it is now, unless another attempt has begun meanwhile.
    fn touch(&self, state: UploadState) {
        self.record.touch_upload(self.generation, state);
    }
}
