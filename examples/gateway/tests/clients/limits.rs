//! Limits by the client's address.

use super::support::{Conn, Gateway, OK, Origin};

const ONE: [u8; 4] = [127, 0, 0, 2];
const OTHER: [u8; 4] = [127, 0, 0, 3];

/// Whether a client is served. One that is not is closed without an answer.
async fn is_served(client: &mut Conn) -> bool {
    use tokio::io::AsyncWriteExt;
    let _ = client
        .stream
        .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    client.begins_with("HTTP/1.1 200 ").await
}

#[tokio::test]
async fn a_flood_of_one_address_takes_nothing_from_another() {
    let origin = Origin::new().await.answering(OK);
    let flags = [
        "--max-connections-per-address",
        "10",
        "--max-connections",
        "30",
    ];
    let gateway = Gateway::start(&origin, &flags);
    let mut served = Vec::new();
    for _ in 0..10 {
        let mut client = gateway.connect_from(ONE).await;
        client.get().await;
        served.push(client);
    }
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(gateway.connect_from(ONE).await);
    }
    let mut other = gateway.connect_from(OTHER).await;
    other.get().await;
    for client in &mut flood {
        assert!(!is_served(client).await);
    }
    for client in &mut served {
        client.get().await;
    }
    // A place that is free again is there for the next one.
    drop(served.pop());
    super::support::soon(async { while !is_served(&mut gateway.connect_from(ONE).await).await {} })
        .await;
}

#[tokio::test]
async fn the_address_is_that_of_the_client_and_not_of_the_load_balancer() {
    let origin = Origin::new().await.answering(OK);
    let flags = [
        "--max-connections-per-address",
        "1",
        "--proxy-protocol",
        "127.0.0.1",
    ];
    let gateway = Gateway::start(&origin, &flags);
    let header = |client| format!("PROXY TCP4 192.0.2.{client} 10.0.0.1 1 80\r\n");
    let mut clients = Vec::new();
    for n in 0..5 {
        let mut client = gateway.connect().await;
        client.send(&header(n)).await;
        client.get().await;
        clients.push(client);
    }
    let mut second = gateway.connect().await;
    second.send(&header(0)).await;
    assert!(!is_served(&mut second).await);
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_again() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, &["--rate-limit", "1", "--rate-burst", "3"]);
    let mut one = gateway.connect_from(ONE).await;
    for _ in 0..3 {
        one.get().await;
    }
    // The first one may have come a second after the others.
    let mut head = String::new();
    for _ in 0..3 {
        one.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        head = one.head().await;
        if !head.starts_with("HTTP/1.1 200 ") {
            break;
        }
        one.exactly(2).await;
    }
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert!(head.contains("\r\nretry-after: 1\r\n"), "{head}");
    // The connection is kept, and another address has a rate of its own.
    gateway.connect_from(OTHER).await.get().await;
    one.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    one.head().await;
}
