//! The log must not stop the requests.

use std::io::Read;

use super::support::{Gateway, OK, Origin};

#[tokio::test]
async fn a_pipe_that_is_not_read_stops_no_request() {
    let origin = Origin::new().await.answering(OK);
    let mut gateway = Gateway::start(&origin, &[]);
    let mut client = gateway.connect().await;
    // A pipe holds 64 KiB; each line is longer than this path.
    let path = "x".repeat(1000);
    for _ in 0..300 {
        client
            .send(&format!("GET /{path} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        client.expect_ok().await;
    }
    drop(client);
    gateway.signal("TERM");
    let mut log = String::new();
    gateway.stdout.read_to_string(&mut log).unwrap();
    assert_eq!(log.matches(&path).count(), 300);
    assert!(gateway.exited().await.success());
}
