//! Requests that are sent again: which, with which bytes, and which not.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, response::IntoResponse};
use axum_upstream::{
    Body,
    balance::LoadBalanceBuilder,
    endpoint::Availability,
    retry::{Retry, RetryBudget},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::{Notify, mpsc};

use super::{
    servers::{Fault, faulty, good},
    trial::{Trial, in_turn, skip},
};
use crate::support::{
    Conn, Http, Message,
    proxy::OK,
    server::{self, Server, refusing},
    within,
};

/// The default replay limit.
const LIMIT: usize = 64 * 1024;

/// A server that closes the connection when it has a request, and tells of it.
async fn closing() -> (Server, mpsc::UnboundedReceiver<Message>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let server = server::raw(move |mut conn| {
        let seen = seen.clone();
        async move {
            if let Some(request) = conn.request().await {
                let _ = seen.send(request);
            }
        }
    });
    (server.await, requests)
}

/// What two servers have seen of a request, of which the first one closes the connection, and what the client got.
struct Repeated {
    first: Option<Message>,
    second: Option<Message>,
    answer: Message,
}

/// Sends a request in raw bytes to a closing server and a good one.
async fn send(settings: LoadBalanceBuilder, request: impl AsRef<[u8]>) -> Repeated {
    within(async {
        let (bad, mut first) = closing().await;
        let (good, mut second) = server::canned(OK).await;
        let trial = Trial::new(settings, &[bad.url(), good.url()]).await;
        let mut client = Conn::connect(trial.proxy.address).await;
        client.send(request).await;
        let answer = client.response().await.unwrap();
        Repeated {
            first: first.try_recv().ok(),
            second: second.try_recv().ok(),
            answer,
        }
    })
    .await
}

impl Repeated {
    /// Asserts that both servers have seen the same, but for `Host`, and that the client has the good one's answer.
    #[track_caller]
    fn is_the_same(&self) {
        let (first, second) = (self.first.as_ref().unwrap(), self.second.as_ref().unwrap());
        let lines = |message: &Message| {
            let lines = message.head.lines();
            let lines = lines.filter(|line| !line.to_lowercase().starts_with("host:"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lines(first), lines(second));
        assert!(first.body == second.body, "the bodies differ");
        assert_eq!(first.trailers, second.trailers);
        assert_eq!(
            (self.answer.status(), self.answer.text().as_str()),
            (200, "ok")
        );
    }
}

fn with_length(method: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head =
        format!("{method} /x HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn chunked(method: &str, chunks: &[&[u8]], trailers: &str) -> Vec<u8> {
    let mut request = format!(
        "{method} /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
    )
    .into_bytes();
    for chunk in chunks {
        request.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        request.extend_from_slice(chunk);
        request.extend(b"\r\n");
    }
    request.extend(format!("0\r\n{trailers}\r\n").as_bytes());
    request
}

/// Bytes of which no two stretches are alike.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|nth| (nth * nth / 251) as u8).collect()
}

/// A PUT may be repeated (RFC 9110 9.2.2), and is repeated byte by byte, framing and trailers included.
#[tokio::test]
async fn a_put_is_repeated_as_it_was() {
    let long = bytes(LIMIT);
    for body in [&b""[..], b"small", &long] {
        let repeated = send(in_turn(), with_length("PUT", "", body)).await;
        repeated.is_the_same();
        assert!(repeated.first.unwrap().body == body, "{} bytes", body.len());
    }
    let chunked_bodies: [&[&[u8]]; 4] = [&[], &[b"one"], &[b"one", b"two", b"three"], &[&long]];
    for chunks in chunked_bodies {
        let repeated = send(in_turn(), chunked("PUT", chunks, "x-sum: 42\r\n")).await;
        repeated.is_the_same();
        let first = repeated.first.unwrap();
        assert!(first.body == chunks.concat(), "{} chunks", chunks.len());
        assert_eq!(first.trailers.to_lowercase(), "x-sum: 42\r\n");
    }
}

/// What is longer than the limit is not kept, so it is sent once, and the client learns that it failed.
#[tokio::test]
async fn a_put_beyond_the_limit_is_sent_once() {
    let long = bytes(LIMIT + 1);
    for request in [with_length("PUT", "", &long), chunked("PUT", &[&long], "")] {
        let repeated = send(in_turn(), request).await;
        assert_eq!(repeated.answer.status(), 502);
        assert!(repeated.first.unwrap().body == long);
        assert!(repeated.second.is_none());
    }
    // The same for a limit of one's own, which may be 0.
    for (limit, length, status) in [(10, 10, 200), (10, 11, 502), (0, 1, 502), (0, 0, 200)] {
        let settings = in_turn().retry(Retry::default().replay_limit(limit));
        let repeated = send(settings, with_length("PUT", "", &bytes(length))).await;
        assert_eq!(repeated.answer.status(), status, "{length} of {limit}");
        assert_eq!(
            repeated.second.is_some(),
            status == 200,
            "{length} of {limit}"
        );
    }
}

/// Nothing was sent where no connection could be made: any length goes elsewhere, whatever the method.
#[tokio::test]
async fn what_was_not_sent_has_no_limit() {
    for method in ["PUT", "POST"] {
        let bad = refusing();
        let (good, mut seen) = server::canned(OK).await;
        let trial = Trial::new(in_turn().retry(Retry::never()), &[bad.url(), good.url()]).await;
        let body = bytes(10 * LIMIT);
        let mut client = Conn::connect(trial.proxy.address).await;
        let answer = within(async {
            client.send(with_length(method, "", &body)).await;
            client.response().await.unwrap()
        });
        assert_eq!(answer.await.status(), 200);
        assert!(seen.try_recv().unwrap().body == body);
    }
}

/// The second attempt gets what was sent before, and then what the client has still to send.
#[tokio::test]
async fn a_client_that_is_still_sending_goes_on() {
    within(async {
        let bad = server::raw(|mut conn| async move {
            conn.head().await;
            conn.take(5).await;
        })
        .await;
        let half = Arc::new(Notify::new());
        let (tell, (seen, mut requests)) = (half.clone(), mpsc::unbounded_channel());
        let good = server::raw(move |mut conn| {
            let (tell, seen) = (tell.clone(), seen.clone());
            async move {
                conn.head().await;
                let first = conn.take(5).await;
                tell.notify_one();
                let _ = seen.send([first, conn.take(5).await].concat());
                conn.send(OK).await;
            }
        })
        .await;
        let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
        let mut client = Conn::connect(trial.proxy.address).await;
        let request = with_length("PUT", "", b"firstrest!");
        client.send(&request[..request.len() - 5]).await;
        half.notified().await;
        client.send("rest!").await;
        let answer = client.response().await.unwrap();
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
        assert_eq!(requests.recv().await.unwrap(), b"firstrest!");
        assert_eq!(trial.path().await, [0, 1]);
    })
    .await;
}

/// A closure may know that a POST can be repeated. The default rules go on for the rest.
#[tokio::test]
async fn a_closure_decides_which_posts_are_repeated() {
    let settings = || {
        let retry = Retry::default()
            .when(|failed| failed.by_default() || failed.headers().contains_key("idempotency-key"));
        in_turn().retry(retry)
    };
    let key = "Idempotency-Key: 7\r\n";
    send(settings(), with_length("POST", key, b"order"))
        .await
        .is_the_same();
    send(settings(), with_length("PUT", "", b"order"))
        .await
        .is_the_same();
    let repeated = send(settings(), with_length("POST", "", b"order")).await;
    assert_eq!(repeated.answer.status(), 502);
    assert!(repeated.second.is_none());
}

/// The number of the attempt is sent from the second one on, and only if it was asked for.
#[tokio::test]
async fn the_attempt_field_has_the_number_of_the_attempt() {
    let name = http::HeaderName::from_static("x-retry-attempt");
    let settings = in_turn().retry(Retry::default().attempt_field(name));
    let repeated = send(settings, with_length("PUT", "", b"order")).await;
    let (first, second) = (repeated.first.unwrap(), repeated.second.unwrap());
    assert_eq!(first.field("x-retry-attempt"), None);
    assert_eq!(second.field("x-retry-attempt"), Some("2"));
}

/// Without retries and with an empty budget, the first answer is the response, as it is.
#[tokio::test]
async fn without_retries_the_first_answer_is_passed_on() {
    let empty = RetryBudget::new().ratio(0.0).unwrap().per_second(0);
    for retry in [
        Retry::never(),
        Retry::default().attempts(1).unwrap(),
        Retry::default().budget(empty),
    ] {
        let settings = in_turn().retry(retry);
        let repeated = send(settings.clone(), with_length("PUT", "", b"order")).await;
        assert_eq!(repeated.answer.status(), 502);
        assert!(repeated.second.is_none());

        let (bad, good) = (faulty(Fault::Unavailable).await, good().await);
        let mut trial = Trial::new(settings, &[bad.url(), good.url()]).await;
        let seen = trial.get().await;
        assert_eq!(
            (seen.status, seen.body.as_str(), seen.path()),
            (503, "busy", vec![0])
        );
    }
}

/// The budget is shared by all requests of the cluster: two per second here.
#[tokio::test]
async fn a_budget_that_is_used_up_passes_on_what_there_is() {
    let budget = RetryBudget::new().ratio(0.0).unwrap().per_second(2);
    let settings = in_turn()
        .ejection(None)
        .retry(Retry::default().budget(budget));
    let (bad, good) = (faulty(Fault::Unavailable).await, good().await);
    let mut trial = Trial::new(settings, &[bad.url(), good.url()]).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(trial.get_from(0).await.status);
    }
    assert_eq!(statuses, [200, 200, 503, 503]);
    skip(Duration::from_secs(2)).await;
    let seen = trial.get_from(0).await;
    seen.is_ok();
    assert_eq!(seen.path(), [0, 1]);
    assert_eq!(bad.requests(), 5);
    assert!(good.requests() >= 3);
}

/// `Retry-After` in a 503: the request is repeated elsewhere, and the endpoint left alone for as long as it asks.
#[tokio::test]
async fn an_endpoint_that_asks_for_it_is_left_alone() {
    let busy = "HTTP/1.1 503 Busy\r\nRetry-After: 3\r\nContent-Length: 4\r\n\r\nbusy";
    let (bad, mut asked) = server::canned(busy).await;
    let good = good().await;
    let mut trial = Trial::new(in_turn(), &[bad.url(), good.url()]).await;
    for _ in 0..10 {
        trial.get().await.is_ok();
    }
    assert!(
        asked.try_recv().is_ok() && asked.try_recv().is_err(),
        "asked once"
    );
    assert!(matches!(
        trial.availability(0),
        Availability::LeftAlone { .. }
    ));
    skip(Duration::from_secs(3)).await;
    assert_eq!(trial.availability(0), Availability::Usable);
    for _ in 0..2 {
        trial.get().await.is_ok();
    }
    assert!(asked.try_recv().is_ok());
}

/// gRPC's UNAVAILABLE, alone or after a message.
async fn unavailable(message: bool) -> Server {
    let app = Router::new().fallback(move || async move {
        let status = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static("14"),
        )]);
        let frames = match message {
            true => vec![
                Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"\0\0\0\0\x02hi"))),
                Ok(Frame::trailers(status.clone())),
            ],
            false => vec![],
        };
        let frames = tokio_stream::iter(frames);
        let body = axum::body::Body::new(StreamBody::new(frames));
        let mut response = Response::new(body);
        if !message {
            response.headers_mut().extend(status);
        }
        response
            .headers_mut()
            .insert("content-type", HeaderValue::from_static("application/grpc"));
        response.into_response()
    });
    server::app(app).await
}

/// A call that a server could not serve is repeated, although gRPC sends a POST: the status says that it may be. Not so
/// once a message has come.
#[tokio::test]
async fn a_grpc_call_is_repeated_if_it_is_unavailable_without_a_message() {
    for (message, path) in [(false, vec![0, 1]), (true, vec![0])] {
        let bad = unavailable(message).await;
        let good = server::app(Router::new().fallback(async || "ok")).await;
        let urls = [bad.url_for(Http::Two), good.url_for(Http::Two)];
        let mut trial = Trial::new(in_turn(), &urls).await;
        let request = Request::post("/echo.Echo/Say")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::from("\0\0\0\0\u{2}hi"))
            .unwrap();
        let seen = trial.send(request).await;
        assert_eq!(seen.path(), path);
        let outcome = seen.first();
        assert!(
            outcome.is_failure() && outcome.is_unavailable(),
            "{outcome:?}"
        );
        let answer = if message { "\0\0\0\0\u{2}hi" } else { "ok" };
        assert_eq!(seen.body, answer);
    }
}
