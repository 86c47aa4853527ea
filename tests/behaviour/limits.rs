//! The limits of `docs/LIMITS.md`: what is below one goes through whole, what is over one fails visibly and alone,
//! whatever the versions.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{
    Router,
    extract::{ConnectInfo, Path},
    response::Response,
    routing::get,
};
use axum_upstream::{
    Body, ReverseProxy,
    upstream::{self, ClientBuilder},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt, Collected, StreamBody};
use tokio::sync::watch;

use crate::support::{Client, Http, proxy, server, server::Server, versions};

/// An endpoint of large heads and trailers, behind a proxy.
struct Endpoint {
    proxy: Server,
    _server: Server,
    go: watch::Sender<bool>,
    connections: Arc<AtomicUsize>,
}

impl Endpoint {
    async fn run(up: Http, client: ClientBuilder) -> Self {
        let (go, going) = watch::channel(false);
        let app = Router::new()
            .route("/head/{fields}/{size}", get(head))
            .route("/trailers/{fields}/{size}", get(trailers))
            .route("/neighbour", get(move || neighbour(going.clone())));
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let server = Server::accepting(move |stream, peer| {
            count.fetch_add(1, SeqCst);
            let app = app.clone().layer(axum::Extension(ConnectInfo(peer)));
            server::speak(stream, app)
        })
        .await;
        let client = client.build(&server.url_for(up)).unwrap();
        Self {
            proxy: proxy::serve(ReverseProxy::new(client)).await,
            _server: server,
            go,
            connections,
        }
    }

    /// The whole response, or how it broke.
    async fn ask(&self, down: Http, path: &str) -> hyper::Result<Response<Collected<Bytes>>> {
        let mut client = Client::connect(down, self.proxy.address).await;
        let request = Request::get(path).header("te", "trailers");
        let request = request.body(Body::empty()).unwrap();
        let (parts, body) = client.try_send(request).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?))
    }

    /// As [`ask`](Self::ask), while a neighbour's download is under way, which must come to its end; over HTTP/2, on
    /// the same connection.
    async fn ask_beside_a_neighbour(
        &self,
        down: Http,
        up: Http,
        path: &str,
    ) -> hyper::Result<Response<Collected<Bytes>>> {
        let mut neighbour = Client::connect(down, self.proxy.address).await;
        let mut download = neighbour.get("/neighbour").await.into_body();
        let frame = download.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "begun, ");
        let connections = self.connections.load(SeqCst);

        let response = self.ask(down, path).await;

        self.go.send(true).unwrap();
        let rest = download.collect().await.expect(path);
        assert_eq!(rest.to_bytes(), "ended");
        let made = self.connections.load(SeqCst) - connections;
        assert_eq!(made, usize::from(up == Http::One));
        response
    }
}

fn fields(fields: usize, size: usize) -> HeaderMap {
    let field = |n| {
        let name = HeaderName::try_from(format!("x-{n}")).unwrap();
        (name, HeaderValue::try_from("v".repeat(size)).unwrap())
    };
    (0..fields).map(field).collect()
}

async fn head(Path((number, size)): Path<(usize, usize)>) -> Response {
    let mut response = Response::new("ok".into());
    *response.headers_mut() = fields(number, size);
    response
}

async fn trailers(Path((number, size)): Path<(usize, usize)>) -> Response {
    let fields = fields(number, size);
    let names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
    let response = Response::builder().header("trailer", names.join(", "));
    let frames = [Frame::data(Bytes::from("ok")), Frame::trailers(fields)];
    let frames = tokio_stream::iter(frames.map(Ok::<_, Infallible>));
    response
        .body(axum::body::Body::new(StreamBody::new(frames)))
        .unwrap()
}

async fn neighbour(mut go: watch::Receiver<bool>) -> Response {
    let begin = stream::once(async { Ok::<_, Infallible>("begun, ") });
    let end = stream::once(async move {
        drop(go.wait_for(|go| *go).await);
        Ok("ended")
    });
    Response::new(axum::body::Body::from_stream(begin.chain(end)))
}

fn number_of(fields: &HeaderMap) -> usize {
    fields
        .keys()
        .filter(|name| name.as_str().starts_with("x-"))
        .count()
}

versions! {
    /// Cookies, `Link`, a content security policy: heads of some hundred KB are in use.
    async fn large_heads_go_through(down, up) {
        let endpoint = Endpoint::run(up, ClientBuilder::default()).await;
        for (fields, size) in [(12, 1000), (60, 1000), (200, 1000), (2, 100_000), (250, 9)] {
            let path = format!("/head/{fields}/{size}");
            let response = endpoint.ask(down, &path).await.expect(&path);
            assert_eq!(response.status(), 200, "{path}");
            assert_eq!(number_of(response.headers()), fields, "{path}");
        }
    }
}

versions! {
    async fn a_head_over_the_limit_is_one_502(down, up) {
        for path in ["/head/240/1200", "/head/240/5000", "/head/1/300000", "/head/300/9"] {
            let endpoint = Endpoint::run(up, ClientBuilder::default()).await;
            let response = endpoint.ask_beside_a_neighbour(down, up, path).await.expect(path);
            assert_eq!(response.status(), 502, "{path}");
        }
    }
}

versions! {
    async fn large_trailers_go_through(down, up) {
        let endpoint = Endpoint::run(up, ClientBuilder::default()).await;
        for (fields, size) in [(12, 1000), (60, 1000), (200, 1000), (2, 100_000)] {
            let path = format!("/trailers/{fields}/{size}");
            let response = endpoint.ask(down, &path).await.expect(&path);
            assert_eq!(number_of(response.body().trailers().unwrap()), fields, "{path}");
        }
    }
}

versions! {
    /// What is left of them would look like the whole: a status of gRPC may be among what is lost.
    async fn trailers_over_the_limit_break_their_response_off(down, up) {
        for path in ["/trailers/240/1200", "/trailers/240/5000", "/trailers/1/300000", "/trailers/300/9"] {
            let endpoint = Endpoint::run(up, ClientBuilder::default()).await;
            let response = endpoint.ask_beside_a_neighbour(down, up, path).await;
            assert!(response.is_err(), "{path}");
        }
    }
}

versions! {
    async fn limits_of_heads_can_be_set(down, up) {
        let client = upstream::Client::builder().max_response_head(10_000).max_response_fields(50);
        let endpoint = Endpoint::run(up, client).await;
        let mut statuses = Vec::new();
        for path in ["/head/8/1000", "/head/11/1000", "/head/40/9", "/head/55/9"] {
            statuses.push(endpoint.ask(down, path).await.expect(path).status().as_u16());
        }
        assert_eq!(statuses, [200, 502, 200, 502]);
        for (path, fits) in [("/trailers/8/1000", true), ("/trailers/11/1000", false)] {
            assert_eq!(endpoint.ask(down, path).await.is_ok(), fits, "{path}");
        }
    }
}
