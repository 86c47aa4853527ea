//! A gateway, an origin, and a connection as bytes.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::fd::AsFd,
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::timeout,
};

/// What has not happened by then does not happen.
const NEVER: Duration = Duration::from_secs(30);

/// Waits for what is to happen.
pub async fn soon<F: Future>(future: F) -> F::Output {
    timeout(NEVER, future).await.expect("it did not happen")
}

pub struct Gateway {
    child: Child,
    pub stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
    /// Where it listens, as it says, in the order of its listeners.
    pub listening: Vec<String>,
}

impl Gateway {
    /// In front of an origin, with these flags.
    pub fn start(origin: &Origin, flags: &[&str]) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_gateway")), origin, flags)
    }

    /// With these flags, and this in its environment.
    pub fn start_with(name: &str, value: &str, origin: &Origin, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.env(name, value);
        Self::start_by(command, origin, flags)
    }

    /// Started by a shell that says this first.
    pub fn start_after(first: &str, origin: &Origin, flags: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let script = format!("{first} && exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_gateway")]);
        Self::start_by(shell, origin, flags)
    }

    fn start_by(mut command: Command, origin: &Origin, flags: &[&str]) -> Self {
        command
            .args(["--listen", "127.0.0.1:0", "--workers", "1", "--upstream"])
            .arg(format!("http://{}", origin.address))
            .args(flags);
        Self::run(command)
    }

    /// As this says, without a status page.
    pub fn run(command: Command) -> Self {
        let is_logged = command
            .get_args()
            .any(|argument| argument == "json" || argument == "common");
        Self::run_and_read(command, is_logged)
    }

    /// As this says, without a status page. If it writes an access log, it says on standard error where it listens.
    pub fn run_and_read(mut command: Command, is_logged: bool) -> Self {
        if is_logged {
            command.stderr(Stdio::piped());
        }
        let mut child = command
            .args(["--admin", "off"])
            .env("RUST_LOG", "info")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().map(BufReader::new);
        let mut listening = Vec::new();
        loop {
            let mut line = String::new();
            let len = match &mut stderr {
                Some(stderr) => stderr.read_line(&mut line).unwrap(),
                None => stdout.read_line(&mut line).unwrap(),
            };
            assert!(len > 0, "it does not start");
            match line.trim().strip_prefix("listening on ") {
                Some(place) => listening.push(place.to_owned()),
                // The first one that follows.
                None if !listening.is_empty() => break,
                None => {}
            }
        }
        if let Some(mut stderr) = stderr {
            // It ends with the gateway.
            std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
        }
        let first = listening.iter().find_map(|place| address(place));
        Self {
            child,
            stdout,
            address: first.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
            listening,
        }
    }

    /// The address and port of its listener with this number.
    pub fn address_of(&self, listener: usize) -> SocketAddr {
        address(&self.listening[listener]).unwrap()
    }

    /// Connects from another address of this machine, which the gateway takes for another client.
    pub async fn connect_from(&self, from: [u8; 4]) -> Conn {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        Conn::new(soon(socket.connect(self.address)).await.unwrap())
    }

    pub async fn connect(&self) -> Conn {
        Conn::new(soon(TcpStream::connect(self.address)).await.unwrap())
    }

    /// A client of HTTP/2, and the task of its connection.
    pub async fn connect_http2(
        &self,
        client: &h2::client::Builder,
    ) -> (
        SendRequest<Bytes>,
        tokio::task::JoinHandle<Result<(), h2::Error>>,
    ) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (send, connection) = client.handshake(stream).await.unwrap();
        (send, tokio::spawn(connection))
    }

    /// The lines that it writes from now on.
    pub fn lines(&self) -> UnboundedReceiver<String> {
        let stdout = self.stdout.get_ref().as_fd().try_clone_to_owned().unwrap();
        let (tell, told) = unbounded_channel();
        // It ends with the gateway.
        std::thread::spawn(move || {
            for line in BufReader::new(File::from(stdout)).lines() {
                if tell.send(line.unwrap()).is_err() {
                    break;
                }
            }
        });
        told
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// The memory that it has in KiB, without what it shares with other processes.
    pub fn memory(&self) -> usize {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let rollup = std::fs::read_to_string(path).unwrap();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        pss.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until it has exited.
    pub async fn exited(&mut self) -> ExitStatus {
        soon(async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
    }
}

/// The address and port of a URL that has both.
fn address(url: &str) -> Option<SocketAddr> {
    url.rsplit('/').next()?.parse().ok()
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server behind the gateway.
pub struct Origin {
    listener: TcpListener,
    pub address: SocketAddr,
}

impl Origin {
    pub async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    pub async fn accept(&self) -> Conn {
        Conn::new(soon(self.listener.accept()).await.unwrap().0)
    }

    /// Answers every request in the same way from now on. Returns what keeps the address.
    pub fn answering(self, response: &'static str) -> Self {
        let (listener, address) = (self.listener, self.address);
        let copy = listener.into_std().unwrap();
        let listener = TcpListener::from_std(copy.try_clone().unwrap()).unwrap();
        tokio::spawn(async move {
            loop {
                let mut conn = Conn::new(listener.accept().await.unwrap().0);
                tokio::spawn(async move {
                    while conn.try_head().await.is_some() {
                        conn.send(response).await;
                    }
                });
            }
        });
        let listener = TcpListener::from_std(copy).unwrap();
        Self { listener, address }
    }
}

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A connection as bytes.
pub struct Conn<S = TcpStream> {
    pub stream: S,
    ahead: Vec<u8>,
}

impl Conn {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    /// Over whatever it is.
    pub fn over(stream: S) -> Self {
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub async fn send(&mut self, text: &str) {
        soon(self.stream.write_all(text.as_bytes())).await.unwrap();
        // TLS may have it still.
        soon(self.stream.flush()).await.unwrap();
    }

    /// `GET /`, and what the origin answers with [`OK`] has to come.
    pub async fn get(&mut self) {
        self.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        self.expect_ok().await;
    }

    pub async fn expect_ok(&mut self) -> String {
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(self.exactly(2).await, b"ok");
        head
    }

    /// A head, up to and with the empty line.
    pub async fn head(&mut self) -> String {
        soon(self.try_head()).await.expect("closed before a head")
    }

    async fn try_head(&mut self) -> Option<String> {
        loop {
            let end = self.ahead.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(end) = end {
                let head = self.ahead.drain(..end + 4).collect();
                return Some(String::from_utf8(head).unwrap());
            }
            if !self.more().await {
                return None;
            }
        }
    }

    /// A line, with its end.
    pub async fn line(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|two| two == b"\r\n") {
                let line = self.ahead.drain(..end + 2).collect();
                return String::from_utf8(line).unwrap();
            }
            assert!(soon(self.more()).await, "closed before a line");
        }
    }

    pub async fn exactly(&mut self, len: usize) -> Vec<u8> {
        while self.ahead.len() < len {
            assert!(soon(self.more()).await, "closed before {len} bytes");
        }
        self.ahead.drain(..len).collect()
    }

    /// Whether a head arrives that begins so, with the body of [`OK`], and not the end.
    pub async fn begins_with(&mut self, beginning: &str) -> bool {
        match soon(self.try_head()).await {
            Some(head) => {
                self.exactly(2).await;
                head.starts_with(beginning)
            }
            None => false,
        }
    }

    /// Everything up to the end, however it ends.
    pub async fn rest(&mut self) -> String {
        while soon(self.more()).await {}
        String::from_utf8(std::mem::take(&mut self.ahead)).unwrap()
    }

    /// Reads to the end, whatever it is.
    pub async fn drain(&mut self) {
        while soon(self.more()).await {}
    }

    /// Reads something. False at the end, or after a reset.
    async fn more(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.ahead).await, Ok(1..))
    }
}

/// Sends a request without a body, and waits for the head of its response.
pub async fn ask(
    send: &mut SendRequest<Bytes>,
    request: Request<()>,
) -> Result<Response<h2::RecvStream>, h2::Error> {
    let mut send = soon(send.clone().ready()).await?;
    let (response, _) = send.send_request(request, true)?;
    soon(response).await
}
