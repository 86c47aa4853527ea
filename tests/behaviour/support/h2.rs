//! An HTTP/2 endpoint whose streams the test answers by hand, over pipes in memory: with paused time, a sleep ends when
//! nothing moves any more.

use std::{
    convert::Infallible,
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_upstream::upstream::{Client, ClientBuilder};
use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tower::service_fn;

/// Everything that the connections of one endpoint are asked for.
pub struct Endpoint {
    requests: mpsc::UnboundedReceiver<Asked>,
    made: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

/// A request, and the number of the connection it came over, counted from 1.
pub struct Asked {
    pub connection: usize,
    pub request: Request<RecvStream>,
    pub respond: SendResponse<Bytes>,
}

/// An endpoint of these settings, and the builder of clients that connect to it.
pub fn endpoint(
    client: ClientBuilder,
    settings: impl Fn(&mut Builder) + Clone + Send + Sync + 'static,
) -> (Client, Endpoint) {
    let (ask, requests) = mpsc::unbounded_channel();
    let (made, closed) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
    let (count, ends) = (made.clone(), closed.clone());
    let connector = service_fn(move |_: http::Uri| {
        let connection = count.fetch_add(1, SeqCst) + 1;
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let mut builder = Builder::new();
        settings(&mut builder);
        let (ask, ends) = (ask.clone(), ends.clone());
        tokio::spawn(async move {
            let mut connected = builder.handshake(theirs).await.unwrap();
            while let Some(Ok((request, respond))) = connected.accept().await {
                let _ = ask.send(Asked {
                    connection,
                    request,
                    respond,
                });
            }
            ends.fetch_add(1, SeqCst);
        });
        async { Ok::<_, Infallible>(TokioIo::new(ours)) }
    });
    let client = client.connector(connector).build("h2c://endpoint").unwrap();
    let endpoint = Endpoint {
        requests,
        made,
        closed,
    };
    (client, endpoint)
}

impl Endpoint {
    /// How many connections were made.
    pub fn made(&self) -> usize {
        self.made.load(SeqCst)
    }

    /// How many have ended.
    pub fn closed(&self) -> usize {
        self.closed.load(SeqCst)
    }

    pub async fn next(&mut self) -> Asked {
        self.requests.recv().await.unwrap()
    }
}

impl Asked {
    /// Answers 200 and leaves the body to the caller.
    pub fn start(&mut self) -> SendStream<Bytes> {
        self.respond
            .send_response(Response::new(()), false)
            .unwrap()
    }

    /// Answers 200 and nothing more.
    pub fn finish(&mut self) {
        self.respond.send_response(Response::new(()), true).unwrap();
    }
}

/// Sends frames of `size` bytes, as many as the client's windows let through and no more than `most`.
pub async fn pour(body: &mut SendStream<Bytes>, size: usize, most: usize) {
    for _ in 0..most {
        body.reserve_capacity(size);
        while body.capacity() < size {
            let capacity = poll_fn(|cx| body.poll_capacity(cx)).await;
            if !matches!(capacity, Some(Ok(_))) {
                return;
            }
        }
        if body
            .send_data(Bytes::from(vec![b'x'; size]), false)
            .is_err()
        {
            return;
        }
    }
}

/// Reads a body, gives its windows back, and says how long it was, or by what it was reset.
pub async fn read(body: &mut RecvStream) -> Result<usize, Option<Reason>> {
    let mut length = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| error.reason())?;
        length += chunk.len();
        let _ = body.flow_control().release_capacity(chunk.len());
    }
    Ok(length)
}

/// In paused time: waits until nothing moves.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
