//! What clients may reach, and the tricks by which they could try to reach more.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use axum_upstream::{
    Error, ErrorKind, ForwardProxy,
    proxy::{ProxyUser, TargetPolicy},
    upstream::Client,
};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tower::{ServiceExt, service_fn};

use super::{Tunnel, both_versions, connect_head, echo, local, serve};
use crate::support::{Conn, counted, server, within};

/// Asks a proxy without a server around it.
async fn ask(proxy: &ForwardProxy, request: http::request::Builder) -> Response<axum::body::Body> {
    let request = request.body(axum::body::Body::empty()).unwrap();
    proxy.clone().oneshot(request).await.unwrap()
}

/// A proxy that resolves these names, and counts the questions.
fn resolving(policy: TargetPolicy, names: &[(&str, &[&str])]) -> (ForwardProxy, Arc<AtomicUsize>) {
    let names: HashMap<String, Vec<SocketAddr>> = names
        .iter()
        .map(|(name, addresses)| {
            let address = |ip: &&str| SocketAddr::new(ip.parse::<IpAddr>().unwrap(), 0);
            ((*name).to_owned(), addresses.iter().map(address).collect())
        })
        .collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let resolver = service_fn(move |name: String| {
        count.fetch_add(1, SeqCst);
        let found = names.get(&name).cloned();
        async move { found.ok_or(std::io::Error::from(std::io::ErrorKind::NotFound)) }
    });
    let client = Client::builder().resolver(resolver);
    (ForwardProxy::with_client(policy, client).unwrap(), asked)
}

/// Every way to write an address of this host, of a private network or of a cloud's metadata is refused: as no host, or
/// as one that is not allowed. None is connected to.
#[tokio::test]
async fn disguised_addresses_are_refused() {
    within(async {
        // Would answer if one of them were taken for 127.0.0.1.
        let (inside, count) = counted::http1(1).await;
        let port = inside.address.port();
        let policy = TargetPolicy::new()
            .http_ports([1..=u16::MAX])
            .connect_ports([1..=u16::MAX]);
        let proxy = serve(ForwardProxy::new(policy)).await;
        for (host, status) in [
            ("127.0.0.1", 403),
            ("127.0.0.1.", 403),
            ("127.8.8.8", 403),
            ("0.0.0.0", 403),
            ("localhost", 403),
            ("LOCALHOST.", 403),
            ("10.0.0.1", 403),
            ("192.168.0.1", 403),
            ("169.254.169.254", 403),
            ("100.100.100.200", 403),
            ("[::]", 403),
            ("[::1]", 403),
            ("[0:0:0:0:0:0:0:1]", 403),
            ("[::ffff:127.0.0.1]", 403),
            ("[::ffff:7f00:1]", 403),
            ("[::127.0.0.1]", 403),
            ("[64:ff9b::127.0.0.1]", 403),
            ("[2002:7f00:1::]", 403),
            ("[fe80::1]", 403),
            ("[fd00:ec2::254]", 403),
            // Decimal, octal, hexadecimal, short.
            ("2130706433", 400),
            ("017700000001", 400),
            ("0x7f000001", 400),
            ("0177.0.0.1", 400),
            ("0x7f.0.0.1", 400),
            ("127.1", 400),
            ("0", 400),
            ("[::1%25lo]", 400),
            ("user@127.0.0.1", 400),
        ] {
            for request in [
                format!("GET http://{host}:{port}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
                format!("CONNECT {host}:{port} HTTP/1.1\r\nHost: a\r\n\r\n"),
            ] {
                let mut client = Conn::connect(proxy.address).await;
                client.send(&request).await;
                let response = client.response().await.unwrap();
                assert_eq!(response.status(), status, "{request}");
            }
        }
        assert_eq!(count.made(), 0);
    })
    .await;
}

both_versions! {
    /// A name is what it resolves to.
    async fn names_of_private_addresses_are_refused(http) {
        let (target, count) = counted::http1(1).await;
        let policy = || TargetPolicy::new().connect_ports([1..=u16::MAX]);
        let (proxy, _) = resolving(policy(), &[
            ("loopback.example", &["127.0.0.1"]),
            ("mapped.example", &["::ffff:127.0.0.1"]),
            ("both.example", &["10.0.0.1", "::1"]),
        ]);
        let proxy = serve(proxy).await;
        let port = target.address.port();
        for name in ["loopback.example", "mapped.example", "both.example"] {
            let refused = Tunnel::open(http, &proxy, format!("{name}:{port}")).await.err();
            assert_eq!(refused, Some(StatusCode::FORBIDDEN), "{name}");
        }
        assert_eq!(count.made(), 0);
    }
}

both_versions! {
    /// Rebinding: a name that has another address when it is looked up for the second time is not looked up for the
    /// second time.
    async fn names_are_looked_up_once(http) {
        let target = echo("hello").await;
        let answers = Arc::new(Mutex::new(vec!["192.168.0.1", "127.0.0.1"]));
        let left = answers.clone();
        let resolver = service_fn(move |_: String| {
            let address = answers.lock().unwrap().pop().unwrap();
            async move { Ok::<_, std::io::Error>([SocketAddr::new(address.parse().unwrap(), 0)]) }
        });
        let client = Client::builder().resolver(resolver);
        let proxy = serve(ForwardProxy::with_client(local(), client).unwrap()).await;
        let name = format!("rebinding.example:{}", target.address.port());
        let mut tunnel = Tunnel::open(http, &proxy, &name).await.unwrap();
        assert_eq!(tunnel.take(5).await, b"hello");
        assert_eq!(left.lock().unwrap().len(), 1);
        let refused = Tunnel::open(http, &proxy, &name).await.err();
        assert_eq!(refused, Some(StatusCode::FORBIDDEN));
    }
}

/// The same for requests in absolute form.
#[tokio::test]
async fn names_of_requests_are_looked_up_once() {
    within(async {
        let (target, mut requests) = server::canned(crate::support::proxy::OK).await;
        let (proxy, asked) = resolving(local(), &[("a.example", &["127.0.0.1"])]);
        let url = format!("http://A.example.:{}/", target.address.port());
        for _ in 0..2 {
            let response = ask(&proxy, Request::get(&url).header("host", "b")).await;
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.unwrap();
            let host = requests.recv().await.unwrap();
            let expected = format!("A.example.:{}", target.address.port());
            assert_eq!(host.field("host"), Some(expected.as_str()));
        }
        // The second request had the connection of the first.
        assert_eq!(asked.load(SeqCst), 1);
    })
    .await;
}

/// Of several addresses those that are denied are left out.
#[tokio::test]
async fn addresses_that_are_allowed_are_connected_to() {
    within(async {
        let (target, count) = counted::http1(1).await;
        let (proxy, _) = resolving(
            local(),
            &[("a.example", &["10.0.0.1", "::ffff:10.0.0.1", "127.0.0.1"])],
        );
        let url = format!("http://a.example:{}/", target.address.port());
        let response = ask(&proxy, Request::get(url).header("host", "a")).await;
        assert_eq!((response.status(), count.made()), (StatusCode::OK, 1));
    })
    .await;
}

/// The status, the words for the client, and the error for a layer in front, which names the target.
#[tokio::test]
async fn a_denial_says_why() {
    let policy = TargetPolicy::new()
        .deny_hosts(["*.ads.example"])
        .unwrap()
        .check(|facts| match facts.user() {
            Some("guest") => Err("guests may not"),
            _ => Ok(()),
        });
    let (proxy, asked) = resolving(policy, &[("a.example", &["10.0.0.1"])]);
    let guest = || ProxyUser::new("guest");
    for (request, why) in [
        (
            Request::get("http://a.example:25/"),
            "the port is not allowed",
        ),
        (
            Request::get("http://a.example:1024/"),
            "the port is not allowed",
        ),
        (Request::connect("a.example:80"), "the port is not allowed"),
        (Request::connect("a.example:22"), "the port is not allowed"),
        (
            Request::get("http://x.ads.example/"),
            "the host is not allowed",
        ),
        (
            Request::get("http://b.example/").extension(guest()),
            "guests may not",
        ),
        (
            Request::connect("b.example:443").extension(guest()),
            "guests may not",
        ),
    ] {
        let response = ask(&proxy, request.header("host", "a")).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        let error = response.extensions().get::<Arc<Error>>().unwrap().clone();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(
            error
                .endpoint()
                .is_some_and(|target| target.contains("example:")),
            "{error:?}"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, format!("Forbidden: {why}\n"));
    }
    assert_eq!(
        asked.load(SeqCst),
        0,
        "no name is looked up for what is denied without"
    );

    let response = ask(
        &proxy,
        Request::get("http://a.example/").header("host", "a"),
    )
    .await;
    let error = response.extensions().get::<Arc<Error>>().unwrap();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let cause = std::error::Error::source(&**error).unwrap().to_string();
    assert_eq!(cause, "10.0.0.1 is denied: private use (RFC 1918)");
}

/// A connection that another client has opened is no way around the policy: ports, hosts and closures are checked for
/// each request, and the rules about addresses are the same for all.
#[tokio::test]
async fn a_shared_connection_opens_nothing() {
    within(async {
        let (target, count) = counted::http1(9).await;
        let policy = local().check(|facts| match facts.user() {
            Some("alan") => Ok(()),
            _ => Err("only alan may"),
        });
        let (proxy, _) = resolving(policy, &[("a.example", &["127.0.0.1"])]);
        let url = format!("http://a.example:{}/", target.address.port());
        let get = || Request::get(&url).header("host", "a");
        let response = ask(&proxy, get().extension(ProxyUser::new("alan"))).await;
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().collect().await.unwrap();
        for request in [get(), get().extension(ProxyUser::new("grace"))] {
            assert_eq!(ask(&proxy, request).await.status(), StatusCode::FORBIDDEN);
        }
        assert_eq!(count.made(), 1);
    })
    .await;
}

/// What the closures are shown.
#[tokio::test]
async fn facts_are_canonical() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let facts = seen.clone();
    let policy = TargetPolicy::new()
        .http_ports([1..=u16::MAX])
        .check(move |of| {
            let target = of.target();
            let shown = format!("{target} {:?} {:?}", target.ip(), of.client());
            facts.lock().unwrap().push(shown);
            Err("seen")
        });
    let client = "[::ffff:192.0.2.7]:1".parse().unwrap();
    let proxy = ForwardProxy::new(policy).client_addr(client);
    for url in ["http://A.Example./", "https://[2001:DB8::0:1]:8443/"] {
        ask(&proxy, Request::get(url).header("host", "a")).await;
    }
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "a.example:80 None Some(192.0.2.7)",
            "[2001:db8::1]:8443 Some(2001:db8::1) Some(192.0.2.7)",
        ]
    );
}

/// A connector looks names up itself, so nothing could be checked.
#[tokio::test]
async fn a_connector_is_refused() {
    let connector = service_fn(|_: http::Uri| async {
        Err::<axum_upstream::upstream::TokioIo<tokio::net::TcpStream>, _>("never")
    });
    let client = Client::builder().connector(connector);
    let error = ForwardProxy::with_client(TargetPolicy::new(), client).unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("connector"),
        "{error}"
    );
    let client = Client::builder().max_connections(0);
    assert!(
        ForwardProxy::with_client(TargetPolicy::new(), client)
            .unwrap_err()
            .is_config()
    );
}

/// The rest of a request whose target is refused is no other request.
#[tokio::test]
async fn a_malformed_target_closes_the_connection() {
    within(async {
        let proxy = serve(ForwardProxy::new(TargetPolicy::new())).await;
        let mut client = Conn::connect(proxy.address).await;
        client.send(connect_head("2130706433:443")).await;
        assert_eq!(client.response().await.unwrap().status(), 400);
        assert!(client.closed().await);
    })
    .await;
}
