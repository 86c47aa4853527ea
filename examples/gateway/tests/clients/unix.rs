//! Unix sockets.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    process::{Command, Stdio},
};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixStream;

use super::{
    authority::{Folder, exists},
    support::{Conn, Gateway, OK, Origin},
};

async fn connect(folder: &Folder) -> Conn<UnixStream> {
    Conn::over(UnixStream::connect(folder.path("socket")).await.unwrap())
}

#[tokio::test]
async fn clients_are_served_and_the_file_is_gone_in_the_end() {
    let (folder, origin) = (Folder::new(), Origin::new().await);
    // What a process that was killed leaves behind.
    drop(UnixListener::bind(folder.path("socket")).unwrap());
    let address = format!("unix:{}", folder.text("socket"));
    for workers in ["1", "3"] {
        let flags = [
            "--listen",
            &address,
            "--unix-mode",
            "0600",
            "--workers",
            workers,
        ];
        let mut gateway = Gateway::start(&origin, &flags);
        assert_eq!(gateway.listening[1], format!("{address} (http)"));
        let mode = fs::metadata(folder.path("socket")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        let mut client = connect(&folder).await;
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let mut server = origin.accept().await;
        let head = server.head().await;
        // There is no address to tell.
        assert!(!head.contains("x-forwarded-for"), "{head}");
        server.send(OK).await;
        client.expect_ok().await;
        gateway.signal("TERM");
        assert_eq!(client.rest().await, "");
        assert!(gateway.exited().await.success());
        assert!(!exists(&folder.path("socket")));
    }
}

#[tokio::test]
async fn a_client_that_is_gone_is_seen_to_be() {
    let (folder, origin) = (Folder::new(), Origin::new().await);
    let address = format!("unix:{}", folder.text("socket"));
    let _gateway = Gateway::start(&origin, &["--listen", &address]);
    let mut client = connect(&folder).await;
    client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let mut server = origin.accept().await;
    server.head().await;
    drop(client);
    assert_eq!(server.rest().await, "");
}

/// A process that listens there, and accepts nothing.
#[test]
fn a_socket_with_a_full_queue_is_in_use() {
    let folder = Folder::new();
    let path = SockAddr::unix(folder.path("socket")).unwrap();
    let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    let listener = socket();
    listener.bind(&path).unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = socket();
        client.set_nonblocking(true).unwrap();
        if client.connect(&path).is_err() {
            break;
        }
        waiting.push(client);
    }
    let mut second = Command::new("timeout");
    let address = format!("unix:{}", folder.text("socket"));
    second.args(["10", env!("CARGO_BIN_EXE_gateway")]);
    second.args(["--admin", "off", "--listen", &address]);
    let output = second.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("in use"), "{error}");
}

#[tokio::test]
async fn the_socket_of_another_process_and_other_files_stay() {
    let (folder, origin) = (Folder::new(), Origin::new().await);
    let address = format!("unix:{}", folder.text("socket"));
    let fails = || {
        let mut second = Command::new(env!("CARGO_BIN_EXE_gateway"));
        second.args(["--admin", "off", "--listen", &address]);
        let output = second.stdout(Stdio::null()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let gateway = Gateway::start(&origin.answering(OK), &["--listen", &address]);
    let error = fails();
    assert!(
        error.contains("cannot listen on unix:") && error.contains("in use"),
        "{error}"
    );
    connect(&folder).await.get().await;
    drop(gateway);
    folder.write("socket", "a file");
    let error = fails();
    assert!(
        error.contains("there is a file that is no socket"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(folder.path("socket")).unwrap(), "a file");
}
