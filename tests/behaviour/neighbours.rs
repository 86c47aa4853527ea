//! What befalls one exchange is its own: those beside it go on, on the client's connection and on the endpoint's
//! (RFC 9113 5.2, 5.4.2). Limits of size are in `limits.rs`, what is not read is in `http2.rs`.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_upstream::{Body, BoxError, ReverseProxy, upstream::ClientBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{
    net::TcpStream,
    sync::{Notify, mpsc},
    time::sleep,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::ServiceExt;

use crate::support::{Client, Http, eventually, h2, proxy, server::Server, versions, within};

/// What an endpoint has been asked for.
#[derive(Clone, Default)]
struct Seen {
    connections: Arc<AtomicUsize>,
    uploads: Arc<AtomicUsize>,
    /// Lets a download go on to where it breaks.
    go: Arc<Notify>,
}

impl Seen {
    async fn serve(self, stream: TcpStream) {
        self.connections.fetch_add(1, SeqCst);
        let service = hyper::service::service_fn(move |request| self.clone().answer(request));
        let server = auto::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }

    /// An error resets the stream, or closes the connection.
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let response = Response::builder();
        let body = match request.uri().path() {
            "/echo" => Body::new(request.into_body()),
            "/sink" => {
                self.uploads.fetch_add(1, SeqCst);
                request.into_body().collect().await?;
                Body::empty()
            }
            "/endless" => endless(),
            "/breaks" => self.some_and(Err("broken")),
            "/reset" => return Err("reset".into()),
            "/short" => {
                let response = response.header("content-length", "9");
                return Ok(response.body(self.some_and(Ok("")))?);
            }
            "/head" => {
                let fields = (0..300).map(|n| (format!("x-{n}"), "v"));
                let response = fields.fold(response, |response, (name, value)| {
                    response.header(name, value)
                });
                return Ok(response.body(Body::empty())?);
            }
            path => return Err(path.into()),
        };
        Ok(response.body(body)?)
    }

    fn some_and(self, rest: Result<&'static str, &'static str>) -> Body {
        let rest = async move {
            self.go.notified().await;
            rest
        };
        data(stream::iter([Ok("some")]).chain(stream::once(rest)))
    }
}

fn data<C, E>(chunks: impl Stream<Item = Result<C, E>> + Send + 'static) -> Body
where
    C: Into<Bytes> + 'static,
    E: Into<BoxError> + 'static,
{
    let frames = chunks.map_ok(|chunk| Frame::data(chunk.into()));
    Body::new(StreamBody::new(frames.map_err(Into::into)))
}

fn endless() -> Body {
    data(stream::repeat_with(|| {
        Ok::<_, BoxError>(vec![b'x'; 16 << 10])
    }))
}

/// A body fed by hand.
fn fed() -> (mpsc::UnboundedSender<&'static str>, Body) {
    let (feed, chunks) = mpsc::unbounded_channel();
    let chunks = UnboundedReceiverStream::new(chunks);
    (feed, data(chunks.map(Ok::<_, Infallible>)))
}

fn post(path: &str, body: Body) -> Request<Body> {
    Request::post(path).body(body).unwrap()
}

/// What may befall an exchange.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    LeftInDownload,
    LeftInUpload,
    UploadBreaks,
    UploadTooLarge,
    DownloadBreaks,
    DownloadShort,
    Reset,
    HeadTooLarge,
}

impl Mishap {
    const ALL: [Self; 8] = [
        Self::LeftInDownload,
        Self::LeftInUpload,
        Self::UploadBreaks,
        Self::UploadTooLarge,
        Self::DownloadBreaks,
        Self::DownloadShort,
        Self::Reset,
        Self::HeadTooLarge,
    ];

    /// It befalls a request of this client, and is seen.
    async fn befall(self, client: &mut Client, seen: &Seen) {
        match self {
            Self::LeftInDownload => {
                let mut download = client.get("/endless").await.into_body();
                download.frame().await.unwrap().unwrap();
            }
            Self::LeftInUpload => {
                let (feed, body) = fed();
                feed.send("some").unwrap();
                let uploads = seen.uploads.load(SeqCst);
                tokio::select! {
                    sent = client.try_send(post("/sink", body)) => panic!("{sent:?}"),
                    () = eventually(|| seen.uploads.load(SeqCst) > uploads) => {}
                }
            }
            Self::UploadBreaks => {
                let broken = data(stream::iter([Ok("some"), Err("broken")]));
                assert!(client.try_send(post("/sink", broken)).await.is_err());
            }
            Self::UploadTooLarge => {
                let large = "x".repeat(LIMIT + 1);
                let response = client.send(post("/sink", large.into())).await;
                assert_eq!(response.status(), 413);
            }
            Self::DownloadBreaks | Self::DownloadShort => {
                let path = match self {
                    Self::DownloadBreaks => "/breaks",
                    _ => "/short",
                };
                let mut download = client.get(path).await.into_body();
                download.frame().await.unwrap().unwrap();
                seen.go.notify_one();
                assert!(download.collect().await.is_err(), "{self:?}");
            }
            Self::Reset => assert_eq!(client.get("/reset").await.status(), 502),
            Self::HeadTooLarge => assert_eq!(client.get("/head").await.status(), 502),
        }
    }
}

const LIMIT: usize = 1000;

versions! {
    async fn what_befalls_one_exchange_is_its_own(down, up) {
        let seen = Seen::default();
        let serving = seen.clone();
        let server = Server::accepting(move |stream, _| serving.clone().serve(stream)).await;
        let proxy = ReverseProxy::to(&server.url_for(up)).unwrap().body_limit(LIMIT as u64);
        let proxy = proxy::serve(proxy).await;
        let mut client = Client::connect(down, proxy.address).await;
        // An upload and a download in one.
        let (feed, body) = fed();
        feed.send("begun, ").unwrap();
        let mut neighbour = client.send(post("/echo", body)).await.into_body();
        let begun = neighbour.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(begun, "begun, ");
        for mishap in Mishap::ALL {
            let mut other = client.beside().await;
            mishap.befall(&mut other, &seen).await;
            feed.send("and on, ").unwrap();
            let more = neighbour.frame().await.expect("no end").expect("no error");
            assert_eq!(more.into_data().unwrap(), "and on, ", "{mishap:?}");
        }
        feed.send("ended").unwrap();
        drop(feed);
        assert_eq!(neighbour.collect().await.unwrap().to_bytes(), "ended");
        if up == Http::Two {
            assert_eq!(seen.connections.load(SeqCst), 1);
        }
    }
}

/// Whichever side stands still, and in whichever direction, until the idle timeout.
#[tokio::test(start_paused = true)]
async fn a_stall_ends_one_exchange() {
    within(async {
        let (client, mut endpoint) = h2::endpoint(ClientBuilder::default(), |_| ());
        let proxy = ReverseProxy::new(client).idle_timeout(Duration::from_secs(5));
        let ask = |body: Body| {
            let request = Request::post("http://a/").body(body).unwrap();
            tokio::spawn(proxy.clone().oneshot(request))
        };
        let answer = ask(Body::empty());
        let moved = tokio::spawn(async move {
            let response = answer.await.unwrap().unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        });
        let mut moving = endpoint.next().await.start();
        tokio::spawn(async move {
            for _ in 0..10 {
                moving.send_data("x".into(), false).unwrap();
                sleep(Duration::from_secs(1)).await;
            }
            moving.send_data("x".into(), true).unwrap();
        });

        let response_stalls = ask(Body::empty());
        let mut silent = endpoint.next().await.start();
        let (_feed, body) = fed();
        let upload_stalls = ask(body);
        let mut waiting = endpoint.next().await;
        let unread = ask(endless());
        let mut unread_request = endpoint.next().await;

        let stalled = response_stalls.await.unwrap().unwrap();
        assert_eq!(stalled.status(), 200);
        assert!(stalled.into_body().collect().await.is_err());
        assert_eq!(upload_stalls.await.unwrap().unwrap().status(), 408);
        assert_eq!(unread.await.unwrap().unwrap().status(), 504);
        assert!(poll_fn(|cx| silent.poll_reset(cx)).await.is_ok());
        assert!(poll_fn(|cx| waiting.respond.poll_reset(cx)).await.is_ok());
        assert!(
            poll_fn(|cx| unread_request.respond.poll_reset(cx))
                .await
                .is_ok()
        );

        assert_eq!(moved.await.unwrap().len(), 11);
        assert_eq!((endpoint.made(), endpoint.closed()), (1, 0));
    })
    .await;
}
