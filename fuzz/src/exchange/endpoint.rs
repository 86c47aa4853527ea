//! The endpoint: it reads strictly, and answers as the script says.

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::JoinHandle,
};

use super::{
    ADDRESSES, MARKERS,
    script::{Answer, Speaks},
    wire::{self, Request},
};
use crate::input;

type Answers = Arc<Mutex<VecDeque<Answer>>>;

pub(super) struct Endpoint {
    speaks: Speaks,
    answers: Answers,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

impl Endpoint {
    pub(super) fn new(speaks: Speaks) -> Self {
        Self {
            speaks,
            answers: Answers::default(),
            connections: Mutex::default(),
        }
    }

    /// What it will answer, after all that it has been told to answer before.
    pub(super) fn will(&self, answer: Answer) {
        self.answers.lock().unwrap().push_back(answer);
    }

    pub(super) fn serve(&self, stream: DuplexStream) {
        let answers = self.answers.clone();
        let task = match self.speaks {
            Speaks::Http1 => tokio::spawn(http1(stream, answers)),
            Speaks::Http2 => tokio::spawn(http2(stream, answers)),
            Speaks::Frames => tokio::spawn(frames(stream, answers)),
        };
        self.connections.lock().unwrap().push(task);
    }

    /// Closes all connections.
    pub(super) fn close(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.abort();
        }
    }
}

async fn http1(mut stream: DuplexStream, answers: Answers) {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = read(&mut stream, &mut buffer, Request::read).await else {
            return;
        };
        belongs_to(request.client(), &request.head);
        let answer = answers.lock().unwrap().pop_front();
        let is_early = answer.as_ref().is_some_and(|answer| answer.is_early);
        if !is_early {
            let Some(body) =
                read(&mut stream, &mut buffer, |buffer| request.read_body(buffer)).await
            else {
                return;
            };
            belongs_to(request.client(), &body);
        }
        let Answer { bytes, closes, .. } = answer.unwrap_or(Answer {
            bytes: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
            is_early,
            closes: false,
        });
        let bytes = wire::replace(&bytes, b'@', MARKERS[request.client()].as_bytes());
        if stream.write_all(&bytes).await.is_err() || closes {
            return;
        }
        if is_early {
            let Some(body) =
                read(&mut stream, &mut buffer, |buffer| request.read_body(buffer)).await
            else {
                return;
            };
            belongs_to(request.client(), &body);
        }
        if wire::contains(&bytes, b" 101") {
            // What comes now may be no HTTP.
            while let Ok(1..) = stream.read_buf(&mut buffer).await {
                buffer.clear();
            }
            return;
        }
    }
}

/// Reads until `parse` has what it wants; `None` if the connection ends before.
async fn read<T>(
    stream: &mut DuplexStream,
    buffer: &mut Vec<u8>,
    mut parse: impl FnMut(&mut Vec<u8>) -> Option<T>,
) -> Option<T> {
    loop {
        if let Some(parsed) = parse(buffer) {
            return Some(parsed);
        }
        if !matches!(stream.read_buf(buffer).await, Ok(1..)) {
            return None;
        }
    }
}

/// A request has come whole from one client.
fn belongs_to(client: usize, bytes: &[u8]) {
    let other = ADDRESSES[1 - client];
    assert!(
        !wire::contains(bytes, other.as_bytes()),
        "a request has another's bytes"
    );
}

async fn http2(stream: DuplexStream, answers: Answers) {
    let service = service_fn(move |request: http::Request<Incoming>| {
        let answers = answers.clone();
        async move {
            let client = request.headers()["x-forwarded-for"] == ADDRESSES[1];
            let client = usize::from(client);
            let answer = answers.lock().unwrap().pop_front();
            if !answer.as_ref().is_some_and(|answer| answer.is_early) {
                if let Ok(body) = request.into_body().collect().await {
                    belongs_to(client, &body.to_bytes());
                }
            }
            let bytes = answer.map(|answer| answer.bytes).unwrap_or_default();
            let bytes = wire::replace(&bytes, b'@', MARKERS[client].as_bytes());
            Ok::<_, Infallible>(response(&bytes))
        }
    });
    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    drop(
        builder
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

/// The answer that is written as one of HTTP/1, as far as HTTP/2 has words for it.
fn response(bytes: &[u8]) -> Response<Full<Bytes>> {
    let text: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| *byte != b'\r')
        .collect();
    let end = text.windows(2).position(|window| window == b"\n\n");
    let (head, body) = text.split_at(end.map_or(text.len(), |end| end + 2));
    // Without the version.
    let start = head
        .iter()
        .position(|byte| *byte == b' ')
        .map_or(0, |at| at + 1);
    let (status, fields) = input::split_once(&head[start..], b'\n').unwrap_or((b"200", b""));
    let status = status.get(..3).unwrap_or(b"200");
    let body = Full::new(Bytes::copy_from_slice(body));
    let mut response = match input::response(&[status, b"\n", fields].concat()) {
        Some(response) => response.map(|()| body),
        None => Response::new(body),
    };
    if response.status().is_informational() {
        *response.status_mut() = http::StatusCode::OK;
    }
    response
}

/// Writes all answers as they are, and reads whatever comes.
async fn frames(mut stream: DuplexStream, answers: Answers) {
    let mut buffer = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        buffer.clear();
        let answer = answers.lock().unwrap().pop_front();
        if let Some(Answer { bytes, closes, .. }) = answer {
            if stream.write_all(&bytes).await.is_err() || closes {
                return;
            }
        }
    }
}
