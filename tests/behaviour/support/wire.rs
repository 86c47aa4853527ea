//! HTTP/1 as bytes: one connection, read and written by hand.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

/// A connection, or one half of it, and what has been read from it too early.
pub struct Conn<T = TcpStream> {
    stream: T,
    ahead: Vec<u8>,
}

/// A request or response as it was on the wire, its body decoded.
#[derive(Debug, Clone)]
pub struct Message {
    pub head: String,
    pub body: Vec<u8>,
    /// The lines after the last chunk.
    pub trailers: String,
}

impl Message {
    pub fn start_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    pub fn status(&self) -> u16 {
        self.start_line()
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or_default()
    }

    /// All lines of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self
            .head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        lines
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
            .collect()
    }

    /// The one line of a field; panics when there are more.
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() < 2,
            "{name} is there {} times:\n{}",
            all.len(),
            self.head
        );
        all.first().copied()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Conn {
    pub fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            ahead: Vec::new(),
        }
    }

    pub async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }

    /// Both directions, each by itself.
    pub fn split(self) -> (Conn<OwnedReadHalf>, Conn<OwnedWriteHalf>) {
        let (reads, writes) = self.stream.into_split();
        (
            Conn {
                stream: reads,
                ahead: self.ahead,
            },
            Conn {
                stream: writes,
                ahead: Vec::new(),
            },
        )
    }

    /// The stream alone; nothing may have been read.
    pub fn into_stream(self) -> TcpStream {
        assert!(self.ahead.is_empty());
        self.stream
    }

    /// Closes at once, with a reset instead of a farewell.
    pub fn abort(self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }
}

impl<T: AsyncWrite + Unpin> Conn<T> {
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends what can be sent, and says whether all went: the other side may have closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Closes the write side only.
    pub async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }
}

impl<T: AsyncRead + Unpin> Conn<T> {
    async fn more(&mut self) -> bool {
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk).await {
            Ok(0) | Err(_) => false,
            Ok(n) => {
                self.ahead.extend_from_slice(&chunk[..n]);
                true
            }
        }
    }

    /// The next `n` bytes, or what came before the end.
    pub async fn take(&mut self, n: usize) -> Vec<u8> {
        while self.ahead.len() < n && self.more().await {}
        self.ahead.drain(..n.min(self.ahead.len())).collect()
    }

    /// How many of `n` bytes come before the end, without keeping them.
    pub async fn count(&mut self, n: usize) -> usize {
        let mut count = 0;
        while count < n && (!self.ahead.is_empty() || self.more().await) {
            count += self.ahead.len();
            self.ahead.clear();
        }
        count
    }

    /// Up to and with `end`; none when the connection ends before.
    pub async fn until(&mut self, end: &str) -> Option<String> {
        let end = end.as_bytes();
        let mut from = 0;
        loop {
            if let Some(at) = self.ahead[from..]
                .windows(end.len())
                .position(|window| window == end)
            {
                let all: Vec<u8> = self.ahead.drain(..from + at + end.len()).collect();
                return Some(String::from_utf8_lossy(&all).into_owned());
            }
            from = self.ahead.len().saturating_sub(end.len());
            if !self.more().await {
                return None;
            }
        }
    }

    /// A head, with its empty line.
    pub async fn head(&mut self) -> Option<String> {
        self.until("\r\n\r\n").await
    }

    /// Everything to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.ahead)
    }

    /// Waits for the other side to close or reset.
    pub async fn closed(&mut self) -> bool {
        self.rest().await.is_empty()
    }

    /// A whole request.
    pub async fn request(&mut self) -> Option<Message> {
        self.message(false).await
    }

    /// A whole response to a request that may have a body in its response.
    pub async fn response(&mut self) -> Option<Message> {
        loop {
            let message = self.message(true).await?;
            // hyper's own 100 Continue.
            if message.status() != 100 {
                return Some(message);
            }
        }
    }

    async fn message(&mut self, response: bool) -> Option<Message> {
        let head = self.head().await?;
        let mut message = Message {
            head,
            body: Vec::new(),
            trailers: String::new(),
        };
        let status = message.status();
        if message
            .field("transfer-encoding")
            .is_some_and(|te| te.ends_with("chunked"))
        {
            loop {
                let size = self.until("\r\n").await?;
                let size = usize::from_str_radix(size.trim().split(';').next()?, 16).ok()?;
                if size == 0 {
                    break;
                }
                message.body.extend(self.take(size).await);
                self.until("\r\n").await?;
            }
            loop {
                let line = self.until("\r\n").await?;
                if line == "\r\n" {
                    break;
                }
                message.trailers += &line;
            }
        } else if let Some(length) = message.field("content-length") {
            let length = length.parse().unwrap();
            message.body = self.take(length).await;
            if message.body.len() < length {
                return None;
            }
        } else if response && status >= 200 && status != 204 && status != 304 {
            message.body = self.rest().await;
        }
        Some(message)
    }
}
