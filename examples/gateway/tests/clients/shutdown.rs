//! What becomes of connections and requests at a signal.

use tokio::net::TcpStream;

use super::support::{Gateway, OK, Origin};

/// A stopped process accepts nothing: what it finds when it goes on is what came between its last look and the signal.
#[tokio::test]
async fn connections_that_the_kernel_has_accepted_are_answered() {
    let origin = Origin::new().await.answering(OK);
    let mut gateway = Gateway::start(&origin, &[]);
    let mut idle = gateway.connect().await;
    idle.get().await;
    gateway.signal("STOP");
    let mut clients = vec![idle];
    for _ in 0..50 {
        clients.push(gateway.connect().await);
    }
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    }
    gateway.signal("TERM");
    gateway.signal("CONT");
    for client in &mut clients {
        let head = client.expect_ok().await;
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        assert_eq!(client.rest().await, "");
    }
    assert!(gateway.exited().await.success());
    assert!(TcpStream::connect(gateway.address).await.is_err());
}

#[tokio::test]
async fn what_is_in_flight_finishes() {
    let origin = Origin::new().await;
    let mut gateway = Gateway::start(&origin, &[]);
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut server = origin.accept().await;
    server.head().await;
    // One that is idle is closed, so the signal has been heeded.
    let mut idle = gateway.connect().await;
    gateway.signal("TERM");
    assert_eq!(idle.rest().await, "");
    server.send(OK).await;
    let head = client.expect_ok().await;
    assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
    assert!(gateway.exited().await.success());
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off_in_the_end() {
    let origin = Origin::new().await;
    let mut gateway = Gateway::start(&origin, &["--grace", "200ms"]);
    let mut client = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut server = origin.accept().await;
    server.head().await;
    gateway.signal("TERM");
    assert!(gateway.exited().await.success());
    assert_eq!(client.rest().await, "");
}
