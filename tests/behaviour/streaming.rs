//! Bodies: frame by frame, trailers, early answers, and everything that breaks off.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body as AxumBody, extract::Request, response::Response, routing::any};
use axum_upstream::{Body, LoadBalance, ReverseProxy};
use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::UnboundedReceiverStream};
use tower::ServiceExt;

use crate::support::{Client, Conn, client::text, eventually, proxy, server, versions, within};

/// A body fed by hand.
#[allow(clippy::type_complexity, reason = "half of it has no name")]
fn channel() -> (
    mpsc::UnboundedSender<Frame<Bytes>>,
    StreamBody<impl tokio_stream::Stream<Item = Result<Frame<Bytes>, Infallible>>>,
) {
    let (feed, frames) = mpsc::unbounded_channel();
    (
        feed,
        StreamBody::new(UnboundedReceiverStream::new(frames).map(Ok)),
    )
}

/// A server with this body for its one response.
async fn answering(body: AxumBody) -> server::Server {
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let answer = move || async move { Response::new(body.lock().unwrap().take().unwrap()) };
    server::app(Router::new().fallback(answer)).await
}

fn trailers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

versions! {
    /// Check 52: the head alone, then each frame, as soon as it is there.
    async fn responses_stream(down, up) {
        let (feed, body) = channel();
        let server = answering(AxumBody::new(body)).await;
        let proxy = proxy::to(&server.url_for(up)).await;
        let mut client = Client::connect(down, proxy.address).await;
        let mut response = client.get("/").await;
        for word in ["one", "two", "three"] {
            feed.send(Frame::data(word.into())).unwrap();
            assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), word);
        }
        drop(feed);
        assert_eq!(text(response).await, "");
    }
}

versions! {
    /// Both bodies at once, each frame answered before the next is sent.
    async fn both_directions_flow_at_once(down, up) {
        let app = Router::new().fallback(|request: Request| async { Response::new(request.into_body()) });
        let server = server::app(app).await;
        let proxy = proxy::to(&server.url_for(up)).await;
        let mut client = Client::connect(down, proxy.address).await;
        let (feed, body) = channel();
        let mut response = client.send(http::Request::post("/").body(Body::new(body)).unwrap()).await;
        for word in ["one", "two", "three"] {
            feed.send(Frame::data(word.into())).unwrap();
            assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), word);
        }
        drop(feed);
        assert_eq!(text(response).await, "");
    }
}

versions! {
    /// Check 53: trailers come through, after a body and after none, and what may not be one does not.
    async fn response_trailers_arrive(down, up) {
        for data in ["x", ""] {
            let app = Router::new().fallback(move || async move {
                let frames = (!data.is_empty()).then(|| Frame::data(Bytes::from(data)));
                let last = Frame::trailers(trailers(&[("x-sum", "7"), ("content-length", "9"), ("x-two", "2")]));
                let frames = frames.into_iter().chain([last]).map(Ok::<_, Infallible>);
                let body = AxumBody::new(StreamBody::new(tokio_stream::iter(frames)));
                Response::builder().header("trailer", "x-sum, content-length, x-two").body(body).unwrap()
            });
            let server = server::app(app).await;
            let proxy = proxy::to(&server.url_for(up)).await;
            let mut client = Client::connect(down, proxy.address).await;
            let request = http::Request::get("/").header("te", "trailers").body(Body::empty()).unwrap();
            let collected = client.send(request).await.into_body().collect().await.unwrap();
            assert_eq!(collected.trailers(), Some(&trailers(&[("x-sum", "7"), ("x-two", "2")])), "{data:?}");
            assert_eq!(collected.to_bytes(), data);
        }
    }
}

versions! {
    /// Check 54: announced request trailers arrive as trailers, others do not arrive.
    async fn request_trailers_arrive_when_announced(down, up) {
        let app = Router::new().fallback(|request: Request| async {
            let head = request.headers().contains_key("x-sum");
            let collected = request.into_body().collect().await.unwrap();
            let sum = collected.trailers().and_then(|t| t.get("x-sum")).map(|v| v.to_str().unwrap().to_owned());
            format!("{head} {sum:?}")
        });
        let server = server::app(app).await;
        let proxy = proxy::to(&server.url_for(up)).await;
        for announced in [true, false] {
            let mut client = Client::connect(down, proxy.address).await;
            let (feed, body) = channel();
            feed.send(Frame::data("x".into())).unwrap();
            feed.send(Frame::trailers(trailers(&[("x-sum", "7")]))).unwrap();
            drop(feed);
            let mut request = http::Request::post("/").body(Body::new(body)).unwrap();
            if announced {
                request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            }
            let expected = if announced { "false Some(\"7\")" } else { "false None" };
            assert_eq!(text(client.send(request).await).await, expected);
        }
    }
}

versions! {
    /// Check 55: a body that breaks off at the endpoint breaks off at the client.
    async fn a_broken_response_is_visibly_broken(down, up) {
        let (feed, frames) = mpsc::unbounded_channel();
        let server = answering(AxumBody::new(StreamBody::new(UnboundedReceiverStream::new(frames)))).await;
        let proxy = proxy::to(&server.url_for(up)).await;
        let mut client = Client::connect(down, proxy.address).await;
        let mut response = client.get("/").await;
        feed.send(Ok(Frame::data(Bytes::from("half")))).unwrap();
        assert_eq!(response.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
        feed.send(Err("broken")).unwrap();
        assert!(response.into_body().collect().await.is_err());
    }
}

/// Check 55, in bytes: neither a last chunk nor a full length nor a word of ours.
#[tokio::test]
async fn a_server_that_dies_leaves_no_clean_end() {
    for (sent, got) in [
        ("Content-Length: 10\r\n\r\nhalf", "half"),
        (
            "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "4\r\nhalf\r\n",
        ),
    ] {
        within(async {
            let (die, death) = tokio::sync::watch::channel(());
            let server = server::raw(move |mut conn| {
                let mut death = death.clone();
                async move {
                    conn.head().await;
                    conn.send(format!("HTTP/1.1 200 OK\r\n{sent}")).await;
                    death.changed().await.unwrap();
                }
            })
            .await;
            let proxy = proxy::to(&server.url()).await;
            let mut client = Conn::connect(proxy.address).await;
            client.send(proxy::get("")).await;
            assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
            assert_eq!(client.take(got.len()).await, got.as_bytes());
            die.send(()).unwrap();
            assert!(client.closed().await, "something came after the break");
        })
        .await;
    }
}

/// A server that dies before a whole head is a 502.
#[tokio::test]
async fn a_server_that_dies_in_its_head_is_a_502() {
    for sent in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
    ] {
        within(async {
            let server = server::raw(move |mut conn| async move {
                conn.head().await;
                conn.send(sent).await;
            })
            .await;
            let proxy = proxy::to(&server.url()).await;
            let mut client = Conn::connect(proxy.address).await;
            client
                .send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
                .await;
            assert_eq!(client.response().await.unwrap().status(), 502, "{sent:?}");
        })
        .await;
    }
}

versions! {
    /// Check 56: a client that leaves takes its request along, and its count.
    async fn a_client_that_leaves_cancels(down, up) {
        struct Gone(mpsc::UnboundedSender<()>);
        impl Drop for Gone {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let (gone, mut leaves) = mpsc::unbounded_channel();
        let (arrived, mut arrivals) = mpsc::unbounded_channel();
        let app = Router::new().fallback(move || {
            let (guard, arrived) = (Gone(gone.clone()), arrived.clone());
            async move {
                let _guard = guard;
                let _ = arrived.send(());
                std::future::pending::<()>().await;
            }
        });
        let server = server::app(app).await;
        let balance = LoadBalance::new([server.url_for(up)]).unwrap();
        let handle = balance.handle();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        let mut client = Client::connect(down, proxy.address).await;
        tokio::select! {
            _ = client.get("/") => panic!("no answer was sent"),
            _ = arrivals.recv() => {}
        }
        assert_eq!(handle.endpoints()[0].in_flight, 1);
        client.abort().await;
        leaves.recv().await.unwrap();
        eventually(|| handle.endpoints()[0].in_flight == 0).await;
    }
}

versions! {
    /// Check 56, later: a client that leaves in mid-body stops the endpoint's sending.
    async fn a_client_that_leaves_in_mid_body_cancels(down, up) {
        let (feed, body) = channel();
        let server = answering(AxumBody::new(body)).await;
        let balance = LoadBalance::new([server.url_for(up)]).unwrap();
        let handle = balance.handle();
        let proxy = proxy::serve(ReverseProxy::new(balance)).await;
        let mut client = Client::connect(down, proxy.address).await;
        let mut response = client.get("/").await;
        feed.send(Frame::data("x".into())).unwrap();
        response.frame().await.unwrap().unwrap();
        assert_eq!(handle.endpoints()[0].in_flight, 1, "check 67: load until the last byte");
        client.abort().await;
        drop(response);
        feed.closed().await;
        eventually(|| handle.endpoints()[0].in_flight == 0).await;
    }
}

versions! {
    /// Check 57: an answer that comes before the upload has ended reaches the client.
    async fn an_early_answer_arrives(down, up) {
        let app = Router::new().fallback(|| async { (http::StatusCode::PAYLOAD_TOO_LARGE, "enough") });
        let server = server::app(app).await;
        let proxy = proxy::to(&server.url_for(up)).await;
        let mut client = Client::connect(down, proxy.address).await;
        let (feed, body) = channel();
        feed.send(Frame::data(vec![0; 1 << 20].into())).unwrap();
        let response = client.send(http::Request::post("/").body(Body::new(body)).unwrap()).await;
        assert_eq!(response.status(), 413);
        assert_eq!(text(response).await, "enough");
        drop(feed);
    }
}

/// Check 57, in bytes: 100 MiB announced, and a server that closes after its answer.
#[tokio::test]
async fn an_early_answer_survives_a_long_upload() {
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send(
                "HTTP/1.1 413 Too Large\r\nContent-Length: 6\r\nConnection: close\r\n\r\nenough",
            )
            .await;
            conn.finish().await;
            conn.rest().await;
        })
        .await;
        let proxy = proxy::to(&server.url()).await;
        let mut client = Conn::connect(proxy.address).await;
        client
            .send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 104857600\r\n\r\n")
            .await;
        // Most clients write until somebody stops them, and only then read.
        let chunk = vec![0; 1 << 20];
        for _ in 0..100 {
            if !client.try_send(&chunk).await {
                break;
            }
        }
        let response = client.response().await.expect("the answer was lost");
        assert_eq!(
            (response.status(), response.text().as_str()),
            (413, "enough")
        );
    })
    .await;
}

/// Check 58: the endpoint's body is asked for frames as fast as the client takes them, no faster.
#[tokio::test]
async fn a_slow_reader_holds_the_endpoint_back() {
    let polled = Arc::new(AtomicUsize::new(0));
    let count = polled.clone();
    let endpoint = tower::service_fn(move |_: http::Request<Body>| {
        let count = count.clone();
        let frames = tokio_stream::iter(std::iter::repeat_with(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 1024])))
        }));
        async move { Ok::<_, Infallible>(http::Response::new(StreamBody::new(frames))) }
    });
    let proxy = ReverseProxy::new(endpoint);
    let request = http::Request::get("http://a/").body(Body::empty()).unwrap();
    let mut body = proxy.oneshot(request).await.unwrap().into_body();
    assert_eq!(polled.load(Ordering::Relaxed), 0);
    for taken in 1..=3 {
        body.frame().await.unwrap().unwrap();
        assert_eq!(polled.load(Ordering::Relaxed), taken);
    }
}

/// Check 60: past the limit is a 413, and the endpoint never sees a whole request.
#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let limited = |p: ReverseProxy| p.body_limit(4);
    let long = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde";
    let proxy = proxy::exchange_with(limited, long, proxy::OK).await;
    assert_eq!(proxy.down.status(), 413);
    assert!(proxy.up.is_none());
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n1\r\ne\r\n0\r\n\r\n";
    let proxy = proxy::exchange_with(limited, chunked, proxy::OK).await;
    assert_eq!(proxy.down.status(), 413);
    assert!(proxy.up.is_none());
    let fits =
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n";
    assert_eq!(
        proxy::exchange_with(limited, fits, proxy::OK)
            .await
            .down
            .status(),
        200
    );
}

/// A body that is broken on its way to us is a 400 to whoever can still read it, and no whole request to the endpoint.
#[tokio::test]
async fn a_broken_request_body_is_no_request() {
    let broken = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\nnonsense\r\n\r\n";
    let proxy = proxy::exchange(broken, proxy::OK).await;
    assert_eq!(proxy.down.status(), 400);
    assert!(proxy.up.is_none());
}

/// Check 63: nothing is left of requests cancelled at any stage.
#[tokio::test]
async fn cancelled_requests_leave_nothing_behind() {
    within(async {
        let app = Router::new().route(
            "/",
            any(|| async {
                let frames = tokio_stream::iter(
                    (0..8).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[0; 512])))),
                );
                Response::new(AxumBody::new(StreamBody::new(frames)))
            }),
        );
        let server = server::app(app).await;
        let balance =
            LoadBalance::new([server.url(), server.url_for(crate::support::Http::Two)]).unwrap();
        let handle = balance.handle();
        let proxy = ReverseProxy::new(balance);
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..2_000 {
            let request = http::Request::get("http://a/").body(Body::empty()).unwrap();
            let steps = random.usize(..12);
            let exchange = async {
                let mut body = proxy.clone().oneshot(request).await.unwrap().into_body();
                while let Some(frame) = body.frame().await {
                    frame.unwrap();
                }
            };
            let mut polls = 0;
            let mut exchange = std::pin::pin!(exchange);
            std::future::poll_fn(|cx| {
                polls += 1;
                match exchange.as_mut().poll(cx) {
                    std::task::Poll::Pending if polls < steps => {
                        cx.waker().wake_by_ref();
                        std::task::Poll::Pending
                    }
                    _ => std::task::Poll::Ready(()),
                }
            })
            .await;
        }
        eventually(|| {
            handle
                .endpoints()
                .iter()
                .all(|endpoint| endpoint.in_flight == 0)
        })
        .await;
    })
    .await;
}
