//! Deadlines, on a clock that moves when nothing else can.

use std::{convert::Infallible, future::pending, sync::Arc, time::Duration};

use axum_upstream::{
    Body, BoxError, EndpointSpec, Error, LoadBalance, RequestTimeouts, ReverseProxy,
    upstream::Client,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::time::Instant;
use tokio_stream::StreamExt;
use tower::{ServiceExt, service_fn};

use crate::support::{server, tls};

fn post(body: Body) -> Request<Body> {
    Request::post("http://a/").body(body).unwrap()
}

/// Frames that come after `every`, `count` of them, then nothing for ever.
fn slow(every: Duration, count: usize) -> Body {
    let frames = tokio_stream::iter(0..count).then(move |_| async move {
        tokio::time::timeout(every, pending::<()>())
            .await
            .unwrap_err();
        Ok::<_, Infallible>(Frame::data(Bytes::from("x")))
    });
    Body::new(StreamBody::new(frames.chain(tokio_stream::pending())))
}

async fn read(mut body: Body) -> Result<(), BoxError> {
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(())
}

/// The head is due 60 s after the last byte of the request, by default.
#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_a_504() {
    let start = Instant::now();
    let silent = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    let response = ReverseProxy::new(silent)
        .oneshot(post(Body::empty()))
        .await
        .unwrap();
    assert_eq!(
        (response.status(), start.elapsed().as_secs()),
        (StatusCode::GATEWAY_TIMEOUT, 60)
    );

    let start = Instant::now();
    let proxy = ReverseProxy::new(silent).response_timeout(Duration::from_secs(3));
    assert_eq!(
        proxy.oneshot(post(Body::empty())).await.unwrap().status(),
        StatusCode::GATEWAY_TIMEOUT
    );
    assert_eq!(start.elapsed().as_secs(), 3);
}

/// The time for the head does not run while the upload moves, and runs in full from its end.
#[tokio::test(start_paused = true)]
async fn a_slow_upload_is_no_slow_answer() {
    let start = Instant::now();
    let silent = service_fn(|request: Request<Body>| async {
        request.into_body().collect().await?;
        pending::<()>().await;
        Ok::<_, BoxError>(Response::new(Body::empty()))
    });
    let frames = tokio_stream::iter(0..10).then(|_| async {
        tokio::time::timeout(Duration::from_secs(50), pending::<()>())
            .await
            .unwrap_err();
        Ok::<_, Infallible>(Frame::data(Bytes::from("x")))
    });
    let response = ReverseProxy::new(silent)
        .oneshot(post(Body::new(StreamBody::new(frames))))
        .await
        .unwrap();
    assert_eq!(
        (response.status(), start.elapsed().as_secs()),
        (StatusCode::GATEWAY_TIMEOUT, 560)
    );
}

/// Check 59: a client that stops sending is a 408, and its request is cancelled.
#[tokio::test(start_paused = true)]
async fn a_client_that_stalls_is_a_408() {
    let start = Instant::now();
    let reads = service_fn(|request: Request<Body>| async {
        read(request.into_body()).await?;
        Ok::<_, BoxError>(Response::new(Body::empty()))
    });
    let balance = LoadBalance::builder();
    let balance = balance
        .endpoints([EndpointSpec::new("reads", reads)])
        .unwrap();
    let handle = balance.handle();
    let body = slow(Duration::from_secs(30), 2);
    let response = ReverseProxy::new(balance)
        .oneshot(post(body))
        .await
        .unwrap();
    assert_eq!(
        (response.status(), start.elapsed().as_secs()),
        (StatusCode::REQUEST_TIMEOUT, 160)
    );
    assert_eq!(
        response
            .extensions()
            .get::<Arc<Error>>()
            .unwrap()
            .endpoint(),
        Some("reads")
    );
    assert_eq!(handle.endpoints()[0].in_flight, 0);
}

/// An endpoint that stops reading is at fault itself.
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_read_is_a_504() {
    let start = Instant::now();
    let deaf = service_fn(|request: Request<Body>| async {
        let mut body = request.into_body();
        body.frame().await;
        pending::<()>().await;
        drop(body);
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let frames = std::iter::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::from("x"))));
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    let response = ReverseProxy::new(deaf).oneshot(post(body)).await.unwrap();
    assert_eq!(
        (response.status(), start.elapsed().as_secs()),
        (StatusCode::GATEWAY_TIMEOUT, 100)
    );
}

/// In mid-response a deadline can only break the body.
#[tokio::test(start_paused = true)]
async fn a_response_that_stalls_breaks_off() {
    let stalls = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(slow(Duration::from_secs(90), 3)))
    });
    let start = Instant::now();
    let response = ReverseProxy::new(stalls)
        .oneshot(post(Body::empty()))
        .await
        .unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(start.elapsed().as_secs(), 3 * 90 + 100);

    let start = Instant::now();
    let proxy = ReverseProxy::new(stalls)
        .total_timeout(Duration::from_secs(200))
        .idle_timeout(None);
    let response = proxy.oneshot(post(Body::empty())).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(start.elapsed().as_secs(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_total_deadline_covers_the_wait_for_the_head() {
    let start = Instant::now();
    let silent = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    let proxy = ReverseProxy::new(silent)
        .total_timeout(Duration::from_secs(7))
        .response_timeout(None);
    assert_eq!(
        proxy.oneshot(post(Body::empty())).await.unwrap().status(),
        StatusCode::GATEWAY_TIMEOUT
    );
    assert_eq!(start.elapsed().as_secs(), 7);
}

/// A server that takes the connection and says nothing: the handshake counts into the connect timeout.
#[tokio::test]
async fn connecting_too_slowly_is_a_504() {
    let silent = server::raw(|mut conn| async move { drop(conn.rest().await) }).await;
    let url = silent.url().replace("http://", "https://");
    let client = Client::builder()
        .tls(tls::trusting_nobody())
        .connect_timeout(Duration::from_millis(20));
    let response = ReverseProxy::new(client.build(&url).unwrap())
        .oneshot(post(Body::empty()))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    let error = response.extensions().get::<Arc<Error>>().unwrap();
    assert!(error.is_timeout() && error.is_connect());
    assert_eq!(error.endpoint(), Some(url.as_str()));
}

/// A deadline that could be missed: the upload moves in another task, and nothing else wakes the wait.
#[tokio::test(start_paused = true)]
async fn a_head_is_due_however_the_upload_moves() {
    let start = Instant::now();
    let spawns = service_fn(|request: Request<Body>| async {
        tokio::spawn(async { drop(request.into_body().collect().await) });
        pending::<()>().await;
        Ok::<_, Infallible>(Response::new(Body::empty()))
    });
    let frames = tokio_stream::iter(0..2).then(|_| async {
        tokio::time::timeout(Duration::from_secs(50), pending::<()>())
            .await
            .unwrap_err();
        Ok::<_, Infallible>(Frame::data(Bytes::from("x")))
    });
    let proxy = ReverseProxy::new(spawns).idle_timeout(None);
    let response = proxy
        .oneshot(post(Body::new(StreamBody::new(frames))))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert!(
        (160..230).contains(&start.elapsed().as_secs()),
        "{:?}",
        start.elapsed()
    );
}

/// A request's own deadlines replace the proxy's; what sets them last, the hook, counts.
#[tokio::test(start_paused = true)]
async fn a_request_may_have_deadlines_of_its_own() {
    let silent = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    let proxy = ReverseProxy::new(silent).total_timeout(Duration::from_secs(5));
    let own = RequestTimeouts::new()
        .response(Duration::from_secs(600))
        .total(None);
    let calling = proxy.clone().rewrite_request(|head| {
        head.method = http::Method::POST;
        let grpc = http::HeaderValue::from_static("application/grpc");
        head.headers.insert("content-type", grpc);
        let timeout = http::HeaderValue::from_static("2S");
        head.headers.insert("grpc-timeout", timeout);
    });
    let hooked = proxy.clone().rewrite_request(move |head| {
        head.extensions.insert(own.response(Duration::from_secs(7)));
    });
    for (proxy, seconds) in [(proxy, 600), (hooked, 7), (calling, 2)] {
        let start = Instant::now();
        let mut request = post(Body::empty());
        request.extensions_mut().insert(own);
        let response = proxy.oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
}

/// gRPC's deadline is that of the whole call, and ends one that hangs with the status that the client's own timer
/// gives.
#[tokio::test(start_paused = true)]
async fn a_grpc_call_ends_at_its_deadline() {
    let silent = service_fn(|_: Request<Body>| pending::<Result<Response<Body>, Infallible>>());
    let start = Instant::now();
    let call = Request::post("http://a/echo.Echo/Say")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "1500m");
    let response = ReverseProxy::new(silent)
        .oneshot(call.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(start.elapsed(), Duration::from_millis(1500));
    assert_eq!(response.headers()["grpc-status"], "4", "DEADLINE_EXCEEDED");
}

/// Neither exchanges that are over nor those that were dropped leave a timer behind: the tasks of the timers end.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_deadlines() {
    let slow = service_fn(|_: Request<Body>| async {
        tokio::task::yield_now().await;
        let frames = tokio_stream::once(()).then(|()| async {
            tokio::task::yield_now().await;
            Ok::<_, Infallible>(Frame::data(Bytes::from("x")))
        });
        Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames))))
    });
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let proxy = ReverseProxy::new(slow).total_timeout(Duration::from_secs(3_600));
    for n in 0..10_000 {
        let mut exchange = Box::pin(async {
            let response = proxy.clone().oneshot(post(Body::empty())).await.unwrap();
            response.into_body().collect().await.unwrap()
        });
        // Pending twice: for the head, and for the body.
        for _ in 0..n % 3 {
            assert!(futures_util::poll!(&mut exchange).is_pending());
        }
        assert!(n % 3 == 0 || tasks() > 0);
        if n % 2 == 0 {
            exchange.await;
        }
    }
    // The task of the timers ends within a second of the last one. The watch over unread bodies looks every 10 s.
    tokio::time::sleep(Duration::from_millis(1_001)).await;
    assert_eq!(tasks(), 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(tasks(), 0);
}

/// What a client reads late is whole all the same, once the endpoint has sent it in time.
#[tokio::test(start_paused = true)]
async fn a_complete_response_is_not_broken_by_the_total_deadline() {
    let whole = service_fn(|_: Request<Body>| async {
        let frames = tokio_stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("x")))]);
        Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames))))
    });
    let proxy = ReverseProxy::new(whole).total_timeout(Duration::from_secs(3));
    let response = proxy.oneshot(post(Body::empty())).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(body.frame().await.is_none());
}
