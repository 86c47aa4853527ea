//! WebSocket clients that each wait for the echo of a message before they send the next: ADDRESS CONNECTIONS SECONDS.
//!
//! Prints what the script for wrk prints: requests, microseconds, errors, p50 and p99 in microseconds.

use std::{
    env,
    io::{Error, Result},
    net::SocketAddr,
    str::FromStr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const PAYLOAD: usize = 100;
/// The example of RFC 6455 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn main() {
    let mut words = env::args().skip(1);
    let address: SocketAddr = parse(words.next());
    let (connections, seconds): (usize, u64) = (parse(words.next()), parse(words.next()));
    peer_common::block_on(1, async move {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let clients: Vec<_> = (0..connections).map(|_| tokio::spawn(run(address, end))).collect();
        let (mut taken, mut errors) = (Vec::new(), 0);
        for client in clients {
            let (of_one, result) = client.await.expect("no client panics");
            taken.extend(of_one);
            errors += usize::from(result.is_err());
        }
        taken.sort_unstable();
        let part = |percent| taken.get(taken.len() * percent / 100).copied().unwrap_or(0);
        let micros = start.elapsed().as_micros();
        println!("figures {} {micros} {errors} {} {}", taken.len(), part(50), part(99));
    });
}

fn parse<T: FromStr>(word: Option<String>) -> T {
    word.and_then(|word| word.parse().ok()).expect("arguments: ADDRESS CONNECTIONS SECONDS")
}

/// Microseconds that each message took, and whether the connection broke.
async fn run(address: SocketAddr, end: Instant) -> (Vec<u32>, Result<()>) {
    let mut taken = Vec::new();
    let result = match timeout(Duration::from_secs(5), connect(address)).await {
        Ok(Ok(stream)) => exchange(stream, end, &mut taken).await,
        Ok(Err(error)) => Err(error),
        Err(elapsed) => Err(elapsed.into()),
    };
    (taken, result)
}

async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    match answer.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(stream),
        false => Err(Error::other("no WebSocket")),
    }
}

async fn exchange(mut stream: TcpStream, end: Instant, taken: &mut Vec<u32>) -> Result<()> {
    let (mask, payload) = ([1, 2, 3, 4], [b'x'; PAYLOAD]);
    let mut sent = vec![0x82, 0x80 | PAYLOAD as u8];
    sent.extend(mask);
    sent.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    let mut expected = vec![0x82, PAYLOAD as u8];
    expected.extend(payload);
    let mut echo = vec![0; expected.len()];
    while Instant::now() < end {
        let start = Instant::now();
        stream.write_all(&sent).await?;
        timeout(Duration::from_secs(5), stream.read_exact(&mut echo)).await??;
        if echo != expected {
            return Err(Error::other("not the echo"));
        }
        taken.push(start.elapsed().as_micros() as u32);
    }
    Ok(())
}
