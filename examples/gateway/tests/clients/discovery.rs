//! Servers that are found.

use super::{
    authority::Folder,
    support::{Conn, Gateway, Origin, soon},
};

fn response(name: &str) -> &'static str {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}",
        name.len()
    )
    .leak()
}

/// Which server answers.
async fn server(gateway: &Gateway) -> String {
    let mut client: Conn = gateway.connect().await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let head = client.head().await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    String::from_utf8(client.exactly(1).await).unwrap()
}

#[tokio::test]
async fn files_are_followed_beside_servers_that_are_named() {
    let (folder, a, b, c) = (
        Folder::new(),
        Origin::new().await.answering(response("a")),
        Origin::new().await.answering(response("b")),
        Origin::new().await.answering(response("c")),
    );
    let line = |origin: &Origin| format!("http://{}\n", origin.address);
    folder.write("one", &line(&b));
    folder.write("two", "");
    let [one, two] = ["one", "two"].map(|name| format!("file:{}", folder.text(name)));
    let flags = [
        "--discover",
        &one,
        "--discover",
        &two,
        "--policy",
        "round-robin",
    ];
    let gateway = Gateway::start(&a, &flags);
    let both = async |first: &str, second: &str| {
        soon(async {
            let mut seen = std::collections::HashSet::new();
            while !(seen.contains(first) && seen.contains(second)) {
                seen.insert(server(&gateway).await);
            }
        })
        .await;
    };
    // The one without servers fails, and the other is followed all the same.
    both("a", "b").await;
    folder.write("one", &line(&c));
    both("a", "c").await;
    soon(async { while server(&gateway).await == "b" {} }).await;
    folder.write("two", &line(&b));
    both("b", "c").await;
}
