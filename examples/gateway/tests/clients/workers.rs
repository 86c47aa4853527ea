//! What holds with several threads, however they share the work.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use tokio::time::timeout;

use super::support::{Gateway, OK, Origin};

const PER_CORE: &[&str] = &["--runtime", "per-core", "--workers", "3"];
const MULTI_THREAD: &[&str] = &["--runtime", "multi-thread", "--workers", "3"];

/// What a server answers whose connection must not get another request: nobody reads it.
const LAST: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// At the signal, some requests are in flight on all threads, and others are on connections that wait in the kernel,
/// for each of the listeners.
async fn all_are_answered(flags: &[&str]) {
    let origin = Origin::new().await;
    let mut gateway = Gateway::start(&origin, flags);
    // Enough for each of three threads to have some.
    let mut clients = Vec::new();
    let mut servers = Vec::new();
    for _ in 0..30 {
        let mut client = gateway.connect().await;
        client.send(GET).await;
        let mut server = origin.accept().await;
        server.head().await;
        clients.push(client);
        servers.push(server);
    }
    let mut idle = Vec::new();
    for _ in 0..30 {
        idle.push(gateway.connect().await);
    }
    gateway.signal("STOP");
    let mut waiting = Vec::new();
    for _ in 0..30 {
        let mut client = gateway.connect().await;
        client.send(GET).await;
        waiting.push(client);
    }
    gateway.signal("TERM");
    gateway.signal("CONT");
    // They are closed, so all threads have heeded the signal.
    for client in &mut idle {
        assert_eq!(client.rest().await, "");
    }
    for server in &mut servers {
        server.send(LAST).await;
    }
    let origin = origin.answering(OK);
    for client in clients.iter_mut().chain(&mut waiting) {
        let head = client.expect_ok().await;
        assert!(head.contains("\r\nconnection: close\r\n"), "{head}");
        assert_eq!(client.rest().await, "");
    }
    assert!(gateway.exited().await.success());
    drop(origin);
}

#[tokio::test]
async fn a_signal_ends_threads_with_connections_of_their_own_in_order() {
    all_are_answered(PER_CORE).await;
}

#[tokio::test]
async fn a_signal_ends_threads_that_share_connections_in_order() {
    all_are_answered(MULTI_THREAD).await;
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off_on_all_threads() {
    let origin = Origin::new().await;
    let mut gateway = Gateway::start(&origin, &[PER_CORE, &["--grace", "200ms"]].concat());
    let mut clients = Vec::new();
    for _ in 0..30 {
        let mut client = gateway.connect().await;
        client.send(GET).await;
        clients.push((client, origin.accept().await));
    }
    gateway.signal("TERM");
    assert!(gateway.exited().await.success());
    for (client, _) in &mut clients {
        assert_eq!(client.rest().await, "");
    }
}

/// The kernel would let them share the address, and send each a part of the clients.
#[tokio::test]
async fn an_address_is_not_shared_with_another_process() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start(&origin, PER_CORE);
    for flags in [PER_CORE, MULTI_THREAD] {
        let mut second = Command::new(env!("CARGO_BIN_EXE_gateway"));
        let address = gateway.address.to_string();
        second.args(["--admin", "off", "--listen", &address]);
        second
            .args(flags)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut second = second.spawn().unwrap();
        let exits = async {
            while second.try_wait().unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(Duration::from_secs(10), exits).await;
        let _ = second.kill();
        let output = second.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains("cannot listen on"), "{error}");
    }
    gateway.connect().await.get().await;
}

#[tokio::test]
async fn the_limit_of_connections_is_one_for_all_threads() {
    let origin = Origin::new().await;
    let gateway = Gateway::start(&origin, &[PER_CORE, &["--max-connections", "5"]].concat());
    let mut in_flight = Vec::new();
    for _ in 0..5 {
        let mut client = gateway.connect().await;
        client.send(GET).await;
        in_flight.push((client, origin.accept().await));
    }
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut client = gateway.connect().await;
        client.send(GET).await;
        waiting.push(client);
    }
    let too_many = timeout(Duration::from_millis(200), origin.accept()).await;
    assert!(too_many.is_err());
    for (mut client, mut server) in in_flight {
        server.head().await;
        server.send(LAST).await;
        client.expect_ok().await;
    }
    let _origin = origin.answering(OK);
    for client in &mut waiting {
        client.expect_ok().await;
    }
}
