//! A configuration file.

use std::process::Command;

use super::{
    authority::{Authority, Folder},
    support::{Conn, Gateway, OK, Origin, soon},
};

fn run(folder: &Folder, flags: &[&str]) -> Gateway {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["--config", &folder.text("gateway.toml")]);
    command.args(flags);
    Gateway::run(command)
}

/// A file with two clusters, a route for each, and a section for the gateway.
fn file(one: &Origin, other: &Origin, gateway: &str) -> String {
    format!(
        r#"
        [gateway]
        {gateway}

        [clusters.one]
        endpoints = ["http://{}"]

        [clusters.other]
        endpoints = ["http://{}"]

        [routes.one]
        cluster = "one"

        [routes.other]
        match.path_prefix = "/other"
        cluster = "other"
        "#,
        one.address, other.address
    )
}

const LISTENERS: &str = r#"
listeners = [
    { address = "127.0.0.1:0" },
    { address = "127.0.0.1:0", tls = { certificates = [{ cert = "a.pem", key = "a.key" }] } },
]
"#;

/// What the status of a request for a path is.
async fn status(client: &mut Conn, path: &str) -> String {
    client
        .send(&format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"))
        .await;
    let head = client.head().await;
    let length = head.split("content-length: ").nth(1).unwrap();
    let length = length.split("\r\n").next().unwrap().parse().unwrap();
    client.exactly(length).await;
    head.split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn listeners_and_routes_come_from_it() {
    let (authority, folder) = (Authority::new(), Folder::new());
    authority.server(&["a.example"]).write(&folder, "a");
    let (one, other) = (Origin::new().await, Origin::new().await);
    folder.write("gateway.toml", &file(&one, &other, LISTENERS));
    let gateway = run(&folder, &["--workers", "1"]);
    assert_eq!(gateway.listening.len(), 2);
    let mut client = gateway.connect().await;
    client
        .send("GET /other/a HTTP/1.1\r\nhost: a\r\n\r\n")
        .await;
    let mut server = other.accept().await;
    let head = server.head().await;
    assert!(
        head.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\nx-forwarded-proto: http\r\n"), "{head}");
    server.send(OK).await;
    client.expect_ok().await;

    let stream = authority.connect(gateway.address_of(1), "a.example", &[], None);
    let mut client = Conn::over(stream.await.unwrap());
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut server = one.accept().await;
    let head = server.head().await;
    assert!(head.contains("\r\nx-forwarded-proto: https\r\n"), "{head}");
    server.send(OK).await;
    client.expect_ok().await;
    drop(gateway);

    // Flags take the place of what it says.
    let gateway = run(&folder, &["--listen", "127.0.0.1:0"]);
    assert_eq!(gateway.listening.len(), 1);
}

/// As with `--upstream`: otherwise connections to an endpoint would take the files of all others.
#[tokio::test]
async fn connections_to_endpoints_are_limited_unless_the_file_says_how() {
    const CLIENTS: usize = 10;
    let (folder, origin) = (Folder::new(), Origin::new().await);
    let path = folder.text("gateway.toml");
    let listen = "listeners = [{ address = \"127.0.0.1:0\" }]";
    // One connection to each of the eight endpoints that a file is taken to have.
    for (limit, connections) in [
        ("", 1),
        ("[defaults.cluster.client]\nmax_connections = 3\n", 3),
    ] {
        folder.write(
            "gateway.toml",
            &format!("{}{limit}", file(&origin, &origin, listen)),
        );
        let mut shell = Command::new("sh");
        let script = "ulimit -n 80 && exec \"$0\" \"$@\"";
        shell.args(["-c", script, env!("CARGO_BIN_EXE_gateway")]);
        shell.args(["--config", &path, "--workers", "1"]);
        let gateway = Gateway::run(shell);
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = gateway.connect().await;
            client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            clients.push(client);
        }
        let mut servers = Vec::new();
        for _ in 0..connections {
            let mut server = origin.accept().await;
            server.head().await;
            servers.push(server);
        }
        // No other connection takes the rest, one request after the other.
        for n in 0..CLIENTS {
            let server = &mut servers[n % connections];
            server.send(OK).await;
            if n + connections < CLIENTS {
                server.head().await;
            }
        }
        for client in &mut clients {
            client.expect_ok().await;
        }
    }
}

#[tokio::test]
async fn a_change_touches_nothing_that_is_in_flight() {
    let folder = Folder::new();
    let (one, other) = (Origin::new().await, Origin::new().await);
    let listen = r#"listeners = [{ address = "127.0.0.1:0" }]"#;
    let first = file(&one, &other, listen);
    folder.write("gateway.toml", &first);
    let gateway = run(&folder, &[]);
    let mut log = gateway.lines();

    // A tunnel and a request, which do not end before the last change.
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    let mut tunnel = gateway.connect().await;
    tunnel
        .send(&format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n"))
        .await;
    let mut far_end = one.accept().await;
    far_end.head().await;
    far_end
        .send(&format!(
            "HTTP/1.1 101 Switching Protocols\r\n{upgrade}\r\n"
        ))
        .await;
    tunnel.head().await;
    let mut waiting = gateway.connect().await;
    waiting.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut server = one.accept().await;
    server.head().await;
    let _other = other.answering(OK);

    let mut client = gateway.connect().await;
    let respond = "[routes.new]\nmatch.path_prefix = \"/other/new\"\nrespond = { status = 404 }\n";
    for (text, expected) in [
        (format!("{first}\n{respond}"), "404"),
        (first.clone(), "200"),
    ] {
        folder.write("gateway.toml", &text);
        soon(async { while status(&mut client, "/other/new").await != expected {} }).await;
    }
    // What is wrong changes nothing, and is in the log with its place.
    folder.write(
        "gateway.toml",
        &first.replace("cluster = \"other\"", "cluster = \"othr\""),
    );
    let line = soon(async {
        loop {
            let line = log.recv().await.unwrap();
            if line.contains("othr") {
                return line;
            }
        }
    });
    let line = line.await;
    assert!(
        line.contains("gateway.toml:") && line.contains("routes.other.cluster"),
        "{line}"
    );
    assert_eq!(status(&mut client, "/other").await, "200");
    // What cannot change while it runs is said.
    folder.write("gateway.toml", &first.replace("127.0.0.1:0", "127.0.0.1:1"));
    gateway.signal("HUP");
    let told = async { while !log.recv().await.unwrap().contains("restart to apply it") {} };
    soon(told).await;

    tunnel.send("ping").await;
    assert_eq!(far_end.exactly(4).await, b"ping");
    server.send(OK).await;
    waiting.expect_ok().await;
}

/// What a check of a file with this text says: the exit status, standard output and standard error.
fn checked(folder: &Folder, text: &str, flags: &[&str]) -> (Option<i32>, String, String) {
    folder.write("gateway.toml", text);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["--check", "--config", &folder.text("gateway.toml")]);
    let output = command.args(flags).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Each flag takes the place of its own value, and of nothing else.
#[test]
fn flags_take_the_place_of_single_values() {
    let (authority, folder) = (Authority::new(), Folder::new());
    authority.server(&["a.example"]).write(&folder, "a");
    let path = folder.text("socket");
    let text = format!(
        r#"
[gateway]
listeners = [
    {{ address = "192.0.2.1:1", redirect_https = 8443 }},
    {{ address = "unix:{path}" }},
    {{ address = "192.0.2.1:2", tls = {{ certificates = [{{ cert = "a.pem", key = "a.key" }}] }} }},
]
admin = false
rate_limit = {{ per_second = 10, burst = 50 }}
[clusters.a]
endpoints = ["http://a"]
[routes.a]
cluster = "a"
"#
    );
    let report = |flags: &[&str]| {
        let (status, report, errors) = checked(&folder, &text, flags);
        assert_eq!((status, errors.as_str()), (Some(0), ""));
        report
    };
    for (flags, expected) in [
        (&[][..], "192.0.2.1:1, redirects to https on port 8443\n"),
        (&[], "10 requests per second, 50 at once\n"),
        (
            &["--rate-burst", "5"],
            "10 requests per second, 5 at once\n",
        ),
        (
            &["--rate-limit", "20"],
            "20 requests per second, 50 at once\n",
        ),
        (&["--unix-mode", "0600"], "socket (http), mode 0600\n"),
        (
            &["--tls-min-version", "1.3"],
            "192.0.2.1:2, TLS 1.3 or later",
        ),
        (
            &["--proxy-protocol", "10.0.0.0/8"],
            "mode 0660, PROXY header from 10.0.0.0/8\n",
        ),
    ] {
        let report = report(flags);
        assert!(report.contains(expected), "{flags:?}: {report}");
    }
    assert!(!report(&["--rate-limit", "off"]).contains("requests per second"));
    let off = text.replace("{ per_second = 10, burst = 50 }", "false");
    let (status, report, errors) = checked(&folder, &off, &[]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    assert!(!report.contains("requests per second"), "{report}");
}

#[test]
fn what_is_wrong_with_it_is_said_at_once() {
    let folder = Folder::new();
    let said = |text: &str, flags: &[&str]| checked(&folder, text, flags);
    let wrong = r#"
[gateway]
listeners = [
    { address = "8080" },
    { address = "127.0.0.1:0", redirect_https = true },
]
head_timout = "5s"
head_timeout = "0s"
max_head = "0B"
[clusters.a]
endpoints = ["ftp://a"]
[routes.a]
cluster = "b"
"#;
    let (status, _, errors) = said(wrong, &[]);
    assert_eq!(status, Some(2));
    for part in [
        "gateway.toml:4:17: gateway.listeners[0].address: ",
        "gateway.toml:7:1: gateway: unknown field \"head_timout\"",
        "gateway.toml:8:16: gateway.head_timeout: must be more than 0",
        "gateway.toml:9:12: gateway.max_head: must be more than 0",
        "gateway.toml:11:",
        "gateway.toml:13:11: routes.a.cluster: ",
    ] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let right = r#"
[gateway]
listeners = [{ address = "192.0.2.1:1", proxy_protocol = ["10.0.0.0/8"] }]
max_connections_per_address = 100
rate_limit = { per_second = 10, burst = 50 }
admin = false
[clusters.a]
endpoints = ["http://a"]
[routes.a]
cluster = "a"
"#;
    let (status, report, errors) = said(right, &[]);
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    let path = folder.text("gateway.toml");
    let expected = format!(
        "\
would listen on http://192.0.2.1:1, PROXY header from 10.0.0.0/8
would forward as {path} says:
  cluster a: http://a
  route a: all other requests -> cluster a
would allow an address 100 connections
would allow an address 10 requests per second, 50 at once
"
    );
    assert_eq!(report, expected);
    // A cluster is said in the file, and nowhere else.
    let (status, _, errors) = said(right, &["--upstream", "http://a"]);
    assert_eq!(status, Some(2));
    assert!(
        errors.contains("--upstream is said in the file of --config"),
        "{errors}"
    );
}

/// The one of the page, with certificates beside it.
#[test]
fn the_documented_file_is_right() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/GATEWAY.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, text) = page.split_once("```toml\n").unwrap();
    let (text, _) = text.split_once("```").unwrap();
    let (authority, folder) = (Authority::new(), Folder::new());
    let pair = authority.server(&["a.example"]);
    folder.write("fullchain.pem", &pair.cert);
    folder.write("privkey.pem", &pair.key);
    folder.write("gateway.toml", text);
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.args(["--check", "--config", &folder.text("gateway.toml")]);
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(
        report.contains("would listen on https://[::]:443"),
        "{report}"
    );
}
