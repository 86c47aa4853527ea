//! The PROXY header, by which endpoints learn the addresses of clients.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::Request};
use axum_upstream::{
    HealthCheck, LoadBalance, ReverseProxy,
    upstream::{Client, ProxyProtocol, ProxyProtocol::V1, ProxyProtocol::V2, TokioIo},
};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
    sync::mpsc,
};
use tokio_rustls::TlsAcceptor;
use tower::{ServiceExt, service_fn};

use crate::support::{
    Conn,
    counted::Count,
    direct::{get, send},
    eventually, proxy, server,
    server::{Server, speak},
    tls::Authority,
    within,
};

/// Reads a header and not a byte more, and returns what it says in the words of version 1.
async fn header(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut start = vec![0; 13];
    stream.read_exact(&mut start).await.unwrap();
    if start.starts_with(b"PROXY ") {
        while !start.ends_with(b"\r\n") {
            start.push(stream.read_u8().await.unwrap());
        }
        let line = String::from_utf8(start).unwrap();
        return line["PROXY ".len()..].trim_end().to_owned();
    }
    assert_eq!(start[..12], *b"\r\n\r\n\0\r\nQUIT\n");
    let family = stream.read_u8().await.unwrap();
    let mut rest = vec![0; stream.read_u16().await.unwrap().into()];
    stream.read_exact(&mut rest).await.unwrap();
    let port = |at: usize| u16::from_be_bytes([rest[at], rest[at + 1]]);
    match (start[12], family, rest.len()) {
        (0x20, 0, 0) => "LOCAL".into(),
        (0x21, 0x11, 12) => {
            let ip = |at: usize| std::net::Ipv4Addr::from(*rest[at..].first_chunk::<4>().unwrap());
            format!("TCP4 {} {} {} {}", ip(0), ip(4), port(8), port(10))
        }
        (0x21, 0x21, 36) => {
            let ip = |at: usize| std::net::Ipv6Addr::from(*rest[at..].first_chunk::<16>().unwrap());
            format!("TCP6 {} {} {} {}", ip(0), ip(16), port(32), port(34))
        }
        other => panic!("{other:?}"),
    }
}

/// Answers every request of a connection with the header that it began with.
async fn tell(mut stream: TcpStream) {
    let header = header(&mut stream).await;
    let mut conn = Conn::new(stream);
    while conn.request().await.is_some() {
        let length = header.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{header}"
        ))
        .await;
    }
}

/// A server that answers every request with the header of its connection.
async fn telling() -> (Server, Count) {
    let count = Count::default();
    let entered = count.clone();
    let server = Server::accepting(move |stream, _| {
        let counted = entered.enter();
        async move {
            let _counted = counted;
            tell(stream).await;
        }
    });
    (server.await, count)
}

fn client(version: ProxyProtocol, url: &str) -> Client {
    let client = Client::builder().proxy_protocol(version);
    client.build(url).unwrap()
}

/// A connection to a proxy, and the address that it is from.
async fn connect(proxy: &Server) -> (Conn, SocketAddr) {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let from = stream.local_addr().unwrap();
    (Conn::new(stream), from)
}

async fn ask(client: &mut Conn, fields: &str) -> String {
    client.send(proxy::get(fields)).await;
    client.response().await.unwrap().text()
}

/// The answer to a request of a client with this address, to a proxy that has no socket.
async fn ask_as(proxy: &ReverseProxy<Client>, from: &str) -> String {
    let proxy = proxy
        .clone()
        .client_addr(from.parse::<SocketAddr>().unwrap());
    let request = Request::get("/").header("host", "a");
    let request = request.body(axum::body::Body::empty()).unwrap();
    let response = proxy.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().into()).unwrap()
}

/// What a header says of a client and a server in IPv4.
fn tcp4(from: SocketAddr, to: &Server) -> String {
    let to = to.address;
    format!(
        "TCP4 {} {} {} {}",
        from.ip(),
        to.ip(),
        from.port(),
        to.port()
    )
}

#[tokio::test]
async fn each_client_has_connections_of_its_own() {
    for version in [V1, V2] {
        within(async {
            let (server, count) = telling().await;
            let proxy = proxy::serve(ReverseProxy::new(client(version, &server.url()))).await;
            let (mut alice, alices) = connect(&proxy).await;
            let (mut bob, bobs) = connect(&proxy).await;
            for _ in 0..3 {
                assert_eq!(ask(&mut alice, "").await, tcp4(alices, &server));
                assert_eq!(ask(&mut bob, "").await, tcp4(bobs, &server));
            }
            assert_eq!(count.made(), 2);
        })
        .await;
    }
}

/// 2.1 and 2.2: a header has one family for both addresses.
#[tokio::test]
async fn families_are_not_mixed() {
    for version in [V1, V2] {
        within(async {
            let (server, _) = telling().await;
            let port = server.address.port();
            let proxy = ReverseProxy::new(client(version, &server.url()));
            assert_eq!(
                ask_as(&proxy, "[2001:db8::1]:9")
                    .await
                    .replace("7f00:1", "127.0.0.1"),
                format!("TCP6 2001:db8::1 ::ffff:127.0.0.1 9 {port}")
            );
            assert_eq!(
                ask_as(&proxy, "[::ffff:192.0.2.1]:9").await,
                format!("TCP4 192.0.2.1 127.0.0.1 9 {port}")
            );
        })
        .await;
    }
}

/// A client behind a trusted proxy is named by that proxy, and its port is unknown.
#[tokio::test]
async fn trusted_peers_are_believed() {
    for version in [V1, V2] {
        within(async {
            let (server, count) = telling().await;
            let proxy = ReverseProxy::new(client(version, &server.url()));
            let strict = proxy::serve(proxy.clone()).await;
            let proxy = proxy::serve(proxy.trusted_peers(["127.0.0.1/32"]).unwrap()).await;
            let port = server.address.port();
            let (mut front, fronts) = connect(&proxy).await;
            for _ in 0..2 {
                for ip in ["192.0.2.1", "192.0.2.2"] {
                    let said = ask(&mut front, &format!("X-Forwarded-For: {ip}\r\n")).await;
                    assert_eq!(said, format!("TCP4 {ip} 127.0.0.1 0 {port}"));
                }
                let said = ask(&mut front, "X-Forwarded-For: unknown\r\n").await;
                assert_eq!(said, tcp4(fronts, &server));
            }
            assert_eq!(count.made(), 3);
            let (mut liar, from) = connect(&strict).await;
            let said = ask(&mut liar, "X-Forwarded-For: 192.0.2.1\r\n").await;
            assert_eq!(said, tcp4(from, &server));
        })
        .await;
    }
}

/// The proxy's own requests share connections with each other, and with no client.
#[tokio::test]
async fn requests_of_no_client_are_the_proxys_own() {
    for (version, local) in [(V1, "UNKNOWN"), (V2, "LOCAL")] {
        within(async {
            let (server, count) = telling().await;
            let client = client(version, &server.url());
            for _ in 0..2 {
                let response = client.clone().oneshot(get()).await.unwrap();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body, local);
            }
            assert_eq!(count.made(), 1);
            let proxy = ReverseProxy::new(client.clone());
            let told = ask_as(&proxy, "192.0.2.1:9").await;
            assert!(told.starts_with("TCP4 192.0.2.1 "), "{told}");
            assert_eq!(count.made(), 2);
            assert_eq!(send(&client, get()).await, StatusCode::OK);
            assert_eq!(count.made(), 2);
        })
        .await;
    }
}

#[tokio::test]
async fn health_checks_are_the_proxys_own() {
    for (version, local) in [(V1, "UNKNOWN"), (V2, "LOCAL")] {
        for check in [HealthCheck::http("/").unwrap(), HealthCheck::tcp()] {
            within(async {
                let (heard, mut headers) = mpsc::unbounded_channel();
                let server = Server::accepting(move |mut stream, _| {
                    let heard = heard.clone();
                    async move {
                        let _ = heard.send(header(&mut stream).await);
                        let mut conn = Conn::new(stream);
                        while conn.request().await.is_some() {
                            conn.send(proxy::OK).await;
                        }
                    }
                })
                .await;
                let _balance = LoadBalance::builder()
                    .client(Client::builder().proxy_protocol(version))
                    .health_check(check)
                    .urls([server.url()])
                    .unwrap();
                assert_eq!(headers.recv().await.unwrap(), local);
            })
            .await;
        }
    }
}

/// The header comes before TLS, over which HTTP/2 is not offered: several clients would share it.
#[tokio::test]
async fn the_header_comes_before_tls() {
    for version in [V1, V2] {
        within(async {
            let authority = Authority::new();
            let mut config = authority.issue(&["localhost"], |_| ()).server();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let server = Server::accepting(move |mut stream, _| {
                let acceptor = acceptor.clone();
                async move {
                    let header = header(&mut stream).await;
                    let app = Router::new().fallback(move |request: Request| {
                        let version = request.version();
                        async move { format!("{version:?} {header}") }
                    });
                    speak(acceptor.accept(stream).await.unwrap(), app).await;
                }
            })
            .await;
            let url = format!("https://localhost:{}", server.address.port());
            let settings = Client::builder().tls(authority.client());
            let client = settings.proxy_protocol(version).build(&url).unwrap();
            let proxy = proxy::serve(ReverseProxy::new(client)).await;
            let (mut alice, alices) = connect(&proxy).await;
            let (mut bob, bobs) = connect(&proxy).await;
            for _ in 0..2 {
                let told = |of| format!("HTTP/1.1 {}", tcp4(of, &server));
                assert_eq!(ask(&mut alice, "").await, told(alices));
                assert_eq!(ask(&mut bob, "").await, told(bobs));
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_tunnel_begins_with_the_header() {
    for version in [V1, V2] {
        within(async {
            let server = Server::accepting(|mut stream, _| async move {
                let header = header(&mut stream).await;
                let mut conn = Conn::new(stream);
                conn.head().await;
                conn.send("HTTP/1.1 101 Yes\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
                    .await;
                conn.send(header).await;
            })
            .await;
            let proxy = proxy::serve(ReverseProxy::new(client(version, &server.url()))).await;
            let (mut client, from) = connect(&proxy).await;
            client
                .send(proxy::get("Connection: Upgrade\r\nUpgrade: websocket\r\n"))
                .await;
            assert!(client.head().await.unwrap().starts_with("HTTP/1.1 101"));
            assert_eq!(client.rest().await, tcp4(from, &server).as_bytes());
        })
        .await;
    }
}

/// The header names the endpoint that it is sent to, whichever was asked first.
#[tokio::test]
async fn a_retry_has_a_header_of_its_own() {
    for version in [V1, V2] {
        within(async {
            // One that refuses, and one that takes the header and closes.
            let refusing = server::refusing();
            let closing = Server::accepting(|mut stream, _| async move {
                header(&mut stream).await;
            })
            .await;
            let (server, _) = telling().await;
            let balance = LoadBalance::builder()
                .client(Client::builder().proxy_protocol(version))
                .seed(1)
                .urls([refusing.url(), closing.url(), server.url()])
                .unwrap();
            let proxy = proxy::serve(ReverseProxy::new(balance)).await;
            for _ in 0..8 {
                let (mut client, from) = connect(&proxy).await;
                assert_eq!(ask(&mut client, "").await, tcp4(from, &server));
            }
        })
        .await;
    }
}

/// A connection that only its client may use does not keep others from the last place.
#[tokio::test]
async fn a_connection_of_another_client_makes_room() {
    within(async {
        let (server, count) = telling().await;
        let settings = Client::builder().proxy_protocol(V2).max_connections(1);
        let client = settings.build(&server.url()).unwrap();
        let proxy = proxy::serve(ReverseProxy::new(client)).await;
        let (mut alice, alices) = connect(&proxy).await;
        let (mut bob, bobs) = connect(&proxy).await;
        for _ in 0..2 {
            assert_eq!(ask(&mut alice, "").await, tcp4(alices, &server));
            assert_eq!(ask(&mut bob, "").await, tcp4(bobs, &server));
        }
        assert_eq!((count.made(), count.most()), (4, 1));
    })
    .await;
}

/// Where the address of the server is unknown, it is the unspecified one: a header has two addresses or none.
#[cfg(unix)]
#[tokio::test]
async fn a_server_may_have_no_address() {
    for version in [V1, V2] {
        within(async {
            let name = format!("axum-upstream-header-{version:?}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = std::fs::remove_file(&path);
            let listener = tokio::net::UnixListener::bind(&path).unwrap();
            let accepting = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                header(&mut stream).await
            });
            let proxy = client(version, &format!("unix:{}", path.display()));
            ask_as(&ReverseProxy::new(proxy), "192.0.2.1:9").await;
            std::fs::remove_file(path).unwrap();
            assert_eq!(accepting.await.unwrap(), "TCP4 192.0.2.1 0.0.0.0 9 0");
        })
        .await;
    }
}

/// An endpoint that does not take the header is given up with the connect timeout, and its stream is closed.
#[tokio::test(start_paused = true)]
async fn a_header_that_is_not_taken_is_a_connect_timeout() {
    let (made, mut streams) = mpsc::unbounded_channel();
    let connector = service_fn(move |_: http::Uri| {
        let (own, other) = tokio::io::duplex(8);
        made.send(other).unwrap();
        async move { Ok::<_, std::io::Error>(TokioIo::new(own)) }
    });
    let settings = Client::builder().connector(connector).proxy_protocol(V1);
    let settings = settings.connect_timeout(Duration::from_secs(2));
    let client = settings.build("http://a").unwrap();
    let error = client.oneshot(get()).await.unwrap_err().into_error();
    assert!(error.is_connect() && error.is_timeout(), "{error:?}");
    let mut sent = String::new();
    let mut stream = streams.recv().await.unwrap();
    stream.read_to_string(&mut sent).await.unwrap();
    assert_eq!(sent, "PROXY UN");
}

#[tokio::test]
async fn what_would_be_shared_or_come_too_late_is_refused() {
    let settings = Client::builder().proxy_protocol(V2);
    let error = settings.build("h2c://a").unwrap_err();
    assert!(error.is_config(), "{error}");
    assert!(error.to_string().contains("proxy_protocol"), "{error}");
    let connector = service_fn(|_: http::Uri| async {
        Err::<TokioIo<TcpStream>, _>(std::io::Error::other("not reached"))
    });
    for settings in [
        settings.clone().tls_connector(connector, |_| false),
        settings.clone().tls_connector_http1(connector),
    ] {
        let error = settings.build("https://a").unwrap_err();
        assert!(error.to_string().contains("proxy_protocol"), "{error}");
        settings.build("http://a").unwrap();
    }
    settings.connector(connector).build("https://a").unwrap();
}

/// A connection of a client closes when it has idled for a while, like one that NTLM has authenticated.
#[tokio::test]
async fn a_connection_of_ones_own_closes_when_it_idles() {
    let (server, count) = telling().await;
    let proxy = ReverseProxy::new(client(V2, &server.url()));
    ask_as(&proxy, "192.0.2.1:9").await;
    assert_eq!(count.open(), 1);
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(16)).await;
    eventually(|| count.open() == 0).await;
}
