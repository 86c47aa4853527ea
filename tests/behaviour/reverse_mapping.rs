//! What an endpoint says of its own address, in the client's terms.

use axum::{Router, response::Redirect, routing::get};
use axum_upstream::{Body, EndpointSpec, LoadBalance, ReverseProxy, rewrite::HostPolicy};
use http::{HeaderValue, Request};
use tower::{ServiceExt, service_fn};

use crate::support::{
    Client, Http,
    proxy::{self, exchange_with, get as head},
    server, versions,
};

const ANSWER: &str = "HTTP/1.1 302 Found\r\n\
    Location: /login?to=/\r\n\
    Content-Location: http://other.test/x\r\n\
    Refresh: 5; url=/login\r\n\
    Link: </a.css>; rel=preload, <b.css>; rel=preload\r\n\
    Set-Cookie: a=1; Path=/; Domain=127.0.0.1; Secure\r\n\
    Set-Cookie: __Host-b=2; Path=/; Secure\r\n\
    Content-Length: 0\r\n\r\n";

#[tokio::test]
async fn it_is_off_unless_it_is_turned_on() {
    let strip = |proxy: ReverseProxy| proxy.strip_prefix("/api").unwrap();
    let request = "GET /api/x HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let off = |proxy: ReverseProxy| strip(proxy.with_reverse_mapping().without_reverse_mapping());
    for down in [
        exchange_with(strip, request, ANSWER).await.down,
        exchange_with(off, request, ANSWER).await.down,
    ] {
        for line in ANSWER.lines().filter(|line| line.contains(": ")) {
            let (name, value) = line.split_once(": ").unwrap();
            assert!(down.all(name).contains(&value), "{line}\n{}", down.head);
        }
    }
    let on = |proxy: ReverseProxy| strip(proxy).with_reverse_mapping();
    let down = exchange_with(on, request, ANSWER).await.down;
    for (name, value) in [
        ("location", "/api/login?to=/"),
        ("content-location", "http://other.test/x"),
        ("refresh", "5; url=/api/login"),
        ("link", "</api/a.css>; rel=preload, <b.css>; rel=preload"),
    ] {
        assert_eq!(down.all(name), [value]);
    }
    let cookies = ["a=1; Path=/api", "__Host-b=2; Path=/; Secure"];
    assert_eq!(down.all("set-cookie"), cookies);
}

/// A request without the prefix kept its path, so the paths of its response stay.
#[tokio::test]
async fn only_what_was_removed_comes_back() {
    let on = |proxy: ReverseProxy| {
        let proxy = proxy.strip_prefix("/api").unwrap();
        proxy.with_reverse_mapping()
    };
    let down = exchange_with(on, head(""), ANSWER).await.down;
    assert_eq!(down.field("location"), Some("/login?to=/"));
    assert_eq!(down.all("set-cookie")[0], "a=1; Path=/");
}

/// A hook of the user's runs last, and sees what the client will.
#[tokio::test]
async fn hooks_see_what_the_client_sees() {
    let on = |proxy: ReverseProxy| {
        let proxy = proxy.with_reverse_mapping().strip_prefix("/api").unwrap();
        proxy
            .rewrite_request(|head| head.headers.clear())
            .rewrite_response(|head| {
                let location = head.headers["location"].clone();
                head.headers.insert("x-seen", location);
            })
    };
    let request = "GET /api/x HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let down = exchange_with(on, request, ANSWER).await.down;
    assert_eq!(down.field("x-seen"), Some("/api/login?to=/"));
}

versions! {
    /// Each endpoint of a cluster has an address and a base path of its own, and the client does not see which.
    async fn the_endpoint_that_answers_counts(down, up) {
        let app = || async {
            // As an application does that is told nothing: from its own `Host`.
            let own = |request: axum::extract::Request| async move {
                let authority = match request.uri().authority() {
                    Some(authority) => authority.to_string(),
                    None => request.headers()["host"].to_str().unwrap().to_owned(),
                };
                Redirect::to(&format!("http://{authority}{}/next", request.uri().path()))
            };
            server::app(Router::new().fallback(own)).await
        };
        let (one, other) = (app().await, app().await);
        let urls = [format!("{}/one", one.url_for(up)), format!("{}/other/base", other.url_for(up))];
        let cluster = LoadBalance::builder().seed(1).urls(urls).unwrap();
        let proxy = ReverseProxy::new(cluster).strip_prefix("/api").unwrap();
        let server = proxy::serve(proxy.with_reverse_mapping()).await;
        let mut client = Client::connect(down, server.address).await;
        for _ in 0..8 {
            let response = client.get("/api/x").await;
            let expected = format!("http://{}/api/x/next", server.address);
            assert_eq!(response.headers()["location"], expected);
        }
        drop((one, other));
    }
}

#[tokio::test]
async fn an_endpoint_may_have_a_name_of_its_own() {
    let app = Router::new().fallback(|| async { [("location", "/base/x")] });
    let server = server::app(app).await;
    let url = format!("{}/base", server.url_for(Http::One));
    let client = axum_upstream::upstream::Client::builder()
        .name("app")
        .build(&url)
        .unwrap();
    let layered = tower::util::MapRequest::new(client.clone(), |request: Request<Body>| request);
    let cluster = |spec| LoadBalance::builder().endpoints([spec]).unwrap();
    let layered = cluster(EndpointSpec::new("layered", layered).boxed());
    let named = cluster(EndpointSpec::from(client).boxed());
    for cluster in [named, layered] {
        let proxy = ReverseProxy::new(cluster).with_reverse_mapping();
        let request = Request::get("/x").header("host", "a");
        let response = proxy.oneshot(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.unwrap().headers()["location"], "/x");
    }
}

/// A service in this process sees the client's host, below the prefix that the router has removed.
#[tokio::test]
async fn a_nested_service_in_this_process_is_mapped() {
    let service = service_fn(|request: Request<Body>| async move {
        let host = request.headers()["host"].to_str().unwrap();
        let location = format!("http://{host}{}/", request.uri().path());
        let response = http::Response::builder().header("location", location);
        Ok::<_, std::convert::Infallible>(response.body(Body::empty()).unwrap())
    });
    let proxy = ReverseProxy::new(service)
        .behind_tls()
        .with_reverse_mapping();
    let app = Router::new()
        .route("/", get(|| async { "home" }))
        .nest_service("/api", proxy.add_prefix("/v1").unwrap());
    let request = Request::get("/api/x").header("host", "example.com");
    let response = app.oneshot(request.body(axum::body::Body::empty()).unwrap());
    let response = response.await.unwrap();
    assert_eq!(response.headers()["location"], "https://example.com/api/x/");
}

/// With the client's own `Host`, the endpoint names the client's host; the scheme and the prefix are still its own.
#[tokio::test]
async fn a_preserved_host_is_the_endpoints_too() {
    let answer = |location: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n")
    };
    let request = "GET /api/x HTTP/1.1\r\nHost: example.com\r\n\r\n";
    for (host, from, to) in [
        (
            HostPolicy::Preserve,
            "http://example.com/y",
            "https://example.com/api/y",
        ),
        (
            HostPolicy::Fixed(HeaderValue::from_static("app.internal")),
            "http://app.internal/y",
            "https://example.com/api/y",
        ),
        // Its own redirect to TLS, which would be an endless one if it were mapped.
        (
            HostPolicy::Preserve,
            "https://example.com/y",
            "https://example.com/y",
        ),
        (
            HostPolicy::Endpoint,
            "http://example.com/y",
            "http://example.com/y",
        ),
    ] {
        let settings = |proxy: ReverseProxy| {
            let proxy = proxy.host(host).behind_tls().strip_prefix("/api").unwrap();
            proxy.with_reverse_mapping()
        };
        let down = exchange_with(settings, request, &answer(from)).await.down;
        assert_eq!(down.field("location"), Some(to));
    }
}
