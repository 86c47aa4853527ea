//! The log must not stop the requests.

use std::{io::Read, process::Command};

use serde_json::Value;

use super::{
    authority::Folder,
    support::{Gateway, OK, Origin},
};

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

#[tokio::test]
async fn the_access_log_has_a_line_at_the_end_of_each_request() {
    let origin = Origin::new().await.answering(OK);
    let mut gateway = Gateway::start(&origin, &["--access-log", "json"]);
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client.send("GET /a?b=c HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.expect_ok().await;
    }
    drop(client);
    gateway.signal("TERM");
    let mut log = String::new();
    gateway.stdout.read_to_string(&mut log).unwrap();
    assert!(gateway.exited().await.success());
    // There is nothing else.
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{log}");
    for line in lines {
        assert_eq!(
            (&line["client"], &line["path"]),
            (&"127.0.0.1".into(), &"/a".into())
        );
        assert_eq!(
            (&line["status"], &line["complete"]),
            (&200.into(), &true.into())
        );
    }
}

#[tokio::test]
async fn requests_that_are_not_forwarded_have_their_client_in_the_access_log() {
    let (folder, origin) = (Folder::new(), Origin::new().await.answering(OK));
    let file = format!(
        "[gateway]\nlisteners = [{{ address = \"127.0.0.1:0\" }}]\naccess_log = \"json\"\n\
         rate_limit = {{ per_second = 1, burst = 2 }}\n\
         [clusters.a]\nendpoints = [\"http://{}\"]\n[routes.a]\ncluster = \"a\"\n\
         [routes.b]\nmatch.path = \"/fixed\"\nrespond = {{ status = 200, body = \"ok\" }}\n",
        origin.address
    );
    folder.write("gateway.toml", &file);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["--config", &folder.text("gateway.toml")]);
    let mut gateway = Gateway::run_and_read(command, true);
    let mut client = gateway.connect().await;
    for (path, status) in [("/", "200"), ("/fixed", "200"), ("/", "429")] {
        client
            .send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        if status == "200" {
            client.exactly(2).await;
        }
    }
    drop(client);
    gateway.signal("TERM");
    let mut log = String::new();
    gateway.stdout.read_to_string(&mut log).unwrap();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3, "{log}");
    for line in lines {
        assert_eq!(line["client"], "127.0.0.1", "{line}");
    }
}

#[tokio::test]
async fn the_lines_of_requests_can_be_turned_off() {
    let origin = Origin::new().await.answering(OK);
    let mut gateway = Gateway::start(&origin, &["--access-log", "off"]);
    let mut client = gateway.connect().await;
    client.send("GET /path HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.expect_ok().await;
    drop(client);
    gateway.signal("TERM");
    let mut log = String::new();
    gateway.stdout.read_to_string(&mut log).unwrap();
    assert!(log.contains("stopping") && !log.contains("/path"), "{log}");
}
