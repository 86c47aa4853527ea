//! Clients that keep their connections for later.

use std::time::Duration;

use super::support::{Gateway, OK, Origin, soon};

/// Without a rest, they would keep more than 30 KiB each.
#[tokio::test]
async fn idle_clients_leave_no_buffers_behind() {
    const CLIENTS: usize = 1000;
    let origin = Origin::new().await.answering(OK);
    // What is freed goes back to the system at once.
    let gateway = Gateway::start_with("MIMALLOC_PURGE_DELAY", "0", &origin, &[]);
    gateway.connect().await.get().await;
    let before = gateway.memory();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = gateway.connect().await;
        client.get().await;
        clients.push(client);
    }
    soon(async {
        while gateway.memory().saturating_sub(before) > CLIENTS * 12 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    for client in &mut clients {
        client.get().await;
    }
}
