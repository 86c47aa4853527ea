//! PROXY headers of load balancers.

use tokio::net::TcpStream;

use super::{
    authority::{Authority, Folder},
    support::{Conn, Gateway, OK, Origin, soon},
};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4660 80\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// A header of version 2 with an address of IPv6, and what else is in it.
pub fn v2(more: &[u8]) -> Vec<u8> {
    let rest = 36 + u16::try_from(more.len()).unwrap();
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x21".to_vec();
    header.extend(rest.to_be_bytes());
    header.extend(
        "2001:db8::7"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
    );
    header.extend([0; 15]);
    header.extend([1, 0x12, 0x34, 1, 187]);
    header.extend(more);
    header
}

async fn write(client: &mut Conn, bytes: &[u8], piece: usize) {
    use tokio::io::AsyncWriteExt;
    for piece in bytes.chunks(piece) {
        client.stream.write_all(piece).await.unwrap();
        // So that the piece is alone in its packet, most of the time.
        tokio::task::yield_now().await;
    }
}

/// What the origin gets of what a client sends in pieces.
async fn head(origin: &Origin, gateway: &Gateway, sent: &[u8], piece: usize) -> String {
    let mut client = gateway.connect().await;
    write(&mut client, sent, piece).await;
    let mut server = origin.accept().await;
    let head = server.head().await;
    server.send(OK).await;
    client.expect_ok().await;
    head
}

#[tokio::test]
async fn the_client_is_the_one_in_the_header() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, &["--proxy-protocol", "127.0.0.0/8"]);
    let with_tls = v2(&[0x20, 0, 5, 1, 0, 0, 0, 0]);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";
    for (header, address, scheme) in [
        (V1, "192.0.2.7", "http"),
        (&v2(&[]), "2001:db8::7", "http"),
        (&with_tls, "2001:db8::7", "https"),
        (local, "127.0.0.1", "http"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1", "http"),
    ] {
        for piece in [1, 7, 1000] {
            let sent = [header, GET].concat();
            let head = head(&origin, &gateway, &sent, piece).await;
            let told = format!("\r\nx-forwarded-for: {address}\r\n");
            assert!(head.contains(&told), "{header:?}: {head}");
            let told = format!("\r\nx-forwarded-proto: {scheme}\r\n");
            assert!(head.contains(&told), "{header:?}: {head}");
        }
    }
}

/// A server gets the address in the header that the gateway was sent, with its port, or the one of the connection.
#[tokio::test]
async fn the_client_is_told_to_servers() {
    let origin = Origin::new().await;
    let to = origin.address;
    let mut flags = vec!["--send-proxy-protocol", "v1"];
    let gateway = Gateway::start(&origin, &flags);
    let mut client = gateway.connect().await;
    let from = client.stream.local_addr().unwrap();
    let told = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\nGET / ",
        from.port(),
        to.port()
    );
    write(&mut client, GET, 1000).await;
    let mut server = origin.accept().await;
    let received = server.head().await;
    assert!(received.starts_with(&told), "{received}");
    server.send(OK).await;
    client.expect_ok().await;

    flags.extend(["--proxy-protocol", "127.0.0.0/8"]);
    let gateway = Gateway::start(&origin, &flags);
    let received = head(&origin, &gateway, &[V1, GET].concat(), 1000).await;
    let told = format!(
        "PROXY TCP4 192.0.2.7 127.0.0.1 4660 {}\r\nGET / ",
        to.port()
    );
    assert!(received.starts_with(&told), "{received}");
}

#[tokio::test]
async fn http2_and_tls_follow_a_header() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let mut flags = vec![
        "--tls-listen",
        "127.0.0.1:0",
        "--proxy-protocol",
        "127.0.0.1",
    ];
    flags.extend(pair.iter().map(String::as_str));
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, &flags);
    let mut client = gateway.connect().await;
    write(&mut client, &v2(&[]), 5).await;
    let (mut send, connection) = h2::client::handshake(client.stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get("http://a/").body(()).unwrap();
    let response = super::support::ask(&mut send, request).await.unwrap();
    assert_eq!(response.status(), 200);
    connection.abort();

    let stream = TcpStream::connect(gateway.address_of(1)).await.unwrap();
    let mut client = Conn::new(stream);
    write(&mut client, V1, 5).await;
    let stream = authority.speak(client.stream, "a.example", &[], None).await;
    Conn::over(stream.unwrap()).get().await;
}

/// A header is what a trusted network begins with, so that without one the connection is of no use.
#[tokio::test]
async fn what_is_no_header_ends_the_connection() {
    let origin = Origin::new().await.answering(OK);
    let flags = ["--proxy-protocol", "127.0.0.1", "--head-timeout", "300ms"];
    let gateway = Gateway::start(&origin, &flags);
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(200));
    let mut large = v2(&[0; 5000]);
    large.extend(GET);
    for sent in [
        GET,
        b"PROXY TCP4 192.0.2.7\r\n................",
        long.as_bytes(),
        &large,
        // These say nothing wrong, and no more.
        b"",
        b"PROXY TCP4 192.0.2.7 10.0.0.1",
        &v2(&[])[..20],
    ] {
        let mut client = gateway.connect().await;
        write(&mut client, sent, 1000).await;
        client.drain().await;
    }
    let mut client = gateway.connect().await;
    write(&mut client, &[V1, GET].concat(), 1000).await;
    client.expect_ok().await;
}

/// A load balancer that does not send headers is noticed without a flag, and does not flood the log.
#[tokio::test]
async fn the_first_connection_that_is_refused_is_logged() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, &["--proxy-protocol", "127.0.0.1"]);
    let mut log = gateway.lines();
    let refused = async || {
        for _ in 0..3 {
            let mut client = gateway.connect().await;
            write(&mut client, GET, 1000).await;
            client.drain().await;
        }
    };
    let served = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        let mut client = gateway.connect().await;
        write(&mut client, &[V1, request.as_bytes()].concat(), 1000).await;
        client.expect_ok().await;
    };
    for last in ["/first", "/second"] {
        refused().await;
        served(last).await;
        let mut warnings = 0;
        loop {
            let line = soon(log.recv()).await.unwrap();
            warnings += usize::from(line.contains("connections are refused"));
            if line.contains(last) {
                break;
            }
        }
        assert_eq!(warnings, 1);
    }
}

/// Otherwise everybody could be anybody.
#[tokio::test]
async fn a_header_of_a_network_that_is_not_trusted_is_no_header() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, &["--proxy-protocol", "127.0.0.2"]);
    let mut client = gateway.connect().await;
    write(&mut client, &[V1, GET].concat(), 1000).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let head = head(&origin, &gateway, GET, 1000).await;
    assert!(
        head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    let mut balancer = gateway.connect_from([127, 0, 0, 2]).await;
    write(&mut balancer, &[V1, GET].concat(), 1000).await;
    let mut server = origin.accept().await;
    let head = server.head().await;
    assert!(
        head.contains("\r\nx-forwarded-for: 192.0.2.7\r\n"),
        "{head}"
    );
}
