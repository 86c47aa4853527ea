//! `Expect: 100-continue` at an HTTP/1 endpoint: the request body waits for the endpoint's decision.
//!
//! hyper's server sends a client its 100 as soon as the request body is polled, and hyper's client polls the body at
//! once. Between the two, the client would be told to continue before the endpoint has seen the request. So the body is
//! not polled until the endpoint has decided: it is sent after the endpoint's 100, and not at all when the endpoint
//! answers with a final response instead (RFC 9110 10.1.1). In that case the client receives no 100, and does not send
//! its body.
//!
//! States of the decision, which the body and the connection share as an [`Expectation`]:
//!
//! - *Awaited*: the request head is sent, the body is not polled.
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
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::{
    body::Body,
    error::BoxError,
    record::{Record, UploadState},
};

/// How long a body waits for an endpoint that says nothing, as curl does.
///
/// RFC 9110 10.1.1: "A client that sends a 100-continue expectation is not required to wait for any specific length of
/// time; such a client MAY proceed to send the content even if it has not yet received a response."
const PATIENCE: Duration = Duration::from_secs(1);

/// The decision about one request body, shared by the body and the connection that waits for the response.
///
/// It is stored in the request's extensions too, where a second sending of the same request finds it: the body is
/// wrapped only once.
#[derive(Clone)]
pub(super) struct Expectation {
    /// The state. Locked for a few instructions at a time, never across an await.
    decision: Arc<Mutex<Decision>>,
    /// Records whose turn it is: a silence while the body waits is the endpoint's, and not the client's.
    record: Arc<Record>,
    /// The generation of the body's upload. A 100 that comes late must not touch that of another attempt.
    generation: u32,
}

/// What the endpoint has decided about the body.
enum Decision {
    /// Nothing yet. Contains the body's waker, if the body has been polled.
    Awaited(Option<Waker>),
    /// The body is sent: the endpoint has asked for it, or has been silent for too long.
    Wanted,
    /// The body is not sent: the final response came first.
    Unwanted,
}

/// Returns whether a request says that its body waits for a 100. The value is case-insensitive (RFC 9110 10.1.1).
pub(in crate::upstream) fn expects_continue(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::EXPECT).into_iter();
    lines.any(|line| line.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

impl Expectation {
    /// Makes the request body wait for the endpoint's decision. Returns `None` if the request has no body or does not
    /// expect a 100.
    pub(super) fn of(request: &mut Request<Body>) -> Option<Self> {
        if request.body().is_end_stream() || !expects_continue(request.headers()) {
            return None;
        }
        let before = request.extensions().get::<Self>().cloned();
        let expectation = before.unwrap_or_else(|| Self::begin(request));
        *expectation.decision() = Decision::Awaited(None);
        expectation.touch(UploadState::Undecided);
        let told = expectation.clone();
        hyper::ext::on_informational(request, move |response| {
            if response.status() == StatusCode::CONTINUE {
                told.send_body();
            }
        });
        Some(expectation)
    }

    /// Wraps the body of a request that is sent for the first time.
    fn begin(request: &mut Request<Body>) -> Self {
        let expectation = Self {
            decision: Arc::new(Mutex::new(Decision::Awaited(None))),
            record: request.body_mut().record().clone(),
            generation: request.body().upload_generation(),
        };
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = body.wrap(|body| ExpectedBody {
            body,
            expectation: expectation.clone(),
            patience: None,
        });
        request.extensions_mut().insert(expectation.clone());
        expectation
    }

    /// Lets the body be sent. Has no effect on a body that is being sent; must not follow
    /// [`withhold_body`](Self::withhold_body).
    pub(super) fn send_body(&self) {
        let before = std::mem::replace(&mut *self.decision(), Decision::Wanted);
        if let Decision::Awaited(waker) = before {
            self.touch(UploadState::Held);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// Keeps the body from being sent, if that has not begun. Returns whether it is withheld.
    pub(super) fn withhold_body(&self) -> bool {
        let mut decision = self.decision();
        let is_awaited = matches!(*decision, Decision::Awaited(_));
        if is_awaited {
            *decision = Decision::Unwanted;
            self.touch(UploadState::Done);
        }
        is_awaited
    }

    /// Records whose turn it is now.
    fn touch(&self, state: UploadState) {
        self.record.touch_upload(self.generation, state);
    }

    /// Locks the decision. It is consistent whatever panicked: each change is a single assignment.
    fn decision(&self) -> MutexGuard<'_, Decision> {
        self.decision.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request body that is not polled before it is wanted.
struct ExpectedBody {
    body: Body,
    expectation: Expectation,
    /// The timer for [`PATIENCE`]. Runs from the first poll, by which time hyper has taken the head.
    patience: Option<Pin<Box<Sleep>>>,
}

impl ExpectedBody {
    /// Ready when the body is to be sent, by decision or because the endpoint has been silent for [`PATIENCE`]. Stays
    /// pending if the body is unwanted, without a registered waker: the connection closes, and drops the body.
    fn poll_wanted(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.expectation.decision() {
            Decision::Wanted => return Poll::Ready(()),
            Decision::Unwanted => return Poll::Pending,
            Decision::Awaited(waker) => *waker = Some(cx.waker().clone()),
        }
        let patience = self
            .patience
            .get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
        if patience.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.patience = None;
        self.expectation.send_body();
        Poll::Ready(())
    }
}

impl http_body::Body for ExpectedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        std::task::ready!(self.poll_wanted(cx));
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use tokio::time::Instant;

    use super::*;

    fn request(expect: &str) -> Request<Body> {
        let request = Request::post("/").header("expect", expect);
        request.body("abc".into()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_endpoint_gets_the_body_after_a_while() {
        let mut request = request("100-Continue");
        let expectation = Expectation::of(&mut request).unwrap();
        let start = Instant::now();
        let body = request.into_body().collect().await.unwrap();
        assert_eq!(start.elapsed(), PATIENCE);
        assert_eq!(body.to_bytes(), "abc");
        assert!(!expectation.withhold_body(), "it has been sent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_100_lets_the_body_go() {
        let mut request = request("100-continue");
        let expectation = Expectation::of(&mut request).unwrap();
        let start = Instant::now();
        let (body, ()) = tokio::join!(request.into_body().collect(), async {
            expectation.send_body();
        });
        assert_eq!(body.unwrap().to_bytes(), "abc");
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unwanted_body_is_never_sent() {
        let mut request = request("100-continue");
        let expectation = Expectation::of(&mut request).unwrap();
        let mut body = request.into_body();
        assert!(futures_util::poll!(body.frame()).is_pending());
        assert!(expectation.withhold_body());
        let waited = tokio::time::timeout(PATIENCE * 60, body.frame()).await;
        assert!(waited.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_sent_again_waits_again() {
        let mut request = request("100-continue");
        let first = Expectation::of(&mut request).unwrap();
        first.send_body();
        let again = Expectation::of(&mut request).unwrap();
        let mut body = request.into_body();
        assert!(futures_util::poll!(body.frame()).is_pending());
        again.send_body();
        assert!(body.frame().await.unwrap().is_ok());
    }

    /// The connection of an attempt that failed may still hear from its endpoint.
    #[test]
    fn a_late_decision_does_not_touch_the_upload_of_the_next_attempt() {
        let mut request = request("100-continue");
        let late = Expectation::of(&mut request).unwrap();
        let record = request.body_mut().record().clone();
        assert_eq!(record.upload().state(), UploadState::Undecided);
        record.begin_upload(UploadState::Wanted);
        assert!(late.withhold_body());
        assert_eq!(record.upload().state(), UploadState::Wanted);
        *late.decision() = Decision::Awaited(None);
        late.send_body();
        assert_eq!(record.upload().state(), UploadState::Wanted);
    }

    #[test]
    fn only_a_body_that_is_expected_waits() {
        assert!(Expectation::of(&mut request("something-else")).is_none());
        let mut empty = request("100-continue").map(|_| Body::empty());
        assert!(Expectation::of(&mut empty).is_none());
    }
}
