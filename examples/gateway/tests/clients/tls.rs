//! TLS with clients.

use std::process::Command;

use http::Request;
use rustls::{HandshakeKind, ProtocolVersion, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::spawn_blocking,
};
use tokio_rustls::TlsConnector;

use super::{
    authority::{Authority, Folder},
    support::{Conn, Gateway, OK, Origin, ask, soon},
};

const H2: &[&str] = &["h2", "http/1.1"];

/// A gateway whose second listener has TLS, with these certificates.
fn start(origin: &Origin, certificates: &[String], more: &[&str]) -> Gateway {
    let mut flags = vec!["--tls-listen", "127.0.0.1:0"];
    flags.extend(certificates.iter().map(String::as_str));
    flags.extend(more);
    Gateway::start(origin, &flags)
}

#[tokio::test]
async fn both_versions_are_agreed_on_and_endpoints_are_told() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await;
    let gateway = start(&origin, &pair, &[]);
    let address = gateway.address_of(1);
    for alpn in [&[][..], &["http/1.1"], H2] {
        let stream = authority.connect(address, "a.example", alpn, None).await;
        let stream = stream.unwrap();
        let session = stream.get_ref().1;
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        let agreed = session.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed.as_deref(), alpn.first().map(|name| name.as_bytes()));
        let client = async {
            if alpn == H2 {
                let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
                let connection = tokio::spawn(connection);
                let request = Request::get("https://a.example/").body(()).unwrap();
                let response = ask(&mut send, request).await.unwrap();
                assert_eq!(response.status(), 200);
                connection.abort();
            } else {
                let mut client = Conn::over(stream);
                client.get().await;
                client.get().await;
            }
        };
        let server = async {
            let mut server = origin.accept().await;
            let head = server.head().await;
            server.send(OK).await;
            if alpn != H2 {
                server.head().await;
                server.send(OK).await;
            }
            (server, head)
        };
        let ((), (_server, head)) = tokio::join!(client, server);
        assert!(head.contains("\r\nx-forwarded-proto: https\r\n"), "{head}");
        assert!(
            head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
            "{head}"
        );
    }
    // The other listener is as it is.
    let mut client = gateway.connect().await;
    let server = async {
        let mut server = origin.accept().await;
        let head = server.head().await;
        assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");
        server.send(OK).await;
        server
    };
    let ((), _server) = tokio::join!(client.get(), server);
}

#[tokio::test]
async fn the_certificate_is_that_of_the_name_that_is_asked_for() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let mut pairs = authority.server(&["first.example"]).write(&folder, "1");
    pairs.extend(authority.server(&["*.wild.example"]).write(&folder, "2"));
    pairs.extend(authority.server(&["b.example"]).write(&folder, "3"));
    let origin = Origin::new().await;
    let gateway = start(&origin, &pairs, &[]);
    let address = gateway.address_of(1);
    for name in ["first.example", "a.wild.example", "b.example"] {
        let stream = authority.connect(address, name, H2, None).await;
        assert!(stream.is_ok(), "{name}: {stream:?}");
    }
    // They get the first, which is not theirs.
    for name in ["other.example", "a.b.wild.example", "wild.example"] {
        let stream = authority.connect(address, name, H2, None).await;
        assert!(stream.is_err(), "{name}");
    }
}

#[tokio::test]
async fn the_lowest_version_is_the_lowest() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    folder.write("ca.pem", &authority.pem());
    let origin = Origin::new().await.answering(OK);
    for (lowest, answered) in [("1.2", true), ("1.3", false)] {
        let gateway = start(&origin, &pair, &["--tls-min-version", lowest]);
        let address = gateway.address_of(1);
        let mut curl = Command::new("curl");
        let target = format!("https://a.example:{}/", address.port());
        let at = format!("a.example:{}:{}", address.port(), address.ip());
        curl.args([
            "-s",
            "--noproxy",
            "*",
            "--max-time",
            "20",
            "--tlsv1.2",
            "--tls-max",
            "1.2",
        ]);
        curl.args([
            "--cacert",
            &folder.text("ca.pem"),
            "--resolve",
            &at,
            &target,
        ]);
        let output = spawn_blocking(move || curl.output()).await.unwrap();
        let Ok(output) = output else {
            eprintln!("skipped: there is no curl");
            return;
        };
        assert_eq!(output.status.success(), answered, "{lowest}");
        assert_eq!(output.stdout == b"ok", answered, "{lowest}");
    }
}

#[tokio::test]
async fn a_handshake_has_the_time_of_a_head() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await.answering(OK);
    let gateway = start(&origin, &pair, &["--head-timeout", "300ms"]);
    let address = gateway.address_of(1);
    // The beginning of a record that is announced to be longer.
    for said in [&b""[..], &[22, 3, 1, 1, 0, 1, 0]] {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut client = Conn::new(stream);
        client.stream.write_all(said).await.unwrap();
        client.drain().await;
    }
    // What is no TLS is refused at once.
    let mut client = Conn::new(TcpStream::connect(address).await.unwrap());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.drain().await;
    // After the handshake there is a head to wait for, and it gets its answer within TLS.
    let stream = authority.connect(address, "a.example", &[], None).await;
    let mut client = Conn::over(stream.unwrap());
    client.send("GET / HTTP/1.1\r\n").await;
    let rest = client.rest().await;
    assert!(rest.starts_with("HTTP/1.1 408 "), "{rest}");
}

/// The certificate of the client is that of the session.
#[tokio::test]
async fn a_session_is_resumed_with_its_client_certificate() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    folder.write("ca.pem", &authority.pem());
    let ca = folder.text("ca.pem");
    let origin = Origin::new().await;
    let gateway = start(&origin, &pair, &["--tls-client-ca", &ca]);
    let config = authority.client_config(&[], Some(&authority.client("Ada")));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let stream = TcpStream::connect(gateway.address_of(1)).await.unwrap();
        let name = ServerName::try_from("a.example").unwrap();
        let stream = TlsConnector::from(config.clone()).connect(name, stream);
        let mut client = Conn::over(soon(stream).await.unwrap());
        // The tickets come with the response.
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut server = origin.accept().await;
        let head = server.head().await;
        assert!(head.contains("\r\nclient-cert: :"), "{head}");
        server
            .send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .await;
        client.expect_ok().await;
        assert_eq!(client.stream.get_ref().1.handshake_kind(), Some(kind));
    }
}

/// Without a `close_notify`, a client cannot tell the end from an attack that cuts its connection.
#[tokio::test]
async fn the_end_is_said_within_tls() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await.answering(OK);
    // A connection that has been idle for a second has no HTTP on it when it is closed.
    for (idle, sent) in [
        ("200ms", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("1500ms", "GET / HTTP/1.1\r\nhost: a\r\n\r\n"),
        ("60s", "GET / HTTP/1.1\r\n"),
    ] {
        let limits = ["--head-timeout", "300ms", "--idle-timeout", idle];
        let gateway = start(&origin, &pair, &limits);
        let address = gateway.address_of(1);
        let stream = authority.connect(address, "a.example", &[], None).await;
        let mut stream = stream.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        // It fails if the connection ends without it.
        let read = soon(stream.read_to_end(&mut all)).await;
        assert!(read.is_ok(), "{idle}: {read:?}");
        assert!(all.starts_with(b"HTTP/1.1 "));
    }
}

/// A client that says that it will send no more, and one that says so and goes.
#[tokio::test]
async fn a_client_that_is_gone_is_seen_to_be() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await;
    let gateway = start(&origin, &pair, &[]);
    let address = gateway.address_of(1);
    for stays in [true, false] {
        let stream = authority.connect(address, "a.example", &[], None).await;
        let mut client = Conn::over(stream.unwrap());
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut server = origin.accept().await;
        server.head().await;
        client.stream.shutdown().await.unwrap();
        if stays {
            server.send(OK).await;
            client.expect_ok().await;
        } else {
            drop(client);
            // The request is given up.
            assert_eq!(server.rest().await, "");
        }
    }
}

#[tokio::test]
async fn requests_that_are_sent_at_once_are_all_answered() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await.answering(OK);
    let gateway = start(&origin, &pair, &[]);
    let address = gateway.address_of(1);
    let stream = authority.connect(address, "a.example", &[], None).await;
    let mut client = Conn::over(stream.unwrap());
    client
        .send(&"GET / HTTP/1.1\r\nhost: a\r\n\r\n".repeat(50))
        .await;
    for _ in 0..50 {
        client.expect_ok().await;
    }
}

/// More than what TLS and the socket hold, so that it has to wait for the client.
#[tokio::test]
async fn a_large_response_arrives_whole() {
    const LEN: usize = 20 << 20;
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await;
    let gateway = start(&origin, &pair, &[]);
    let stream = authority
        .connect(gateway.address_of(1), "a.example", &[], None)
        .await;
    let mut client = Conn::over(stream.unwrap());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut server = origin.accept().await;
    server.head().await;
    server
        .send(&format!("HTTP/1.1 200 OK\r\ncontent-length: {LEN}\r\n\r\n"))
        .await;
    let sends = async {
        server.send(&"x".repeat(LEN)).await;
    };
    let reads = async {
        client.head().await;
        let body = client.exactly(LEN).await;
        assert!(body.iter().all(|byte| *byte == b'x'));
    };
    tokio::join!(sends, reads);
}

#[tokio::test]
async fn a_tunnel_goes_through_it() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let origin = Origin::new().await;
    let gateway = start(&origin, &pair, &[]);
    let stream = authority
        .connect(gateway.address_of(1), "a.example", &[], None)
        .await;
    let mut client = Conn::over(stream.unwrap());
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    client
        .send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n"))
        .await;
    let mut server = origin.accept().await;
    server.head().await;
    server
        .send(&format!(
            "HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\nhello"
        ))
        .await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(client.exactly(5).await, b"hello");
    let long = "x".repeat(1 << 20);
    for _ in 0..3 {
        client.send("ping").await;
        assert_eq!(server.exactly(4).await, b"ping");
        let ((), body) = tokio::join!(server.send(&long), client.exactly(long.len()));
        assert_eq!(body.len(), long.len());
    }
    drop(server);
    assert_eq!(client.rest().await, "");
}
