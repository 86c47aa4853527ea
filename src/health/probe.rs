//! [`Probe`]: the checks of one endpoint, one after the other.

use std::{
    future::{Future, pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    task::Poll,
};

use bytes::Bytes;
use http::{Request, Response};
use tokio::time::{Instant, timeout_at};
use tower::Service;

use super::{
    check::{CheckKind, HealthCheck},
    failure::CheckFailure,
    grpc::{GrpcCheck, States},
};
use crate::{
    body::Body,
    clock::after,
    error::{BoxError, Error},
    grpc::UNIMPLEMENTED,
};

/// A connection that is being made to an endpoint, to see whether it can be.
pub(crate) type ConnectFuture = Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>;

/// The checks of one endpoint. `B` is the response body of its service.
///
/// Dropping it ends a `Watch` that goes on between two checks.
#[derive(Debug)]
pub(crate) struct Probe<B> {
    check: HealthCheck,
    /// What the server says of itself from the latest check on, if it has `Watch`.
    watch: Option<States<B>>,
    /// Whether the server has said that it has no `Watch`. It is not asked again.
    lacks_watch: bool,
}

impl<B> Probe<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// Returns the checks of an endpoint that has not been checked.
    pub(crate) fn new(check: HealthCheck) -> Self {
        Self {
            check,
            watch: None,
            lacks_watch: false,
        }
    }

    /// Checks the endpoint once: by `service`, or by `connect`, which makes the future of a connection if there is
    /// anything to connect to. Both run code of the user.
    ///
    /// # Errors
    ///
    /// Why the check failed. A panic of the user's code is a failure, too.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the check; the next one is not affected.
    pub(crate) async fn check<S>(
        &mut self,
        service: impl Fn() -> S,
        connect: impl FnOnce() -> Option<ConnectFuture>,
    ) -> Result<(), CheckFailure>
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Error>,
    {
        let Self {
            check,
            watch,
            lacks_watch,
        } = self;
        // The stream of the check before; the new one begins with the state as it is now.
        *watch = None;
        let check_once = async {
            match &check.kind {
                CheckKind::Http(http) => http.run(service()).await,
                CheckKind::Tcp => match connect() {
                    Some(connect) => connect.await.map_err(CheckFailure::Service),
                    None => Ok(()),
                },
                CheckKind::Grpc(grpc) => check_grpc(grpc, watch, lacks_watch, service).await,
            }
        };
        let deadline = after(Instant::now(), check.timeout);
        match timeout_at(deadline, caught(check_once)).await {
            Ok(result) => result,
            Err(_) => Err(CheckFailure::Timeout(check.timeout)),
        }
    }

    /// Waits until the server says that its state has changed since the latest check. Does not complete if it says
    /// nothing, cannot, or stops to.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn reported(&mut self) -> Result<(), CheckFailure> {
        if let Some(watch) = &mut self.watch {
            if let Ok(state) = caught(watch.next()).await {
                return state.judge();
            }
            // That a stream has ended says little: servers restart, and some limit how long a call may take. The next
            // check finds out.
            self.watch = None;
        }
        pending().await
    }
}

/// Watches the state, or asks for it if the server has no `Watch`.
async fn check_grpc<S, B>(
    grpc: &GrpcCheck,
    watch: &mut Option<States<B>>,
    lacks_watch: &mut bool,
    service: impl Fn() -> S,
) -> Result<(), CheckFailure>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Error>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    if !*lacks_watch {
        match grpc.watch(service()).await {
            Ok((state, states)) => {
                *watch = Some(states);
                return state.judge();
            }
            Err(CheckFailure::GrpcStatus(UNIMPLEMENTED)) => *lacks_watch = true,
            Err(failure) => return Err(failure),
        }
    }
    grpc.check(service()).await
}

/// Makes a panic of `future` a failure of the check.
///
/// Otherwise it would end the task that checks the endpoint, and with it all checks to come. The future is not polled
/// again afterwards.
async fn caught<T>(
    future: impl Future<Output = Result<T, CheckFailure>>,
) -> Result<T, CheckFailure> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        let poll = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        poll.unwrap_or(Poll::Ready(Err(CheckFailure::Panicked)))
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use http::{HeaderMap, StatusCode};
    use http_body::Frame;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;
    use tower::{service_fn, util::BoxCloneSyncService};

    use super::*;
    use crate::error::ErrorKind;

    type TestService = BoxCloneSyncService<Request<Body>, Response<Body>, Error>;
    type Answer = Result<Response<Body>, Error>;

    fn service<F>(
        answer: impl Fn(Request<Body>) -> F + Clone + Send + Sync + 'static,
    ) -> TestService
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        BoxCloneSyncService::new(service_fn(answer))
    }

    fn http() -> HealthCheck {
        HealthCheck::http("/healthz").unwrap()
    }

    async fn check(probe: &mut Probe<Body>, service: &TestService) -> Result<(), String> {
        let result = probe.check(|| service.clone(), || None).await;
        result.map_err(|failure| failure.to_string())
    }

    async fn check_once(check: HealthCheck, service: &TestService) -> Result<(), String> {
        let result = Probe::new(check).check(|| service.clone(), || None).await;
        result.map_err(|failure| failure.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn the_timeout_bounds_the_whole_check() {
        let begun = Instant::now();
        let silent = service(|_| pending::<Answer>());
        let failure = check_once(http(), &silent).await;
        assert_eq!(failure, Err("no result within 10s".to_owned()));
        let stalls = service(|_| async {
            let body = StreamBody::new(tokio_stream::pending::<Result<Frame<Bytes>, Error>>());
            Ok(Response::new(Body::new(body)))
        });
        let brief = http().timeout(Duration::from_secs(1)).unwrap();
        let failure = check_once(brief, &stalls).await;
        assert_eq!(failure, Err("no result within 1s".to_owned()));
        assert_eq!(begun.elapsed(), Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn no_timeout_waits() {
        let late = service(|_| async {
            tokio::time::sleep(Duration::from_secs(1_000_000)).await;
            Ok(Response::new(Body::empty()))
        });
        let patient = http().timeout(Duration::MAX).unwrap();
        assert_eq!(check_once(patient, &late).await, Ok(()));
    }

    #[tokio::test]
    async fn a_panic_is_a_failed_check() {
        let panics = service(|_| async { panic!("by the service") });
        let failure = Err("the check panicked".to_owned());
        assert_eq!(check_once(http(), &panics).await, failure);
        let ready = service(|_| async { Ok(Response::new(Body::empty())) });
        let closure = http().accept(|_| panic!("by the closure")).unwrap();
        let mut probe = Probe::new(closure);
        assert_eq!(check(&mut probe, &ready).await, failure);
        assert_eq!(check(&mut probe, &ready).await, failure, "and goes on");
    }

    #[tokio::test]
    async fn dropping_a_check_cancels_its_request() {
        let alive = Arc::new(());
        let held = alive.clone();
        let silent = service(move |_| {
            let held = held.clone();
            async move {
                let _held = held;
                pending::<Answer>().await
            }
        });
        let mut probe = Probe::new(http());
        let mut asked = Box::pin(check(&mut probe, &silent));
        assert!(futures_util::poll!(&mut asked).is_pending());
        assert_eq!(Arc::strong_count(&alive), 3);
        drop(asked);
        assert_eq!(Arc::strong_count(&alive), 2);
        let ready = service(|_| async { Ok(Response::new(Body::empty())) });
        assert_eq!(check(&mut probe, &ready).await, Ok(()));
    }

    #[tokio::test]
    async fn tcp_is_what_connecting_says() {
        let unused = service(|_| async { panic!("TCP sends no request") });
        let probe = || Probe::<Body>::new(HealthCheck::tcp());
        let connect = |result: Result<(), ErrorKind>| {
            let future = async move { result.map_err(Error::new) };
            move || Some(Box::pin(future) as ConnectFuture)
        };
        let passes = probe().check(|| unused.clone(), connect(Ok(()))).await;
        assert!(passes.is_ok());
        let refused = connect(Err(ErrorKind::Connect));
        let failure = probe().check(|| unused.clone(), refused).await.unwrap_err();
        assert_eq!(failure.to_string(), "connect failed");
        let nothing = probe().check(|| unused.clone(), || None).await;
        assert!(nothing.is_ok(), "nothing to connect to");
    }

    /// A gRPC server whose frames the test sends, and the methods it was asked by.
    struct GrpcServer {
        methods: Arc<Mutex<Vec<String>>>,
        service: TestService,
    }

    fn frame(status: u8) -> Frame<Bytes> {
        Frame::data(Bytes::copy_from_slice(&[0, 0, 0, 0, 2, 8, status]))
    }

    fn trailers(status: &'static str) -> Frame<Bytes> {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", status.parse().unwrap());
        Frame::trailers(trailers)
    }

    fn grpc_response(body: Body) -> Response<Body> {
        let response = Response::builder().header("content-type", "application/grpc+proto");
        response.body(body).unwrap()
    }

    fn frames(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Body {
        let frames: Vec<_> = frames.into_iter().map(Ok::<_, Error>).collect();
        Body::new(StreamBody::new(tokio_stream::iter(frames)))
    }

    /// Answers each call by what `answer` returns for the last part of its path.
    fn grpc(answer: impl Fn(&str) -> Response<Body> + Send + Sync + 'static) -> GrpcServer {
        let methods = Arc::new(Mutex::new(Vec::new()));
        let (asked, answer) = (methods.clone(), Arc::new(answer));
        let service = service(move |request: Request<Body>| {
            let (asked, answer) = (asked.clone(), answer.clone());
            async move {
                let path = request.uri().path().to_owned();
                let method = path.strip_prefix("/grpc.health.v1.Health/").unwrap();
                asked.lock().unwrap().push(method.to_owned());
                assert_eq!(request.headers()["content-type"], "application/grpc");
                assert_eq!(request.headers()["te"], "trailers");
                let message = request.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(&message[..], b"\0\0\0\0\x03\x0a\x01s");
                Ok(answer(method))
            }
        });
        GrpcServer { methods, service }
    }

    fn unimplemented() -> Response<Body> {
        let mut response = grpc_response(Body::empty());
        let fields = response.headers_mut();
        fields.insert("grpc-status", "12".parse().unwrap());
        response
    }

    fn asks() -> Probe<Body> {
        Probe::new(HealthCheck::grpc("s").unwrap())
    }

    #[tokio::test]
    async fn a_server_without_watch_is_asked_by_check() {
        let server = grpc(|method| match method {
            "Watch" => unimplemented(),
            _ => grpc_response(frames([frame(1), trailers("0")])),
        });
        let mut probe = asks();
        for _ in 0..2 {
            assert_eq!(check(&mut probe, &server.service).await, Ok(()));
        }
        assert_eq!(*server.methods.lock().unwrap(), ["Watch", "Check", "Check"]);
        assert!(futures_util::poll!(Box::pin(probe.reported())).is_pending());
    }

    #[tokio::test]
    async fn what_check_answers_is_judged() {
        for (answer, expected) in [
            (vec![frame(2), trailers("0")], "NOT_SERVING"),
            (vec![frame(0), trailers("0")], "UNKNOWN"),
            (vec![frame(1), trailers("13")], "gRPC status 13"),
            (vec![frame(1)], "gRPC status 2"),
            (vec![trailers("5")], "gRPC status 5"),
            (vec![], "gRPC status 2"),
            (
                vec![trailers("0")],
                "not a response of gRPC health: no message",
            ),
            (
                vec![Frame::data(Bytes::from_static(&[1, 0, 0, 0, 0]))],
                "not a response of gRPC health: a compressed message",
            ),
        ] {
            let answer = Arc::new(Mutex::new(answer));
            let server = grpc(move |method| match method {
                // In trailers rather than in the head.
                "Watch" => grpc_response(frames([trailers("12")])),
                _ => grpc_response(frames(answer.lock().unwrap().drain(..))),
            });
            let failure = check(&mut asks(), &server.service).await.unwrap_err();
            assert_eq!(failure, expected);
        }
    }

    #[tokio::test]
    async fn a_server_that_speaks_no_grpc_fails() {
        let page = service(|_| async { Ok(Response::new(Body::from("<html>"))) });
        let failure = check(&mut asks(), &page).await.unwrap_err();
        assert!(failure.contains("another content type"), "{failure}");
        let absent = service(|_| async {
            let response = Response::builder().status(StatusCode::NOT_FOUND);
            Ok(response.body(Body::empty()).unwrap())
        });
        let failure = check(&mut asks(), &absent).await.unwrap_err();
        assert_eq!(failure, "status 404");
    }

    /// A change is reported at once, in whatever pieces it comes; the end of the stream is no report.
    #[tokio::test]
    async fn watch_reports_changes() {
        let (send, body) = mpsc::unbounded_channel();
        let body = Mutex::new(Some(UnboundedReceiverStream::new(body)));
        let server = grpc(move |_| {
            let frames = body.lock().unwrap().take().unwrap();
            grpc_response(Body::new(StreamBody::new(frames)))
        });
        let mut probe = asks();
        let say = |frame| send.send(Ok::<_, Error>(frame)).unwrap();
        say(frame(3));
        let failure = check(&mut probe, &server.service).await;
        assert_eq!(failure, Err("SERVICE_UNKNOWN".to_owned()));

        say(Frame::data(Bytes::from_static(&[0, 0, 0])));
        assert!(futures_util::poll!(Box::pin(probe.reported())).is_pending());
        say(Frame::data(Bytes::from_static(&[0, 2, 8, 1])));
        assert!(probe.reported().await.is_ok());
        say(frame(2));
        let failure = probe.reported().await.unwrap_err();
        assert_eq!(failure.to_string(), "NOT_SERVING");

        drop(send);
        assert!(futures_util::poll!(Box::pin(probe.reported())).is_pending());
        assert!(probe.watch.is_none());
    }

    #[tokio::test]
    async fn each_check_begins_a_watch_and_ends_the_one_before() {
        let open = Arc::new(());
        let held = open.clone();
        let server = grpc(move |_| {
            let held = held.clone();
            let frames = tokio_stream::iter([Ok::<_, Error>(frame(1))]);
            let rest = tokio_stream::pending();
            let frames = tokio_stream::StreamExt::chain(frames, rest);
            let frames = tokio_stream::StreamExt::map(frames, move |frame| {
                let _ = &held;
                frame
            });
            grpc_response(Body::new(StreamBody::new(frames)))
        });
        let mut probe = asks();
        for _ in 0..3 {
            assert_eq!(check(&mut probe, &server.service).await, Ok(()));
            assert_eq!(Arc::strong_count(&open), 3, "one stream is open");
        }
        drop(probe);
        assert_eq!(Arc::strong_count(&open), 2);
        assert_eq!(*server.methods.lock().unwrap(), ["Watch"; 3]);
    }
}
