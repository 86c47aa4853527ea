//! Names, addresses, and what it means when there is no connection.

use std::{
    error::Error as _,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::Request, routing::any};
use axum_upstream::{
    Body, EndpointSpec, Error, Info, LoadBalance, ReverseProxy, Side, upstream::Client,
    upstream::ClientBuilder,
};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower::{ServiceExt, service_fn};

use crate::support::{
    Http,
    server::{self, Server, refusing},
    within,
};

/// Tells what name it was reached by, and who it is.
fn app(called: &'static str) -> Router {
    Router::new().fallback(any(move |request: Request| async move {
        let host = request.headers().get("host").map(|host| host.to_str());
        let authority = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        let name = authority.or(host.transpose().unwrap()).unwrap();
        format!("{called} as {name}")
    }))
}

fn get() -> http::Request<Body> {
    http::Request::get("/").body(Body::empty()).unwrap()
}

async fn text(client: Client) -> String {
    let body = client.oneshot(get()).await.unwrap().into_body();
    String::from_utf8(body.collect().await.unwrap().to_bytes().into()).unwrap()
}

fn any_port(server: &Server) -> SocketAddr {
    SocketAddr::new(server.address.ip(), 0)
}

#[tokio::test]
async fn an_address_may_be_given_for_a_name() {
    within(async {
        let server = server::app(app("it")).await;
        let (address, port) = (server.address, server.address.port());
        for http in [Http::One, Http::Two] {
            let scheme = match http {
                Http::One => "http",
                Http::Two => "h2c",
            };
            let client = Client::builder().resolve("api.test", [address]);
            let client = client.build(&format!("{scheme}://api.test:81")).unwrap();
            assert_eq!(text(client).await, "it as api.test:81");

            let client = Client::builder().resolve("Api.test.", [any_port(&server)]);
            let client = client.build(&format!("{scheme}://api.test:{port}"));
            assert_eq!(
                text(client.unwrap()).await,
                format!("it as api.test:{port}")
            );
        }
    })
    .await;
}

#[test]
fn a_name_that_was_given_no_address_is_refused() {
    let client = Client::builder().resolve("api.test", []);
    let error = client.build("http://api.test").unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("api.test"),
        "{error}"
    );
    assert!(client.build("http://other.test").is_ok());
}

#[tokio::test]
async fn a_resolver_may_be_ones_own() {
    within(async {
        let server = server::app(app("it")).await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (record, address) = (asked.clone(), any_port(&server));
        let client = Client::builder()
            .resolver(service_fn(move |name: String| {
                record.lock().unwrap().push(name.clone());
                async move {
                    match name.as_str() {
                        "api.test" => Ok([address]),
                        _ => Err("not known here"),
                    }
                }
            }))
            .resolve("given.test", [address]);
        let port = server.address.port();
        let build = |host: &str| client.build(&format!("http://{host}:{port}")).unwrap();
        assert_eq!(
            text(build("api.test")).await,
            format!("it as api.test:{port}")
        );
        assert_eq!(
            text(build("given.test")).await,
            format!("it as given.test:{port}")
        );
        assert_eq!(
            text(build("127.0.0.1")).await,
            format!("it as 127.0.0.1:{port}")
        );
        let error = build("other.test").oneshot(get()).await.unwrap_err();
        let error = error.into_error();
        assert!(
            error.is_connect() && error.side() == Side::Upstream,
            "{error}"
        );
        assert_eq!(error.source().unwrap().to_string(), "not known here");
        assert_eq!(*asked.lock().unwrap(), ["api.test", "other.test"]);
    })
    .await;
}

/// Servers that were discovered by their addresses share a name; the cluster tells them apart by another.
#[tokio::test]
async fn endpoints_of_one_url_have_names_of_their_own() {
    within(async {
        let servers = [server::app(app("one")).await, server::app(app("two")).await];
        let endpoints = servers.each_ref().map(|server| {
            let address = server.address;
            let client = Client::builder().resolve("api.test", [address]);
            let client = client.name(address.to_string()).build("http://api.test");
            EndpointSpec::from(client.unwrap())
        });
        let balance = LoadBalance::builder().seed(1).endpoints(endpoints).unwrap();
        let mut answers = Vec::new();
        for _ in 0..2 {
            let response = balance.clone().oneshot(get()).await.unwrap();
            let info = response.extensions().get::<Info>().unwrap();
            answers.push(info.endpoint().unwrap().to_owned());
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert!(body.ends_with(b" as api.test"), "{body:?}");
        }
        answers.sort_unstable();
        let mut expected = servers.each_ref().map(|server| server.address.to_string());
        expected.sort_unstable();
        assert_eq!(answers, expected);

        let client = Client::builder()
            .name("b")
            .build("http://api.test/base/")
            .unwrap();
        assert_eq!(client.url(), "http://api.test/base");
    })
    .await;
}

/// An address that has failed is tried last for a while, so that not every new connection begins with it.
#[tokio::test]
async fn an_address_that_failed_is_not_tried_first_again() {
    within(async {
        let (first, second) = (refusing(), server::app(app("second")).await);
        let client = Client::builder()
            .resolve("api.test", [first.address, second.address])
            .pool_max_idle(0)
            .build("http://api.test")
            .unwrap();
        assert_eq!(text(client.clone()).await, "second as api.test");

        // It would take a connection now.
        let listener = first.listen();
        for _ in 0..3 {
            assert_eq!(text(client.clone()).await, "second as api.test");
        }
        assert_eq!(
            listener.accept().unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
    })
    .await;
}

/// A connector to `address`, for which there is nothing left to connect with.
fn short_of(error: fn() -> io::Error) -> ClientBuilder {
    Client::builder().connector(service_fn(move |_: http::Uri| async move {
        Err::<TokioIo<TcpStream>, _>(io::Error::other(error()))
    }))
}

/// What this process has run out of is its own fault, and no endpoint's.
#[tokio::test]
async fn a_local_shortage_is_no_failure_of_the_endpoint() {
    within(async {
        let errors: [fn() -> io::Error; 2] = [
            || io::ErrorKind::AddrNotAvailable.into(),
            || io::ErrorKind::OutOfMemory.into(),
        ];
        for error in errors {
            let short = short_of(error).build("http://short.test").unwrap();
            let response = ReverseProxy::new(short.clone()).oneshot(request()).await;
            let response = response.unwrap();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            let error = response.extensions().get::<Arc<Error>>().unwrap();
            assert_eq!(error.side(), Side::Internal, "{error}");
            assert!(error.is_connect(), "{error}");

            // Another endpoint may have a connection left.
            let server = server::app(app("other")).await;
            let endpoints = [
                EndpointSpec::from(short),
                EndpointSpec::url(&server.url()).unwrap(),
            ];
            let balance = LoadBalance::builder().seed(1).endpoints(endpoints).unwrap();
            for _ in 0..4 {
                let response = balance.clone().oneshot(get()).await.unwrap();
                assert_eq!(response.status(), StatusCode::OK);
            }
        }
        let refused = short_of(|| io::ErrorKind::ConnectionRefused.into());
        let refused = ReverseProxy::new(refused.build("http://refused.test").unwrap());
        let response = refused.oneshot(request()).await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    })
    .await;
}

fn request() -> http::Request<Body> {
    http::Request::get("http://a/").body(Body::empty()).unwrap()
}
