//! Servers that fail in one way, until they are mended.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc},
    time::sleep,
};

use crate::support::{Conn, Message, counted::Count, proxy::OK, server, server::Server, within};

/// What a server does to a request, or to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Accepts a connection, and closes it.
    CloseAtOnce,
    /// Reads the request, and closes.
    CloseBeforeHead,
    /// Reads the request, and resets the connection.
    ResetBeforeHead,
    /// Resets the connection in the middle of the response head.
    ResetInHead,
    /// Answers something that is not HTTP.
    Garbage,
    /// Resets the connection in a body with a length. What was sent before can still be read.
    ResetInBody,
    /// Resets the connection in a chunked body.
    ResetInChunks,
    /// Closes the connection in a chunked body, between two chunks.
    CloseInChunks,
    /// Sends less than its length says, and closes.
    TooShort,
    /// Sends more than its length says.
    TooLong,
    /// Answers, and closes without having said that it would.
    CloseAfterResponse,
    /// Reads the request, and says nothing.
    Silent,
    /// Sends a head, one byte per second.
    TricklingHead,
    /// Sends a body, one byte per second.
    TricklingBody,
    /// Answers 503.
    Unavailable,
}

/// A server with a fault.
pub struct Faulty {
    pub server: Server,
    counts: Arc<Counts>,
}

/// What a faulty server has seen.
#[derive(Default)]
struct Counts {
    is_well: AtomicBool,
    requests: AtomicUsize,
    posts: AtomicUsize,
    closed: AtomicUsize,
    sent: AtomicUsize,
}

impl Faulty {
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// From now on, it answers as it should.
    pub fn mend(&self) {
        self.counts.is_well.store(true, SeqCst);
    }

    /// From now on, it fails.
    pub fn break_again(&self) {
        self.counts.is_well.store(false, SeqCst);
    }

    /// How many requests have arrived whole.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }

    /// How many of them were a POST.
    pub fn posts(&self) -> usize {
        self.counts.posts.load(SeqCst)
    }

    /// How many connections on which it was silent were closed by the other side.
    pub fn closed(&self) -> usize {
        self.counts.closed.load(SeqCst)
    }

    /// How many bytes it has sent one by one.
    pub fn sent(&self) -> usize {
        self.counts.sent.load(SeqCst)
    }
}

/// Runs a server that always answers "ok".
pub async fn good() -> Faulty {
    let server = faulty(Fault::CloseAtOnce).await;
    server.mend();
    server
}

/// Runs a server with a fault.
pub async fn faulty(fault: Fault) -> Faulty {
    let counts = Arc::new(Counts::default());
    let seen = counts.clone();
    let server = server::raw(move |conn| serve(conn, fault, seen.clone())).await;
    Faulty { server, counts }
}

async fn serve(mut conn: Conn, fault: Fault, counts: Arc<Counts>) {
    loop {
        if fault == Fault::CloseAtOnce && !counts.is_well.load(SeqCst) {
            return;
        }
        let Some(request) = conn.request().await else {
            return;
        };
        count(&counts, &request);
        if counts.is_well.load(SeqCst) {
            if !conn.try_send(OK).await {
                return;
            }
            continue;
        }
        match fault {
            Fault::CloseAtOnce | Fault::CloseBeforeHead => return,
            Fault::ResetBeforeHead => return conn.abort(),
            Fault::ResetInHead => {
                conn.try_send("HTTP/1.1 200 OK\r\nContent-Le").await;
                return conn.abort();
            }
            Fault::Garbage => {
                conn.try_send("220 mail.example.com ESMTP\r\n\r\n").await;
                return;
            }
            Fault::ResetInBody => {
                conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                    .await;
                return conn.abort();
            }
            Fault::ResetInChunks => {
                conn.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                    .await;
                return conn.abort();
            }
            Fault::CloseInChunks => {
                conn.try_send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
                    .await;
                return;
            }
            Fault::TooShort => {
                conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                    .await;
                return;
            }
            Fault::TooLong => {
                let more = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                conn.try_send(format!("{OK}{more}")).await;
            }
            Fault::CloseAfterResponse => {
                conn.try_send(OK).await;
                return;
            }
            Fault::Silent => {
                conn.closed().await;
                counts.closed.fetch_add(1, SeqCst);
                return;
            }
            Fault::TricklingHead => {
                trickle(&mut conn, &counts, b"HTTP/1.1 200 OK\r\nX: ", usize::MAX).await;
                return;
            }
            Fault::TricklingBody => {
                conn.try_send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
                    .await;
                trickle(&mut conn, &counts, b"slow!", 5).await;
            }
            Fault::Unavailable => {
                conn.try_send("HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy")
                    .await;
            }
        }
    }
}

fn count(counts: &Counts, request: &Message) {
    counts.requests.fetch_add(1, SeqCst);
    if request.head.starts_with("POST") {
        counts.posts.fetch_add(1, SeqCst);
    }
}

/// Sends up to `most` bytes, the given ones and then a letter again and again, one per second.
async fn trickle(conn: &mut Conn, counts: &Counts, bytes: &[u8], most: usize) {
    let endless = bytes.iter().copied().chain(std::iter::repeat(b'x'));
    for byte in endless.take(most) {
        sleep(Duration::from_secs(1)).await;
        if !conn.try_send([byte]).await {
            return;
        }
        counts.sent.fetch_add(1, SeqCst);
    }
}

/// A server that answers when it is told to.
pub struct Held {
    server: Server,
    paths: mpsc::UnboundedReceiver<String>,
    go: Arc<Semaphore>,
    /// The requests that it has.
    pub count: Count,
}

impl Held {
    pub async fn new() -> Self {
        let (seen, paths) = mpsc::unbounded_channel();
        let (count, go) = (Count::default(), Arc::new(Semaphore::new(0)));
        let (entered, gate) = (count.clone(), go.clone());
        let server = server::raw(move |mut conn| {
            let (seen, entered, gate) = (seen.clone(), entered.clone(), gate.clone());
            async move {
                while let Some(request) = conn.request().await {
                    let counted = entered.enter();
                    let path = request.head.split(' ').nth(1).unwrap_or_default();
                    let _ = seen.send(path.to_owned());
                    tokio::select! {
                        permit = gate.acquire() => permit.unwrap().forget(),
                        _ = conn.closed() => return,
                    }
                    drop(counted);
                    conn.send(OK).await;
                }
            }
        });
        Self {
            server: server.await,
            paths,
            go,
            count,
        }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Waits for the next request, and returns its path.
    pub async fn next(&mut self) -> String {
        within(self.paths.recv()).await.unwrap()
    }

    /// The path of the next request, if one has come.
    pub fn seen(&mut self) -> Option<String> {
        self.paths.try_recv().ok()
    }

    /// Answers so many requests.
    pub fn answer(&self, requests: usize) {
        self.go.add_permits(requests);
    }
}
