//! gRPC, by a real client and server, whose service is written out here because nothing else needs a code generator.

use std::convert::Infallible;

use axum_upstream::{EndpointSpec, LoadBalance, ReverseProxy};
use http::uri::PathAndQuery;
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Code, Request, Response, Status, Streaming,
    client::Grpc as ClientGrpc,
    server::{Grpc, NamedService, ServerStreamingService, StreamingService, UnaryService},
    transport::Channel,
};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::support::{
    Http, proxy,
    server::{self, Server},
    within,
};

#[derive(Clone, PartialEq, prost::Message)]
struct Text {
    #[prost(string, tag = "1")]
    text: String,
}

fn text(text: impl Into<String>) -> Text {
    Text { text: text.into() }
}

/// `/echo.Echo/{Say,Count,Chat}`.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "echo.Echo";
}

type Answer<T> = std::pin::Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
type Texts = std::pin::Pin<Box<dyn Stream<Item = Result<Text, Status>> + Send>>;

struct Say;

impl UnaryService<Text> for Say {
    type Response = Text;
    type Future = Answer<Text>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        Box::pin(async move {
            match request.into_inner().text.as_str() {
                "fail" => Err(Status::permission_denied("not you")),
                said => Ok(Response::new(text(said))),
            }
        })
    }
}

struct Count;

impl ServerStreamingService<Text> for Count {
    type Response = Text;
    type ResponseStream = Texts;
    type Future = Answer<Texts>;

    fn call(&mut self, _: Request<Text>) -> Self::Future {
        Box::pin(async {
            let counted = (0..3).map(|n| Ok(text(n.to_string())));
            let failed = [Err(Status::resource_exhausted("only to three"))];
            Ok(Response::new(
                Box::pin(tokio_stream::iter(counted.chain(failed))) as Texts,
            ))
        })
    }
}

struct Chat;

impl StreamingService<Text> for Chat {
    type Response = Text;
    type ResponseStream = Texts;
    type Future = Answer<Texts>;

    fn call(&mut self, request: Request<Streaming<Text>>) -> Self::Future {
        Box::pin(async { Ok(Response::new(Box::pin(request.into_inner()) as Texts)) })
    }
}

impl Service<http::Request<axum::body::Body>> for Echo {
    type Response = http::Response<tonic::body::Body>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Text, Text>::default());
            Ok(match request.uri().path() {
                "/echo.Echo/Say" => grpc.unary(Say, request).await,
                "/echo.Echo/Count" => grpc.server_streaming(Count, request).await,
                "/echo.Echo/Chat" => grpc.streaming(Chat, request).await,
                _ => Status::unimplemented("").into_http(),
            })
        })
    }
}

async fn echo() -> Server {
    server::app(axum::Router::new().route_service("/echo.Echo/{method}", Echo)).await
}

async fn client(proxy: &Server) -> ClientGrpc<Channel> {
    let channel = Channel::from_shared(proxy.url())
        .unwrap()
        .connect()
        .await
        .unwrap();
    ClientGrpc::new(channel)
}

/// One call with one answer.
async fn unary(
    client: &mut ClientGrpc<Channel>,
    said: &str,
    path: &'static str,
) -> Result<Text, Status> {
    client.ready().await.unwrap();
    let path = PathAndQuery::from_static(path);
    client
        .unary(Request::new(text(said)), path, codec())
        .await
        .map(Response::into_inner)
}

fn path(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}

fn codec() -> ProstCodec<Text, Text> {
    ProstCodec::default()
}

/// Check 53: statuses in trailers, and in the head when there is nothing else.
#[tokio::test]
async fn unary_calls_and_their_errors() {
    within(async {
        let server = echo().await;
        let proxy = proxy::balanced([server.url_for(Http::Two)]).await;
        let mut client = client(&proxy).await;
        assert_eq!(
            unary(&mut client, "hi", "/echo.Echo/Say").await.unwrap(),
            text("hi")
        );
        let failed = unary(&mut client, "fail", "/echo.Echo/Say")
            .await
            .unwrap_err();
        assert_eq!(
            (failed.code(), failed.message()),
            (Code::PermissionDenied, "not you")
        );
        let unknown = unary(&mut client, "", "/echo.Echo/No").await.unwrap_err();
        assert_eq!(unknown.code(), Code::Unimplemented);
    })
    .await;
}

#[tokio::test]
async fn server_streams_end_in_their_status() {
    within(async {
        let server = echo().await;
        let proxy = proxy::balanced([server.url_for(Http::Two)]).await;
        let mut client = client(&proxy).await;
        client.ready().await.unwrap();
        let counted =
            client.server_streaming(Request::new(text("")), path("/echo.Echo/Count"), codec());
        let mut counted = counted.await.unwrap().into_inner();
        for n in 0..3 {
            assert_eq!(
                counted.message().await.unwrap().unwrap(),
                text(n.to_string())
            );
        }
        assert_eq!(
            counted.message().await.unwrap_err().code(),
            Code::ResourceExhausted
        );
    })
    .await;
}

/// A message is answered before the next is sent.
#[tokio::test]
async fn both_sides_stream_at_once() {
    within(async {
        let server = echo().await;
        let proxy = proxy::balanced([server.url_for(Http::Two)]).await;
        let mut client = client(&proxy).await;
        let (feed, said) = tokio::sync::mpsc::unbounded_channel();
        let said = tokio_stream::wrappers::UnboundedReceiverStream::new(said);
        feed.send(text("0")).unwrap();
        client.ready().await.unwrap();
        let chat = client.streaming(Request::new(said), path("/echo.Echo/Chat"), codec());
        let mut heard = chat.await.unwrap().into_inner();
        for n in 1..5 {
            assert_eq!(
                heard.next().await.unwrap().unwrap(),
                text((n - 1).to_string())
            );
            feed.send(text(n.to_string())).unwrap();
        }
        drop(feed);
        assert_eq!(heard.next().await.unwrap().unwrap(), text("4"));
        assert!(heard.next().await.is_none());
    })
    .await;
}

/// Our own errors are statuses a gRPC client understands.
#[tokio::test]
async fn an_empty_cluster_is_unavailable() {
    within(async {
        let empty = LoadBalance::builder()
            .endpoints(Vec::<EndpointSpec>::new())
            .unwrap();
        let proxy = proxy::serve(ReverseProxy::new(empty)).await;
        let mut client = client(&proxy).await;
        let failed = unary(&mut client, "", "/echo.Echo/Say").await.unwrap_err();
        assert_eq!(failed.code(), Code::Unavailable);
    })
    .await;
}

/// A body that translates: it says how long what it reads is, not what it gives.
struct Translated(Option<&'static str>);

impl http_body::Body for Translated {
    type Data = bytes::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
        let data = self.0.take();
        std::task::Poll::Ready(data.map(|data| Ok(http_body::Frame::data(data.into()))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(8)
    }
}

/// As tonic-web makes one of grpc-web-text: no length is made of what its body says.
#[tokio::test]
async fn a_translated_body_gets_no_length_of_its_own() {
    use axum::{Router, extract::Request as AxumRequest};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    within(async {
        let echo = |request: AxumRequest| async move {
            let length = request.headers().get("content-length").cloned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            format!("{length:?} {}", String::from_utf8_lossy(&body))
        };
        let server = server::app(Router::new().fallback(echo)).await;
        for http in [Http::One, Http::Two] {
            let proxy = ReverseProxy::to(&server.url_for(http)).unwrap();
            let request = http::Request::post("/echo.Echo/Say")
                .header("host", "a")
                .header("content-type", "application/grpc");
            let request = request.body(Translated(Some("abcdef"))).unwrap();
            let response = proxy.oneshot(request).await.unwrap();
            assert_eq!(response.status(), 200);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, "None abcdef", "{http:?}");
        }
    })
    .await;
}
