//! What systemd does for a unit: it passes sockets, is told how the unit is, and watches it.

use std::{
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{Command, Stdio},
    time::Duration,
};

use tokio::net::{TcpStream, UnixStream};

use super::{
    authority::Folder,
    support::{Conn, Gateway, OK, Origin, soon},
};

/// A gateway to which this parent passes a socket as the descriptor 3, and one as 4 if there is one.
fn activated(origin: &Origin, sockets: [Option<OwnedFd>; 2], flags: &[&str]) -> Command {
    let count = sockets.iter().flatten().count();
    let mut shell = Command::new("sh");
    // Which the shell has as its input and its errors.
    let script = "exec 3<&0 4<&2 2>&1; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
    shell.args(["-c", script, env!("CARGO_BIN_EXE_gateway")]);
    let [first, second] = sockets.map(|socket| socket.map_or(Stdio::null(), Stdio::from));
    shell.env("LISTEN_FDS", count.to_string());
    shell.stdin(first).stderr(second);
    shell.args(["--upstream", &format!("http://{}", origin.address)]);
    shell.args(flags);
    shell
}

/// The socket goes on to listen for the next process, and what waits in it is answered by that.
#[tokio::test]
async fn sockets_outlive_the_process() {
    let (folder, origin) = (Folder::new(), Origin::new().await.answering(OK));
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = std::os::unix::net::UnixListener::bind(folder.path("socket")).unwrap();
    let address = tcp.local_addr().unwrap();
    let mut waiting = Vec::new();
    for workers in ["1", "3"] {
        let sockets = [
            Some(tcp.try_clone().unwrap().into()),
            Some(unix.try_clone().unwrap().into()),
        ];
        let mut gateway = Gateway::run(activated(&origin, sockets, &["--workers", workers]));
        assert_eq!(gateway.listening[0], format!("http://{address}"));
        assert_eq!(gateway.listening[1], "fd:4 (http)");
        for mut client in waiting.drain(..) {
            Conn::get(&mut client).await;
        }
        Conn::new(TcpStream::connect(address).await.unwrap())
            .get()
            .await;
        let stream = UnixStream::connect(folder.path("socket")).await.unwrap();
        Conn::over(stream).get().await;
        gateway.signal("TERM");
        assert!(gateway.exited().await.success());
        waiting.push(Conn::new(TcpStream::connect(address).await.unwrap()));
    }
}

#[tokio::test]
async fn flags_say_what_a_socket_is_for() {
    let origin = Origin::new().await.answering(OK);
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap();
    let sockets = [Some(tcp.into()), None];
    let flags = ["--listen", "fd:3", "--listen", "127.0.0.1:0"];
    let gateway = Gateway::run(activated(&origin, sockets, &flags));
    assert_eq!(gateway.address_of(0), address);
    gateway.connect().await.get().await;
    // One that was not passed.
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sockets = [Some(tcp.into()), None];
    let output = activated(&origin, sockets, &["--listen", "fd:4"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("cannot listen on fd:4"), "{said}");
}

#[tokio::test]
async fn the_manager_is_told_how_it_is() {
    let (folder, origin) = (Folder::new(), Origin::new().await);
    let socket = UnixDatagram::bind(folder.path("notify")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let told = || {
        let mut bytes = [0; 100];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..len].to_vec()).unwrap()
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.env("NOTIFY_SOCKET", folder.path("notify"));
    command.env("WATCHDOG_USEC", "100000");
    command.args(["--listen", "127.0.0.1:0", "--upstream"]);
    command.arg(format!("http://{}", origin.address));
    let mut gateway = Gateway::run(command);
    assert_eq!(told(), "READY=1\n");
    assert_eq!(told(), "WATCHDOG=1\n");
    assert_eq!(told(), "WATCHDOG=1\n");
    gateway.signal("TERM");
    soon(async { while told() != "STOPPING=1\n" {} }).await;
    assert!(gateway.exited().await.success());
}
