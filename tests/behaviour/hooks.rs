//! What an application may change on the way, and what it is kept from.

use axum::{body::Body as AxumBody, response::Response};
use axum_upstream::{Error, ErrorKind, ReverseProxy, upstream};
use http::{HeaderValue, Method, Request, StatusCode, Version, request::Parts};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::support::{
    proxy::{OK, exchange_with, get},
    server,
};

type Proxy = ReverseProxy<upstream::Client>;

fn add(name: &'static str) -> impl Fn(&mut Parts) {
    move |head: &mut Parts| {
        let count = head.headers.len();
        head.headers.insert(name, count.into());
    }
}

/// What a proxy answers, and what reached its endpoint.
async fn call(settings: impl FnOnce(Proxy) -> Proxy) -> (Response, Option<String>) {
    let (server, mut requests) = server::canned(OK).await;
    let proxy = settings(ReverseProxy::to(&server.url()).unwrap());
    let request = Request::get("/x?y").header("host", "example.com");
    let response = proxy
        .oneshot(request.body(AxumBody::empty()).unwrap())
        .await;
    let seen = requests.try_recv().ok().map(|seen| seen.head);
    (response.unwrap(), seen)
}

/// One after the other, none instead of another.
#[tokio::test]
async fn hooks_are_added_up() {
    let settings = |proxy: Proxy| {
        proxy
            .rewrite_request(add("x-first"))
            .rewrite_request(add("x-second"))
            .rewrite_response(|head| drop(head.headers.insert("x-order", "1".parse().unwrap())))
            .rewrite_response(|head| {
                head.headers.append("x-order", "2".parse().unwrap());
            })
    };
    let proxy = exchange_with(settings, get(""), OK).await;
    let number = |name| proxy.up().field(name).unwrap().parse::<usize>().unwrap();
    assert_eq!(number("x-first") + 1, number("x-second"));
    assert_eq!(proxy.down.all("x-order"), ["1", "2"]);

    let refusing = server::refusing();
    let status = |error: &Error, _: Response| {
        let mut response = Response::new(AxumBody::from("page"));
        *response.status_mut() = error.status();
        response
    };
    let mark = |_: &Error, mut response: Response| {
        response
            .headers_mut()
            .insert("x-mark", HeaderValue::from_static("1"));
        response
    };
    let proxy = ReverseProxy::to(&refusing.url()).unwrap();
    let proxy = proxy.on_error(status).on_error(mark);
    let request = Request::get("/")
        .header("host", "a")
        .body(AxumBody::empty());
    let response = proxy.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers()["x-mark"], "1");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "page"
    );
}

/// An absolute URI would choose no endpoint, but be sent to this one in absolute form.
#[tokio::test]
async fn a_request_that_cannot_be_sent_is_the_hooks_fault() {
    type Hook = fn(&mut Parts);
    let hooks: [(Hook, &str); 3] = [
        (
            |head| head.uri = "http://other.test/x".parse().unwrap(),
            "absolute URI",
        ),
        (
            |head| head.uri = "other.test:80".parse().unwrap(),
            "absolute URI",
        ),
        (|head| head.method = Method::CONNECT, "CONNECT"),
    ];
    for (hook, says) in hooks {
        let (response, seen) = call(|proxy| proxy.rewrite_request(hook)).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(seen.is_none(), "{seen:?}");
        let error = response
            .extensions()
            .get::<std::sync::Arc<Error>>()
            .unwrap();
        assert_eq!(error.kind(), ErrorKind::Hook);
        assert!(error.to_string().contains(says), "{error}");
    }
    // The version belongs to the connection.
    let (_, seen) =
        call(|proxy| proxy.rewrite_request(|head| head.version = Version::HTTP_10)).await;
    assert!(seen.unwrap().starts_with("GET /x?y HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_hook_may_refuse() {
    let refuse = |head: &mut Parts| match head.uri.query() {
        None => Ok(()),
        Some(_) => Err((StatusCode::FORBIDDEN, "no queries")),
    };
    let settings = |proxy: Proxy| proxy.try_rewrite_request(refuse);
    let (response, seen) = call(settings).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(seen.is_none());
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "no queries");
    let settings = |proxy: Proxy| {
        proxy
            .rewrite_request(|head| head.uri = "/z".parse().unwrap())
            .try_rewrite_request(refuse)
    };
    let (response, seen) = call(settings).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(seen.unwrap().starts_with("GET /z "));
}

/// It is shown the head as it is sent, with what other hooks have left in its extensions.
#[tokio::test]
async fn a_response_hook_may_see_the_request() {
    let settings = |proxy: Proxy| {
        proxy
            .rewrite_response_to(|request| {
                let host = request.headers["x-forwarded-host"].clone();
                let tenant = *request.extensions.get::<u16>().unwrap();
                let path = request.uri.path().to_owned();
                move |response| {
                    response.headers.insert("x-host", host);
                    response.headers.insert("x-tenant", tenant.into());
                    response.headers.insert("x-path", path.parse().unwrap());
                }
            })
            .rewrite_response(|response| {
                let tenant = response.headers["x-tenant"].clone();
                response.headers.insert("x-later", tenant);
            })
            .rewrite_request(|head| {
                head.extensions.insert(7u16);
            })
    };
    let (response, _) = call(settings).await;
    for (name, value) in [
        ("x-host", "example.com"),
        ("x-tenant", "7"),
        ("x-path", "/x"),
        ("x-later", "7"),
    ] {
        assert_eq!(response.headers()[name], value, "{name}");
    }
}

/// A page of one's own does not take away what HTTP requires (RFC 9112 6.3, RFC 9110 15.5.6).
#[tokio::test]
async fn an_error_page_keeps_the_required_fields() {
    let page = |proxy: Proxy| {
        proxy.on_error(|_: &Error, _: Response| Response::new(AxumBody::from("sorry")))
    };
    let keep = |proxy: Proxy| {
        proxy.on_error(|_: &Error, response: Response| {
            let mut page = Response::new(AxumBody::from("sorry"));
            *page.status_mut() = response.status();
            page
        })
    };
    let malformed = exchange_with(page, "GET / HTTP/1.1\r\n\r\n", OK).await;
    assert_eq!(malformed.down.text(), "sorry");
    assert_eq!(malformed.down.field("connection"), Some("close"));
    let connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    let refused = exchange_with(keep, connect, OK).await;
    assert_eq!(refused.down.status(), 405);
    assert!(refused.down.has("allow"));
}
