//! Certificates of clients.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    authority::{Authority, Folder, Pair},
    support::{Conn, Gateway, OK, Origin},
};

/// A gateway whose second listener asks for certificates of `clients`.
fn start(
    origin: &Origin,
    folder: &Folder,
    servers: &Authority,
    clients: &Authority,
    more: &[&str],
) -> Gateway {
    folder.write("clients.pem", &clients.pem());
    let ca = folder.text("clients.pem");
    let pair = servers.server(&["a.example"]).write(folder, "a");
    let mut flags = vec!["--tls-listen", "127.0.0.1:0", "--tls-client-ca", &ca];
    flags.extend(pair.iter().map(String::as_str));
    flags.extend(more);
    Gateway::start(origin, &flags)
}

/// What the origin gets of a request with forged fields. `None` if the client is refused.
async fn seen(
    origin: &Origin,
    gateway: &Gateway,
    servers: &Authority,
    client: Option<&Pair>,
) -> Option<String> {
    let stream = servers
        .connect(gateway.address_of(1), "a.example", &[], client)
        .await;
    let mut conn = Conn::over(stream.ok()?);
    conn.send(
        "GET / HTTP/1.1\r\nhost: a\r\nclient-cert: :AAAA:\r\nconnection: client-cert\r\n\r\n",
    )
    .await;
    let answered = async {
        let mut server = origin.accept().await;
        let head = server.head().await;
        server.send(OK).await;
        (server, head)
    };
    tokio::select! {
        (_server, head) = answered => {
            conn.expect_ok().await;
            Some(head)
        }
        // With TLS 1.3, the client hears of the refusal after its own part of the handshake.
        rest = conn.rest() => {
            assert_eq!(rest, "");
            None
        }
    }
}

#[tokio::test]
async fn a_client_proves_who_it_is_and_endpoints_are_told() {
    let (servers, clients, folder) = (Authority::new(), Authority::new(), Folder::new());
    let origin = Origin::new().await;
    let gateway = start(&origin, &folder, &servers, &clients, &[]);
    let ada = clients.client("Ada");
    let head = seen(&origin, &gateway, &servers, Some(&ada)).await.unwrap();
    let told = format!("\r\nclient-cert: :{}:\r\n", STANDARD.encode(ada.leaf()));
    assert!(head.contains(&told), "{head}");
    assert_eq!(head.matches("client-cert").count(), 1, "{head}");
    // None, and one of another root.
    assert_eq!(seen(&origin, &gateway, &servers, None).await, None);
    let stranger = Authority::new().client("Ada");
    assert_eq!(
        seen(&origin, &gateway, &servers, Some(&stranger)).await,
        None
    );
}

#[tokio::test]
async fn a_client_may_do_without_one_if_it_is_optional() {
    let (servers, clients, folder) = (Authority::new(), Authority::new(), Folder::new());
    let origin = Origin::new().await;
    let gateway = start(
        &origin,
        &folder,
        &servers,
        &clients,
        &["--tls-client-optional"],
    );
    let head = seen(&origin, &gateway, &servers, None).await.unwrap();
    assert!(!head.contains("client-cert"), "{head}");
    let ada = clients.client("Ada");
    let head = seen(&origin, &gateway, &servers, Some(&ada)).await.unwrap();
    assert!(head.contains("\r\nclient-cert: :"), "{head}");
    let stranger = Authority::new().client("Ada");
    assert_eq!(
        seen(&origin, &gateway, &servers, Some(&stranger)).await,
        None
    );
}

/// The head of the next request that the origin gets on a new connection, which ends with the response.
async fn relayed(origin: &Origin) -> String {
    let mut server = origin.accept().await;
    let head = server.head().await;
    server
        .send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
        .await;
    head
}

/// RFC 9440 2.4: no field of a client reaches an endpoint, and `Connection` does not keep the right one from it.
#[tokio::test]
async fn what_a_client_says_itself_is_removed_where_no_certificates_are_asked_for() {
    let (authority, folder, origin) = (Authority::new(), Folder::new(), Origin::new().await);
    let pair = authority.server(&["a.example"]).write(&folder, "a");
    let mut flags = vec!["--tls-listen", "127.0.0.1:0"];
    flags.extend(pair.iter().map(String::as_str));
    let gateway = Gateway::start(&origin, &flags);
    let forged = "client-cert: :AAAA:\r\nclient-cert: :BBBB:\r\nclient-cert-chain: :AAAA:\r\n";
    for named in ["", "connection: client-cert, client-cert-chain\r\n"] {
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\n{forged}{named}\r\n");
        let address = gateway.address_of(1);
        let stream = authority.connect(address, "a.example", &[], None).await;
        let (mut plain, mut secure) = (gateway.connect().await, Conn::over(stream.unwrap()));
        plain.send(&request).await;
        assert!(!relayed(&origin).await.contains("client-cert"));
        plain.expect_ok().await;
        secure.send(&request).await;
        assert!(!relayed(&origin).await.contains("client-cert"));
        secure.expect_ok().await;
    }
}

/// A client of the listener without TLS cannot say that it is somebody.
#[tokio::test]
async fn another_listener_is_no_way_around_it() {
    let (servers, clients, folder) = (Authority::new(), Authority::new(), Folder::new());
    let origin = Origin::new().await;
    let gateway = start(&origin, &folder, &servers, &clients, &[]);
    let mut client = gateway.connect().await;
    client
        .send("GET / HTTP/1.1\r\nhost: a\r\nclient-cert: :AAAA:\r\n\r\n")
        .await;
    let mut server = origin.accept().await;
    let head = server.head().await;
    assert!(!head.contains("client-cert"), "{head}");
}
