//! Bytes that an endpoint sends before it has been asked.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, mpsc},
    thread,
};

use axum_upstream::upstream::Client;
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::support::{Conn, direct::get, proxy, server, tls, within};

const UNASKED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen";

/// Answers that are complete in every way in which one can be.
const ANSWERS: [&str; 5] = [
    proxy::OK,
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
];

/// Two answers in one write: the second is nobody's.
#[tokio::test]
async fn a_second_answer_reaches_no_other_client() {
    for answer in ANSWERS {
        within(async {
            let server = server::raw(move |mut conn| async move {
                while conn.request().await.is_some() {
                    conn.send(format!("{answer}{UNASKED}")).await;
                }
            })
            .await;
            let proxy = proxy::to(&server.url()).await;
            for _ in 0..3 {
                let mut client = Conn::connect(proxy.address).await;
                client.send(proxy::get("")).await;
                let response = client.response().await.unwrap();
                assert_ne!(response.text(), "stolen", "after {answer}");
            }
        })
        .await;
    }
}

/// What a stream has to be for a server that blocks.
trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

type Accept = Box<dyn FnMut() -> Box<dyn Stream> + Send>;

/// A server in a thread of its own. Told to, it sends an answer unasked, and says when that is in the client's socket:
/// meanwhile the runtime of the test does nothing, so it has not heard of it.
struct Blocking {
    told: mpsc::Sender<()>,
    sent: mpsc::Receiver<()>,
}

impl Blocking {
    fn start(mut accept: Accept) -> Self {
        let (told, orders) = mpsc::channel();
        let (done, sent) = mpsc::channel();
        thread::spawn(move || {
            let mut first = accept();
            answer(&mut *first);
            if orders.recv().is_err() {
                return;
            }
            let _ = first.write_all(UNASKED.as_bytes());
            let _ = first.flush();
            let _ = done.send(());
            answer(&mut *accept());
        });
        Self { told, sent }
    }

    fn send_unasked(&self) {
        self.told.send(()).unwrap();
        self.sent.recv().unwrap();
    }
}

fn answer(stream: &mut dyn Stream) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    stream.write_all(proxy::OK.as_bytes()).unwrap();
    stream.flush().unwrap();
}

/// Accepts a connection whose bytes go out when they are written.
fn accept_tcp(listener: &TcpListener) -> TcpStream {
    let stream = listener.accept().unwrap().0;
    stream.set_nodelay(true).unwrap();
    stream
}

async fn text(client: &Client) -> String {
    let response = client.clone().oneshot(get()).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.into()).unwrap()
}

/// The answer comes between two requests, so late that the runtime has not been told of it.
async fn comes_late(client: Client, server: Blocking) {
    within(async {
        assert_eq!(text(&client).await, "ok");
        server.send_unasked();
        assert_eq!(text(&client).await, "ok");
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_nobody_has_read_yet_reaches_no_other_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let accept = move || Box::new(accept_tcp(&listener)) as Box<dyn Stream>;
    comes_late(
        Client::new(&url).unwrap(),
        Blocking::start(Box::new(accept)),
    )
    .await;
}

#[cfg(unix)]
#[tokio::test]
async fn nor_does_one_over_a_unix_socket() {
    let folder = std::env::temp_dir().join(format!("axum-upstream-unasked-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    let listener = std::os::unix::net::UnixListener::bind(&folder).unwrap();
    let accept = move || Box::new(listener.accept().unwrap().0) as Box<dyn Stream>;
    let client = Client::new(&format!("unix:{}", folder.display())).unwrap();
    comes_late(client, Blocking::start(Box::new(accept))).await;
    std::fs::remove_file(folder).unwrap();
}

#[tokio::test]
async fn nor_does_one_over_tls() {
    let authority = tls::Authority::new();
    let config = Arc::new(authority.issue(&["localhost"], |_| ()).server());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let accept = move || {
        let connection = rustls::ServerConnection::new(config.clone()).unwrap();
        let socket = accept_tcp(&listener);
        Box::new(rustls::StreamOwned::new(connection, socket)) as Box<dyn Stream>
    };
    let client = Client::builder()
        .tls(authority.client())
        .build(&url)
        .unwrap();
    comes_late(client, Blocking::start(Box::new(accept))).await;
}
