//! How attempts end, as `Info` tells it: which side is at fault decides what an endpoint is blamed for.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum_upstream::{
    Body, BoxError, EndpointSpec, Error, ErrorKind, Info, LoadBalance, Outcome, ReverseProxy, Side,
    Stage, endpoint::BoxService, upstream::Client,
};
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{Service, ServiceExt, service_fn};

use crate::support::{Conn, proxy, server, within};

type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, BoxError>>;

/// A body that is sent frame by frame; it ends when the sender is dropped.
fn streamed() -> (Frames, Body) {
    let (frames, receiver) = mpsc::unbounded_channel();
    (
        frames,
        Body::new(StreamBody::new(UnboundedReceiverStream::new(receiver))),
    )
}

fn data(bytes: &'static str) -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(bytes.as_bytes())))
}

fn get() -> Request<Body> {
    Request::get("/")
        .header("host", "a")
        .body(Body::empty())
        .unwrap()
}

fn post(body: Body) -> Request<Body> {
    Request::post("/").header("host", "a").body(body).unwrap()
}

/// A cluster of one endpoint that answers by `service`.
fn one<S, F>(service: S) -> LoadBalance<BoxService>
where
    S: FnMut(Request<Body>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, BoxError>> + Send + 'static,
{
    let spec = EndpointSpec::new("one", service_fn(service)).boxed();
    LoadBalance::builder().endpoints([spec]).unwrap()
}

fn only(info: &Info) -> Option<Outcome> {
    let mut attempts = info.attempts();
    let attempt = attempts.next().expect("an attempt was made");
    assert!(attempts.next().is_none());
    attempt.outcome()
}

fn info<B>(response: &Response<B>) -> Info {
    response
        .extensions()
        .get::<Info>()
        .expect("errors have one, too")
        .clone()
}

fn error<B>(response: &Response<B>) -> ErrorKind {
    response
        .extensions()
        .get::<Arc<Error>>()
        .expect("an error")
        .kind()
}

async fn reads_all(request: Request<Body>) -> Result<Response<Body>, BoxError> {
    request.into_body().collect().await?;
    Ok(Response::new(Body::empty()))
}

#[tokio::test]
async fn a_whole_exchange_is_a_success() {
    let mut proxy = ReverseProxy::new(one(|_| async { Ok(Response::new(Body::from("ok"))) }));
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    assert_eq!(info.endpoint(), Some("one"));
    assert_eq!(only(&info), None, "the body has not ended");
    response.into_body().collect().await.unwrap();
    let outcome = only(&info).unwrap();
    assert!(outcome.is_success() && outcome.is_sent());
    assert_eq!(outcome.stage(), Stage::Complete);
}

#[tokio::test]
async fn a_client_that_leaves_is_at_fault_itself() {
    let mut proxy = ReverseProxy::new(one(|_| async {
        let (frames, body) = streamed();
        frames.send(data("first")).unwrap();
        tokio::spawn(async move { frames.closed().await });
        Ok(Response::new(body))
    }));
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    drop(response);
    let outcome = only(&info).unwrap();
    assert_eq!(outcome.fault(), Some(Side::Downstream));
    assert_eq!(
        (outcome.stage(), outcome.error()),
        (Stage::Body, Some(ErrorKind::ClientGone))
    );
}

/// The endpoint's connection breaks because the client broke its upload: that is not the endpoint's failure.
#[tokio::test]
async fn an_upload_that_the_client_breaks_is_the_clients_fault() {
    let mut proxy = ReverseProxy::new(one(reads_all));
    let (frames, body) = streamed();
    frames.send(data("half")).unwrap();
    frames.send(Err("reset".into())).unwrap();
    let response = proxy.call(post(body)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), error(&response)),
        (400, ErrorKind::RequestBody)
    );
    assert_eq!(
        only(&info(&response)).unwrap().fault(),
        Some(Side::Downstream)
    );
}

/// The same over real connections, where hyper's error says only that the exchange failed.
#[tokio::test]
async fn an_upload_that_breaks_over_a_connection_is_the_clients_fault() {
    within(async {
        for scheme in ["http", "h2c"] {
            let app = axum::Router::new().fallback(|body: Bytes| async move { body });
            let server = server::app(app).await;
            let client = Client::new(&format!("{scheme}://{}", server.address)).unwrap();
            let balance = LoadBalance::builder().endpoints([client.into()]).unwrap();
            let mut proxy = ReverseProxy::new(balance);
            let (frames, body) = streamed();
            frames.send(data("half")).unwrap();
            frames.send(Err("reset".into())).unwrap();
            let response = proxy.call(post(body)).await.unwrap();
            assert_eq!(error(&response), ErrorKind::RequestBody, "{scheme}");
            let outcome = only(&info(&response)).unwrap();
            assert_eq!(outcome.fault(), Some(Side::Downstream), "{scheme}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_upload_that_is_too_large_is_the_clients_fault() {
    let mut proxy = ReverseProxy::new(one(reads_all)).body_limit(5);
    let (frames, body) = streamed();
    frames.send(data("123456")).unwrap();
    let response = proxy.call(post(body)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), error(&response)),
        (413, ErrorKind::BodyTooLarge)
    );
    assert_eq!(
        only(&info(&response)).unwrap().fault(),
        Some(Side::Downstream)
    );
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_stalls_is_the_clients_fault() {
    let mut proxy = ReverseProxy::new(one(reads_all)).idle_timeout(Duration::from_secs(10));
    let (_frames, body) = streamed();
    let response = proxy.call(post(body)).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), error(&response)),
        (408, ErrorKind::ClientStalled)
    );
    let outcome = only(&info(&response)).unwrap();
    assert_eq!(outcome.fault(), Some(Side::Downstream));
    assert_eq!(outcome.error(), Some(ErrorKind::ClientStalled));
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_does_not_answer_is_at_fault() {
    let silent = || one(|_| std::future::pending());
    let second = Duration::from_secs(1);
    for (mut proxy, kind) in [
        (
            ReverseProxy::new(silent()).response_timeout(second),
            ErrorKind::ResponseTimeout,
        ),
        (
            ReverseProxy::new(silent()).total_timeout(second),
            ErrorKind::TotalTimeout,
        ),
    ] {
        let response = proxy.call(get()).await.unwrap();
        assert_eq!((response.status().as_u16(), error(&response)), (504, kind));
        let outcome = only(&info(&response)).unwrap();
        assert_eq!(
            (outcome.fault(), outcome.error()),
            (Some(Side::Upstream), Some(kind))
        );
        assert_eq!(outcome.stage(), Stage::Head);
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_stalls_in_its_body_is_at_fault() {
    let mut proxy = ReverseProxy::new(one(|_| async {
        let (frames, body) = streamed();
        tokio::spawn(async move { frames.closed().await });
        Ok(Response::new(body))
    }))
    .idle_timeout(Duration::from_secs(10));
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    response.into_body().collect().await.unwrap_err();
    let outcome = only(&info).unwrap();
    assert_eq!(outcome.fault(), Some(Side::Upstream));
    assert_eq!(
        (outcome.stage(), outcome.error()),
        (Stage::Body, Some(ErrorKind::IdleTimeout))
    );
}

#[tokio::test]
async fn a_response_body_that_breaks_is_the_endpoints_failure() {
    let mut proxy = ReverseProxy::new(one(|_| async {
        let (frames, body) = streamed();
        frames.send(data("half")).unwrap();
        frames.send(Err("reset".into())).unwrap();
        Ok(Response::new(body))
    }));
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    response.into_body().collect().await.unwrap_err();
    let outcome = only(&info).unwrap();
    assert!(outcome.is_failure());
    assert_eq!(
        (outcome.stage(), outcome.error()),
        (Stage::Body, Some(ErrorKind::ResponseBody))
    );
}

#[tokio::test]
async fn a_grpc_status_in_trailers_counts() {
    for (status, failed) in [("0", false), ("5", false), ("8", false), ("14", true)] {
        let mut proxy = ReverseProxy::new(one(move |_| async move {
            let (frames, body) = streamed();
            frames.send(data("message")).unwrap();
            let trailers = HeaderMap::from_iter([("grpc-status".parse()?, status.parse()?)]);
            frames.send(Ok(Frame::trailers(trailers))).unwrap();
            Ok(Response::new(body))
        }));
        let response = proxy.call(get()).await.unwrap();
        let info = info(&response);
        response.into_body().collect().await.unwrap();
        assert_eq!(
            only(&info).unwrap().is_failure(),
            failed,
            "grpc-status {status}"
        );
    }
}

#[tokio::test]
async fn a_status_counts_where_it_speaks_of_the_server() {
    for (status, failed) in [
        (200, false),
        (404, false),
        (429, false),
        (500, true),
        (501, false),
        (502, true),
        (503, true),
        (504, true),
        (505, false),
    ] {
        let mut proxy = ReverseProxy::new(one(move |_| async move {
            Ok(Response::builder().status(status).body(Body::empty())?)
        }));
        let response = proxy.call(get()).await.unwrap();
        assert_eq!(
            only(&info(&response)).unwrap().is_failure(),
            failed,
            "{status}"
        );
    }
}

/// Our own limit is not the endpoint's failure, and nothing was sent.
#[tokio::test]
async fn max_connections_is_our_own_limit() {
    within(async {
        let (server, mut requests) = server::canned("").await;
        let client = Client::builder()
            .max_connections(1)
            .connect_timeout(Duration::from_millis(20));
        let balance = LoadBalance::builder()
            .client(client)
            .urls([server.url()])
            .unwrap();
        let mut proxy = ReverseProxy::new(balance);
        let mut busy = proxy.clone();
        let busy = tokio::spawn(async move { busy.call(get()).await });
        requests.recv().await.expect("the first has the connection");
        let response = proxy.call(get()).await.unwrap();
        assert_eq!(error(&response), ErrorKind::MaxConnections);
        let outcome = only(&info(&response)).unwrap();
        assert_eq!(outcome.fault(), Some(Side::Internal));
        assert_eq!(
            (outcome.stage(), outcome.is_sent()),
            (Stage::Connect, false)
        );
        busy.abort();
    })
    .await;
}

#[tokio::test]
async fn a_refused_connection_is_an_attempt_that_sent_nothing() {
    let (refusing, (server, _requests)) = (server::refusing(), server::canned(proxy::OK).await);
    let balance = LoadBalance::builder()
        .seed(1)
        .policy(axum_upstream::policy::RoundRobin);
    let balance = balance.urls([refusing.url(), server.url()]).unwrap();
    let response = balance.oneshot(get()).await.unwrap();
    let info = info(&response);
    response.into_body().collect().await.unwrap();
    let attempts: Vec<_> = info
        .attempts()
        .map(|attempt| (attempt.endpoint().to_owned(), attempt.outcome().unwrap()))
        .collect();
    assert_eq!(attempts[0].0, refusing.url());
    assert!(attempts[0].1.is_failure() && !attempts[0].1.is_sent());
    assert_eq!(attempts[0].1.error(), Some(ErrorKind::Connect));
    assert_eq!(attempts[1].0, server.url());
    assert!(attempts[1].1.is_success());
    assert_eq!(info.endpoint(), Some(&*server.url()));
}

/// A cluster that is an endpoint of a cluster: the whole way is told, the innermost endpoint last.
#[tokio::test]
async fn info_tells_the_whole_path() {
    let ok = service_fn(|_: Request<Body>| async {
        Ok::<_, Infallible>(Response::new(Body::from("ok")))
    });
    let inner = LoadBalance::builder()
        .endpoints([EndpointSpec::new("a", ok).boxed()])
        .unwrap();
    let outer = LoadBalance::builder()
        .endpoints([EndpointSpec::new("blue", inner)])
        .unwrap();
    let mut proxy = ReverseProxy::new(outer);
    let response = proxy.call(get()).await.unwrap();
    let info = info(&response);
    assert_eq!(info.path(), ["blue", "a"]);
    assert_eq!(info.endpoint(), Some("a"));
    response.into_body().collect().await.unwrap();
    assert!(
        info.attempts()
            .all(|attempt| attempt.outcome().unwrap().is_success())
    );
}

/// A proxy for one server has no balancer, and tells of its attempt all the same.
#[tokio::test]
async fn one_server_has_an_attempt_too() {
    within(async {
        let (server, _requests) = server::canned(proxy::OK).await;
        let mut proxy = ReverseProxy::to(&server.url()).unwrap();
        let response = proxy.call(get()).await.unwrap();
        let info = info(&response);
        assert_eq!(info.endpoint(), Some(&*server.url()));
        response.into_body().collect().await.unwrap();
        assert!(only(&info).unwrap().is_success());

        let refusing = server::refusing();
        let mut proxy = ReverseProxy::to(&refusing.url()).unwrap();
        let response = proxy.call(get()).await.unwrap();
        assert_eq!(error(&response), ErrorKind::Connect);
        assert!(only(&self::info(&response)).unwrap().is_failure());
    })
    .await;
}

/// A tunnel is a success, whichever side ends it.
#[tokio::test]
async fn a_tunnel_ends_as_a_success() {
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
            conn.rest().await;
        })
        .await;
        let (tell, mut infos) = mpsc::unbounded_channel();
        let balance = LoadBalance::new([server.url()]).unwrap();
        let proxy = ReverseProxy::new(balance)
            .rewrite_response(move |head| {
                tell.send(head.extensions.get::<Info>().unwrap().clone()).unwrap();
            });
        let proxy = proxy::serve(proxy).await;
        let mut client = Conn::connect(proxy.address).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
        client.head().await.unwrap();
        let info = infos.recv().await.unwrap();
        assert_eq!(only(&info), None, "the tunnel is open");
        client.finish().await;
        client.rest().await;
        crate::support::eventually(|| only(&info).is_some_and(|outcome| outcome.is_success())).await;
    })
    .await;
}

/// A response that must not be relayed is the endpoint's failure, although it is this side that gives it up.
#[tokio::test]
async fn a_response_that_is_refused_is_the_endpoints_failure() {
    let unasked = |_| async {
        let switching = Response::builder()
            .status(101)
            .header("upgrade", "websocket");
        Ok(switching.body(Body::empty()).unwrap())
    };
    let two_lengths = |_| async {
        let response = Response::builder()
            .header("content-length", "1")
            .header("content-length", "2");
        Ok(response.body(Body::from("x")).unwrap())
    };
    for balance in [one(unasked), one(two_lengths)] {
        let mut proxy = ReverseProxy::new(balance);
        let response = proxy.call(get()).await.unwrap();
        assert_eq!(response.status(), 502);
        let outcome = only(&info(&response)).unwrap();
        assert!(outcome.is_failure(), "{outcome:?}");
        assert_eq!(outcome.error(), Some(error(&response)));
    }
}
