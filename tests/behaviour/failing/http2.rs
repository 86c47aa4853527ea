//! Endpoints that fail over HTTP/2.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use axum_upstream::{ErrorKind, Side, Stage};
use h2::Reason;

use super::{
    servers::good,
    trial::{Trial, in_turn, post},
};
use crate::support::{Conn, Http, server, server::Server};

/// What a server does to a stream, or to its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Resets the stream before the head.
    Reset(Reason),
    /// Closes the connection before the head.
    Close,
    /// Says goodbye with an error, and closes, before the head.
    GoAway,
}

/// A server with a fault, and the number of requests that it has seen.
async fn faulty(fault: Fault) -> (Server, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let server = server::raw(move |conn| {
        let seen = seen.clone();
        async move {
            let mut connection = h2::server::handshake(conn.into_stream()).await.unwrap();
            while let Some(Ok((_request, mut respond))) = connection.accept().await {
                seen.fetch_add(1, SeqCst);
                match fault {
                    Fault::Reset(reason) => respond.send_reset(reason),
                    Fault::Close => return,
                    Fault::GoAway => connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM),
                }
            }
        }
    });
    (server.await, requests)
}

/// A stream or a connection that breaks before the head costs a POST only, as with HTTP/1.
#[tokio::test]
async fn a_stream_that_breaks_before_the_head_costs_a_post() {
    for fault in [
        Fault::Reset(Reason::INTERNAL_ERROR),
        Fault::Reset(Reason::ENHANCE_YOUR_CALM),
        Fault::Close,
        Fault::GoAway,
    ] {
        let (bad, requests) = faulty(fault).await;
        let good = good().await;
        let mut trial = Trial::new(in_turn(), &[bad.url_for(Http::Two), good.url()]).await;
        let seen = trial.get().await;
        seen.is_ok();
        assert_eq!(seen.path(), [0, 1], "{fault:?}");
        let first = seen.first();
        assert_eq!(
            (first.stage(), first.error(), first.fault()),
            (
                Stage::Head,
                Some(ErrorKind::Connection),
                Some(Side::Upstream)
            ),
            "{fault:?}"
        );
        let before = requests.load(SeqCst);
        let mut lost = 0;
        for _ in 0..4 {
            let seen = trial.post("order").await;
            assert_eq!(seen.path().len(), 1, "{fault:?}: {seen:?}");
            match seen.path() == [0] {
                true => lost += usize::from(seen.status == 502),
                false => seen.is_ok(),
            }
        }
        assert_eq!(requests.load(SeqCst) - before, lost, "{fault:?}");
        assert_eq!(good.posts(), 4 - lost, "{fault:?}");
        assert!(lost > 0, "{fault:?}");
        for _ in 0..20 {
            trial.get().await.is_ok();
        }
        assert!(trial.is_ejected(0), "{fault:?}");
    }
}

/// RFC 9113 8.7: what was refused was not processed. The client has sent it once more to the same server by then.
#[tokio::test]
async fn a_request_that_is_refused_is_answered_elsewhere() {
    let (bad, requests) = faulty(Fault::Reset(Reason::REFUSED_STREAM)).await;
    let good = good().await;
    let mut trial = Trial::new(in_turn(), &[bad.url_for(Http::Two), good.url()]).await;
    let seen = trial.get().await;
    seen.is_ok();
    assert_eq!((seen.path(), requests.load(SeqCst)), (vec![0, 1], 2));
    for _ in 0..20 {
        trial.get().await.is_ok();
    }
    assert!(trial.is_ejected(0));
}

/// A server that answers by hand with half a body, which it then resets, and the number of requests that it has seen.
async fn resets_in_body() -> (Server, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let server = server::raw(move |mut conn| {
        let seen = seen.clone();
        async move {
            conn.take(24).await;
            conn.send(SETTINGS).await;
            while let Some((kind, stream)) = next_frame(&mut conn).await {
                if kind != HEADERS {
                    continue;
                }
                seen.fetch_add(1, SeqCst);
                let frame = |length, kind, flags, payload: &[u8]| {
                    let head = [0, 0, length, kind, flags];
                    [&head[..], &stream, payload].concat()
                };
                // 0x88 is ":status: 200" (RFC 7541, appendix A).
                conn.send(frame(1, HEADERS, 4, &[0x88])).await;
                conn.send(frame(4, 0, 0, b"half")).await;
                conn.send(frame(4, 3, 0, &[0, 0, 0, 2])).await;
            }
        }
    });
    (server.await, requests)
}

/// A body that breaks is cut. The other streams of the connection go on.
#[tokio::test]
async fn a_stream_that_breaks_in_its_body_is_cut() {
    let (bad, requests) = resets_in_body().await;
    let good = good().await;
    let mut trial = Trial::new(in_turn(), &[bad.url_for(Http::Two), good.url()]).await;
    let mut cut = 0;
    for nth in 0..20 {
        let seen = match nth % 2 {
            0 => trial.get().await,
            _ => trial.send(post("order")).await,
        };
        assert_eq!(seen.path().len(), 1);
        if seen.path() == [1] {
            seen.is_ok();
            continue;
        }
        cut += 1;
        assert!(matches!(seen.status, 0 | 200), "{seen:?}");
        assert!(!seen.is_whole && "half".starts_with(&seen.body), "{seen:?}");
        let first = seen.first();
        assert_eq!(
            (first.stage(), first.error(), first.fault()),
            (
                Stage::Body,
                Some(ErrorKind::ResponseBody),
                Some(Side::Upstream)
            )
        );
    }
    assert_eq!((cut, requests.load(SeqCst)), (5, 5));
    assert!(trial.is_ejected(0));
}

/// A GOAWAY by hand, after the first request, whose last stream is 0: the request is not processed (RFC 9113 6.8).
async fn says_goodbye_to(is_well: Arc<AtomicBool>) -> Server {
    server::raw(move |mut conn| {
        let is_well = is_well.clone();
        async move {
            if is_well.load(SeqCst) {
                let app = axum::Router::new().fallback(async || "ok");
                return server::speak(conn.into_stream(), app).await;
            }
            conn.take(24).await;
            conn.send(SETTINGS).await;
            while let Some((kind, _)) = next_frame(&mut conn).await {
                if kind == HEADERS {
                    break;
                }
            }
            conn.send([0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
                .await;
            is_well.store(true, SeqCst);
            conn.rest().await;
        }
    })
    .await
}

/// An empty SETTINGS frame.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The type of a HEADERS frame.
const HEADERS: u8 = 1;

/// Reads a frame, and returns its type and its stream.
async fn next_frame(conn: &mut Conn) -> Option<(u8, [u8; 4])> {
    let head: [u8; 9] = conn.take(9).await.try_into().ok()?;
    let [a, b, c, kind, _, stream @ ..] = head;
    conn.take(u32::from_be_bytes([0, a, b, c]) as usize).await;
    Some((kind, stream))
}

/// A request that came too late for a connection is sent on another one to the same server: no failure of it.
#[tokio::test]
async fn a_request_that_came_too_late_is_sent_on_another_connection() {
    for method in ["GET", "POST"] {
        let bad = says_goodbye_to(Arc::default()).await;
        let mut trial = Trial::new(in_turn(), &[bad.url_for(Http::Two)]).await;
        let request = http::Request::builder().method(method).uri("/");
        let seen = trial
            .send(request.body(axum_upstream::Body::empty()).unwrap())
            .await;
        seen.is_ok();
        assert_eq!(seen.path(), [0]);
        assert!(seen.first().is_success());
    }
}
