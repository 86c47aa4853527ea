//! Few open files.

use super::support::{Gateway, OK, Origin};

/// 36 places for clients, and 12 connections to the endpoint.
const FEW: &str = "ulimit -n 80";

#[tokio::test]
async fn clients_that_are_connected_are_served_while_others_take_every_place() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start_after(FEW, &origin, &[]);
    let mut clients = Vec::new();
    for _ in 0..30 {
        let mut client = gateway.connect().await;
        client.get().await;
        clients.push(client);
    }
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(gateway.connect().await);
    }
    for _ in 0..5 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        }
        for client in &mut clients {
            client.expect_ok().await;
        }
    }
}

#[tokio::test]
async fn a_new_client_is_served_when_silent_ones_have_had_their_time() {
    let origin = Origin::new().await.answering(OK);
    let gateway = Gateway::start_after(FEW, &origin, &[]);
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(gateway.connect().await);
    }
    gateway.connect().await.get().await;
}
