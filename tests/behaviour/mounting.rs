//! The three ways to mount it, and what composes around and inside.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body as AxumBody,
    extract::{ConnectInfo, Request},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use axum_upstream::{
    Body, EndpointSpec, Error, LoadBalance, ProxyLayer, ReverseProxy, rewrite::HostPolicy, upstream,
};
use http::{HeaderName, Method, StatusCode};
use http_body_util::BodyExt;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_http::{
    compression::CompressionLayer,
    cors::CorsLayer,
    limit::RequestBodyLimitLayer,
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
    timeout::TimeoutLayer,
    trace::TraceLayer,
    validate_request::ValidateRequestHeaderLayer,
};

use crate::support::{
    Conn, Message, proxy,
    proxy::OK,
    server::{self, Server},
    within,
};

type Requests = tokio::sync::mpsc::UnboundedReceiver<Message>;

async fn backend() -> (LoadBalance, Server, Requests) {
    let (server, requests) = server::canned(OK).await;
    (LoadBalance::new([server.url()]).unwrap(), server, requests)
}

async fn call(app: Router, request: http::request::Builder) -> (StatusCode, String) {
    let response = app
        .oneshot(request.body(AxumBody::empty()).unwrap())
        .await
        .unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.into()).unwrap())
}

fn at(path: &str) -> http::request::Builder {
    Request::get(path).header("host", "example.com")
}

#[tokio::test]
async fn as_a_fallback() {
    let (backends, _server, mut requests) = backend().await;
    let app = Router::new()
        .route("/ours", get(|| async { "ours" }))
        .fallback_service(ReverseProxy::new(backends));
    assert_eq!(call(app.clone(), at("/ours")).await.1, "ours");
    assert_eq!(call(app, at("/other?x")).await.1, "ok");
    assert_eq!(
        requests.recv().await.unwrap().start_line(),
        "GET /other?x HTTP/1.1"
    );
}

#[tokio::test]
async fn as_a_route() {
    let (backends, _server, mut requests) = backend().await;
    let app = Router::new().route_service("/api/{*rest}", ReverseProxy::new(backends));
    assert_eq!(call(app.clone(), at("/api/a/b")).await.1, "ok");
    assert_eq!(call(app, at("/other")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        requests.recv().await.unwrap().start_line(),
        "GET /api/a/b HTTP/1.1"
    );
}

/// `nest` takes the prefix off, and the endpoint is told.
#[tokio::test]
async fn nested() {
    let (server, mut requests) = server::canned(OK).await;
    let proxy = ReverseProxy::to(&format!("{}/base", server.url())).unwrap();
    let app = Router::new().nest("/outer", Router::new().nest_service("/legacy", proxy));
    for (path, forwarded) in [
        ("/outer/legacy/x?y", "/base/x?y"),
        ("/outer/legacy/legacy", "/base/legacy"),
    ] {
        assert_eq!(call(app.clone(), at(path)).await.1, "ok");
        let seen = requests.recv().await.unwrap();
        assert_eq!(seen.start_line(), format!("GET {forwarded} HTTP/1.1"));
        assert_eq!(seen.field("x-forwarded-prefix"), Some("/outer/legacy"));
    }
}

#[tokio::test]
async fn as_a_layer() {
    let (backends, _server, mut requests) = backend().await;
    let layer = ProxyLayer::new(backends)
        .path_prefix("/api")
        .host("example.com")
        .method(Method::GET)
        .matching(|head| !head.headers.contains_key("x-ours"));
    let app = Router::new().fallback(|| async { "ours" }).layer(layer);
    assert_eq!(call(app.clone(), at("/api/x")).await.1, "ok");
    assert_eq!(
        requests.recv().await.unwrap().start_line(),
        "GET /api/x HTTP/1.1"
    );
    assert_eq!(call(app.clone(), at("/x")).await.1, "ours");
    assert_eq!(
        call(app.clone(), at("/api/x").method(Method::PUT)).await.1,
        "ours"
    );
    assert_eq!(
        call(app.clone(), Request::get("/api/x").header("host", "other"))
            .await
            .1,
        "ours"
    );
    assert_eq!(
        call(app, at("/api/x").header("x-ours", "1")).await.1,
        "ours"
    );
    assert!(requests.try_recv().is_err());
}

/// What does not match goes on untouched: body, extensions, fields.
#[tokio::test]
async fn a_layer_leaves_the_rest_alone() {
    let (backends, _server, _requests) = backend().await;
    let inner = tower::service_fn(|request: Request| async move {
        assert_eq!(request.extensions().get::<u8>(), Some(&7));
        assert_eq!(request.headers()["connection"], "x");
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let service = ProxyLayer::new(backends).path_prefix("/api").layer(inner);
    let request = Request::post("/x")
        .header("connection", "x")
        .extension(7u8)
        .body(AxumBody::from("body"))
        .unwrap();
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "body"
    );
}

/// Check 25: a request that auth refuses reaches no endpoint, and its body is never the next request.
#[tokio::test]
async fn auth_in_front() {
    within(async {
        let (backends, _server, mut requests) = backend().await;
        #[allow(deprecated)]
        let auth = ValidateRequestHeaderLayer::bearer("token");
        let app = Router::new()
            .fallback_service(ReverseProxy::new(backends))
            .layer(auth);
        let app = server::app(app).await;
        let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer token\r\n\r\n";
        let mut client = Conn::connect(app.address).await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{smuggled}",
                smuggled.len()
            ))
            .await;
        assert_eq!(client.response().await.unwrap().status(), 401);
        client
            .try_send(proxy::get("Authorization: Bearer token\r\n"))
            .await;
        if let Some(response) = client.response().await {
            assert_eq!(response.text(), "ok");
            assert_eq!(
                requests.recv().await.unwrap().start_line(),
                "GET / HTTP/1.1"
            );
        }
        assert!(requests.try_recv().is_err());
    })
    .await;
}

/// A name that auth puts on the request cannot be taken off by the client.
#[tokio::test]
async fn auth_vouches_for_a_field() {
    let (backends, _server, mut requests) = backend().await;
    let user = HeaderName::from_static("x-auth-user");
    let proxy = ReverseProxy::new(backends).protected_fields([user]);
    let app = Router::new()
        .fallback_service(proxy)
        .layer(middleware::from_fn(
            |mut request: Request, next: Next| async {
                request
                    .headers_mut()
                    .insert("x-auth-user", "me".parse().unwrap());
                next.run(request).await
            },
        ));
    call(
        app,
        at("/")
            .header("connection", "x-auth-user")
            .header("x-auth-user", "forged"),
    )
    .await;
    assert_eq!(
        requests.recv().await.unwrap().field("x-auth-user"),
        Some("me")
    );
}

/// tower-http's layers around it.
#[tokio::test]
async fn under_the_usual_layers() {
    within(async {
        let text = "compressible ".repeat(100);
        let reply = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        let (server, mut requests) = server::canned(reply).await;
        let id = HeaderName::from_static("x-request-id");
        let app = Router::new().fallback_service(ReverseProxy::to(&server.url()).unwrap()).layer(
            ServiceBuilder::new()
                .layer(SetRequestIdLayer::new(id.clone(), MakeRequestUuid))
                .layer(TraceLayer::new_for_http())
                .layer(RequestBodyLimitLayer::new(10))
                .layer(PropagateRequestIdLayer::new(id))
                .layer(CorsLayer::permissive())
                .layer(TimeoutLayer::with_status_code(StatusCode::GATEWAY_TIMEOUT, Duration::from_secs(10)))
                .layer(CompressionLayer::new()),
        );
        let app = server::app(app).await;
        let mut client = Conn::connect(app.address).await;
        client.send(proxy::get("Accept-Encoding: gzip\r\nOrigin: http://b\r\n")).await;
        let response = client.response().await.unwrap();
        assert_eq!(response.field("content-encoding"), Some("gzip"));
        assert_eq!(response.field("access-control-allow-origin"), Some("*"));
        let seen = requests.recv().await.unwrap();
        assert_eq!(seen.field("x-request-id"), response.field("x-request-id"));
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world").await;
        assert_eq!(client.response().await.unwrap().status(), 413);
        // Without a length it is found out on the way.
        let mut client = Conn::connect(app.address).await;
        client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n").await;
        let status = client.response().await.unwrap().status();
        assert!(status == 413 || status == 400, "{status}");
        assert!(requests.try_recv().is_err());
    })
    .await;
}

/// A layer between the proxy and the balancer sees requests as they go out, and can answer.
#[tokio::test]
async fn a_layer_inside() {
    let (backends, _server, mut requests) = backend().await;
    let inside = ServiceBuilder::new()
        .map_request(|mut request: http::Request<Body>| {
            let via = request.headers()["via"].clone();
            request.headers_mut().insert("x-inside", via);
            request
        })
        .concurrency_limit(1)
        .timeout(Duration::from_secs(10))
        .service(backends);
    let app = Router::new().fallback_service(ReverseProxy::new(inside));
    assert_eq!(call(app.clone(), at("/")).await.1, "ok");
    assert_eq!(call(app, at("/")).await.1, "ok");
    assert!(requests.recv().await.unwrap().has("x-inside"));
}

/// Alone under `axum::serve`, with the client's address.
#[tokio::test]
async fn alone_under_axum_serve() {
    within(async {
        let (backends, _server, mut requests) = backend().await;
        let app = Router::new().fallback_service(ReverseProxy::new(backends));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = app.into_make_service_with_connect_info::<SocketAddr>();
        let served = tokio::spawn(async move { axum::serve(listener, app).await });
        let mut client = Conn::connect(address).await;
        client.send(proxy::get("")).await;
        assert_eq!(client.response().await.unwrap().text(), "ok");
        assert_eq!(
            requests.recv().await.unwrap().field("x-forwarded-for"),
            Some("127.0.0.1")
        );
        served.abort();

        let (backends, _server, _requests) = backend().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let make = axum::ServiceExt::<Request>::into_make_service(ReverseProxy::new(backends));
        let served = tokio::spawn(async move { axum::serve(listener, make).await });
        let mut client = Conn::connect(address).await;
        client.send(proxy::get("")).await;
        assert_eq!(client.response().await.unwrap().text(), "ok");
        served.abort();
    })
    .await;
}

/// Alone under hyper, with hyper's own body type.
#[tokio::test]
async fn alone_under_hyper() {
    within(async {
        let (backends, _server, _requests) = backend().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = hyper_util::service::TowerToHyperService::new(ReverseProxy::new(backends));
        let served = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let io = hyper_util::rt::TokioIo::new(stream);
            hyper::server::conn::http1::Builder::new()
                .serve_connection(io, service)
                .await
        });
        let mut client = Conn::connect(address).await;
        client.send(proxy::get("Connection: close\r\n")).await;
        assert_eq!(client.response().await.unwrap().text(), "ok");
        served.await.unwrap().unwrap();
    })
    .await;
}

/// Errors never leave as errors, whatever the service; the hook has the last word.
#[tokio::test]
async fn errors_become_responses() {
    let fails = tower::service_fn(|_: http::Request<Body>| async {
        Err::<http::Response<Body>, _>(axum_upstream::BoxError::from("secret 10.0.0.7"))
    });
    let app = Router::new().fallback_service(ReverseProxy::new(fails));
    assert_eq!(
        call(app, at("/")).await,
        (StatusCode::BAD_GATEWAY, "Bad Gateway\n".into())
    );
    let page = |error: &Error, _: Response| {
        (StatusCode::IM_A_TEAPOT, format!("{}", error.status())).into_response()
    };
    let app = Router::new().fallback_service(ReverseProxy::new(fails).on_error(page));
    assert_eq!(
        call(app, at("/")).await,
        (StatusCode::IM_A_TEAPOT, "502 Bad Gateway".into())
    );
}

/// Check 76, over the wire.
#[tokio::test]
async fn error_bodies_give_nothing_away() {
    let refusing = server::refusing();
    let proxy = proxy::to(&refusing.url()).await;
    let mut client = Conn::connect(proxy.address).await;
    client.send(proxy::get("")).await;
    let response = within(client.response()).await.unwrap();
    assert_eq!(
        (response.status(), response.text().as_str()),
        (502, "Bad Gateway\n")
    );
    assert!(!response.head.contains("127.0.0.1"));
}

/// The client's address and scheme, from whoever knows them.
#[tokio::test]
async fn the_server_around_tells_who_and_how() {
    let (backends, _server, mut requests) = backend().await;
    let proxy = ReverseProxy::new(backends);
    let peer: SocketAddr = "[::ffff:192.0.2.7]:1".parse().unwrap();
    let request = at("http://a/")
        .extension(ConnectInfo(peer))
        .extension(http::uri::Scheme::HTTPS);
    proxy
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    let seen = requests.recv().await.unwrap();
    assert_eq!(seen.field("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    let known = proxy.clone().client_addr(([192, 0, 2, 8], 1).into());
    known
        .oneshot(
            at("http://a/")
                .extension(ConnectInfo(peer))
                .body(Body::empty())
                .unwrap(),
        )
        .await
        .unwrap();
    assert_eq!(
        requests.recv().await.unwrap().field("x-forwarded-for"),
        Some("192.0.2.8"),
        "what is set wins"
    );
    proxy
        .behind_tls()
        .oneshot(at("/").body(Body::empty()).unwrap())
        .await
        .unwrap();
    let seen = requests.recv().await.unwrap();
    assert!(!seen.has("x-forwarded-for"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let proxy = || ReverseProxy::to("http://a").unwrap();
    for (error, setting) in [
        (proxy().strip_prefix("api").unwrap_err(), "strip_prefix"),
        (proxy().add_prefix("/a b").unwrap_err(), "add_prefix"),
        (
            proxy().trusted_peers(["10.0.0.0/40"]).unwrap_err(),
            "trusted_peers",
        ),
        (proxy().via("two words").unwrap_err(), "via"),
        (ReverseProxy::to("ftp://a").unwrap_err(), "endpoint URL"),
    ] {
        assert!(
            error.is_config() && error.to_string().contains(setting),
            "{error}"
        );
    }
    assert!(
        proxy()
            .trusted_peers(["10.0.0.0/8", "::1", "192.0.2.1"])
            .is_ok()
    );
}

/// What can be sent between threads, cloned and named.
#[test]
fn traits() {
    fn shared<T: Clone + Send + Sync + Unpin + std::fmt::Debug + 'static>() {}
    fn sent<T: Send + 'static>() {}
    fn service<T: Service<http::Request<Body>>>() {}
    shared::<LoadBalance>();
    shared::<ReverseProxy<LoadBalance>>();
    shared::<ReverseProxy>();
    shared::<ProxyLayer<LoadBalance>>();
    shared::<upstream::Client>();
    shared::<axum_upstream::balance::Handle<upstream::Client>>();
    shared::<Arc<Error>>();
    sent::<<ReverseProxy<LoadBalance> as Service<Request>>::Future>();
    service::<LoadBalance>();
    service::<LoadBalance<axum_upstream::endpoint::BoxService>>();
    service::<ReverseProxy<LoadBalance<Router>>>();
}

/// What a service in this process answers: the `Host` it got.
fn tells_host() -> Router {
    Router::new().fallback(|request: Request| async move {
        let host = request.headers().get("host").cloned();
        host.map_or_else(|| "none".into(), |host| host.to_str().unwrap().to_owned())
    })
}

/// A service in this process has no authority of its own: it gets the `Host` that the client asked for.
#[tokio::test]
async fn a_router_gets_the_clients_host() {
    let (status, host) = call(
        Router::new().fallback_service(ReverseProxy::new(tells_host())),
        at("/"),
    )
    .await;
    assert_eq!((status, host.as_str()), (StatusCode::OK, "example.com"));
    // Another proxy in this process, too.
    let inner = Router::new().fallback_service(ReverseProxy::new(tells_host()));
    let outer = Router::new().fallback_service(ReverseProxy::new(inner));
    assert_eq!(call(outer, at("/")).await.1, "example.com");
    let cluster = LoadBalance::builder()
        .endpoints([EndpointSpec::new("blue", tells_host())])
        .unwrap();
    let app = Router::new().fallback_service(ReverseProxy::new(cluster));
    assert_eq!(call(app, at("/")).await.1, "example.com");
    // What was chosen is kept.
    let fixed = HostPolicy::Fixed("fixed.test".parse().unwrap());
    let app = Router::new().fallback_service(ReverseProxy::new(tells_host()).host(fixed));
    assert_eq!(call(app, at("/")).await.1, "fixed.test");
}

/// A server gets its own authority through whatever stands between, unless another was chosen.
#[tokio::test]
async fn a_server_gets_its_own_host_through_a_cluster_in_a_cluster() {
    let (inner, server, mut requests) = backend().await;
    let outer = LoadBalance::builder()
        .endpoints([EndpointSpec::new("blue", inner)])
        .unwrap();
    let proxy = ReverseProxy::new(outer);
    call(Router::new().fallback_service(proxy.clone()), at("/")).await;
    let own = server.address.to_string();
    assert_eq!(
        requests.recv().await.unwrap().field("host"),
        Some(own.as_str())
    );

    for (proxy, host) in [
        (proxy.clone().host(HostPolicy::Preserve), "example.com"),
        (
            proxy.rewrite_request(|head| {
                drop(head.headers.insert("host", "chosen.test".parse().unwrap()));
            }),
            "chosen.test",
        ),
    ] {
        call(Router::new().fallback_service(proxy), at("/")).await;
        assert_eq!(requests.recv().await.unwrap().field("host"), Some(host));
    }
}

/// A layer inside that chooses a host is obeyed, though it knows nothing of the one that is there.
#[tokio::test]
async fn a_layer_inside_may_choose_the_host() {
    let (backends, _server, mut requests) = backend().await;
    let inside = ServiceBuilder::new()
        .map_request(|mut request: http::Request<Body>| {
            let host = "layer.test".parse().unwrap();
            request.headers_mut().insert("host", host);
            request
        })
        .service(backends);
    call(
        Router::new().fallback_service(ReverseProxy::new(inside)),
        at("/"),
    )
    .await;
    assert_eq!(
        requests.recv().await.unwrap().field("host"),
        Some("layer.test")
    );
}
