//! Single exchanges over HTTP/1, as an endpoint sees them byte by byte.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use axum_upstream::{
    Body, BoxError,
    upstream::{Client, on_interim_response, upgrade},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, StreamBody};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    sync::{mpsc, watch},
};
use tower::{Service, ServiceExt, service_fn};

use crate::support::{
    Conn,
    counted::{self, Count},
    direct::{get, post, send},
    proxy::OK,
    server,
    server::Server,
    within,
};

/// A server whose connections are handled by `handle`, and how many there have been.
async fn counting<F, Fut>(handle: F) -> (Server, Count)
where
    F: Fn(Conn) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let count = Count::default();
    let made = count.clone();
    let server = server::raw(move |conn| {
        drop(made.enter());
        handle(conn)
    });
    (server.await, count)
}

#[tokio::test]
async fn interim_responses_are_seen_in_their_order() {
    within(async {
        let server = server::raw(|mut conn| async move {
            conn.head().await;
            conn.send(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n",
            )
            .await;
            conn.send(OK).await;
        })
        .await;
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let (mut request, sees) = (get(), seen.clone());
        on_interim_response(&mut request, move |response| {
            let link = response.headers().get("link");
            let link = link.map_or("", |link| link.to_str().unwrap());
            let line = format!("{} {link}", response.status().as_u16());
            sees.lock().unwrap().push(line);
        });
        let client = Client::new(&server.url()).unwrap();
        assert_eq!(send(&client, request).await, 200);
        assert_eq!(*seen.lock().unwrap(), ["103 </a>", "102 "]);
    })
    .await;
}

/// What came together with the 101 is the beginning of the tunnel.
#[tokio::test]
async fn a_client_can_upgrade_without_a_proxy() {
    within(async {
        let server = server::raw(|mut conn| async move {
            let head = conn.head().await.unwrap().to_lowercase();
            assert!(head.contains("\r\nconnection: upgrade\r\n"), "{head}");
            conn.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\n\r\nhello")
                .await;
            assert_eq!(conn.take(3).await, b"bye");
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        let request = Request::get("/").header("upgrade", "a").body(Body::empty());
        let mut response = client.oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 101);
        let mut tunnel = upgrade(&mut response).unwrap().await.unwrap();
        assert!(upgrade(&mut response).is_none(), "it is taken once");
        let mut hello = [0; 5];
        tunnel.read_exact(&mut hello).await.unwrap();
        assert_eq!(&hello, b"hello");
        tunnel.write_all(b"bye").await.unwrap();
        assert_eq!(tunnel.read(&mut hello).await.unwrap(), 0);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_refused_an_upgrade_is_used_again() {
    within(async {
        let (server, count) = counting(|mut conn| async move {
            while conn.head().await.is_some() {
                conn.send(OK).await;
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        let ask = Request::get("/").header("upgrade", "a").body(Body::empty());
        assert_eq!(send(&client, ask.unwrap()).await, 200);
        assert_eq!(send(&client, get()).await, 200);
        assert_eq!(count.made(), 1);
    })
    .await;
}

/// A POST in chunks whose answer begins after its head, and where either may end first.
async fn early_answer(upload_first: bool) -> usize {
    within(async {
        let (uploaded, mut uploads) = mpsc::unbounded_channel();
        let (go_on, goes_on) = watch::channel(false);
        let (server, count) = counting(move |mut conn| {
            let (uploaded, mut goes_on) = (uploaded.clone(), goes_on.clone());
            async move {
                conn.head().await;
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
                    .await;
                if upload_first {
                    let _ = uploaded.send(conn.take(13).await);
                }
                let _ = goes_on.wait_for(|goes_on| *goes_on).await;
                conn.send("k").await;
                if !upload_first {
                    let _ = uploaded.send(conn.take(13).await);
                }
                while conn.head().await.is_some() {
                    conn.send(OK).await;
                }
            }
        })
        .await;
        let client = Client::new(&server.url()).unwrap();
        let (sender, receiver) = mpsc::channel::<Result<Frame<Bytes>, BoxError>>(1);
        let body = stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|frame| (frame, receiver))
        });
        let request = post(Body::new(StreamBody::new(body)));
        let response = client.clone().oneshot(request).await.unwrap();
        if upload_first {
            sender.send(Ok(Frame::data("abc".into()))).await.unwrap();
            drop(sender);
            assert_eq!(uploads.recv().await.unwrap(), b"3\r\nabc\r\n0\r\n\r\n");
            go_on.send_replace(true);
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), "ok");
        } else {
            go_on.send_replace(true);
            let body = response.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), "ok");
            sender.send(Ok(Frame::data("abc".into()))).await.unwrap();
            drop(sender);
            assert_eq!(uploads.recv().await.unwrap(), b"3\r\nabc\r\n0\r\n\r\n");
        }
        assert_eq!(send(&client, get()).await, 200);
        count.made()
    })
    .await
}

/// Both bodies in progress at once do not cost the connection.
#[tokio::test]
async fn a_connection_with_an_early_answer_is_used_again() {
    assert_eq!(early_answer(true).await, 1);
}

/// A server that has answered may take the rest of the request for the next one.
#[tokio::test]
async fn a_connection_whose_answer_ends_first_is_not_used_again() {
    assert_eq!(early_answer(false).await, 2);
}

/// What an endpoint says before it is asked is no answer, on a new connection either.
#[tokio::test]
async fn a_server_that_speaks_first_is_not_sent_a_request() {
    let (others, mut other) = mpsc::unbounded_channel();
    let connector = service_fn(move |_: Uri| {
        let others = others.clone();
        async move {
            let (own, mut other) = duplex(1024);
            other.write_all(OK.as_bytes()).await?;
            let _ = others.send(other);
            Ok::<_, io::Error>(TokioIo::new(own))
        }
    });
    let client = Client::builder().connector(connector).build("http://a");
    let mut error = client.unwrap().oneshot(get()).await.unwrap_err();
    assert!(error.take_request().is_some());
    let mut received = Vec::new();
    let mut other = other.recv().await.unwrap();
    other.read_to_end(&mut received).await.unwrap();
    assert!(received.is_empty());
}

/// A body whose length is not what it says.
struct Liar {
    says: u64,
    has: Option<&'static str>,
}

impl http_body::Body for Liar {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.has.take().map(|data| Ok(Frame::data(data.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.says)
    }
}

/// Whoever reads the connection would take the rest for another request, or wait for it.
#[tokio::test]
async fn a_length_that_lies_ends_the_connection() {
    within(async {
        for (says, has) in [(3, "abcd"), (3, "ab")] {
            let (rest, mut rests) = mpsc::unbounded_channel();
            let server = server::raw(move |mut conn| {
                let rest = rest.clone();
                async move {
                    conn.head().await;
                    let _ = rest.send(conn.rest().await);
                }
            })
            .await;
            let client = Client::new(&server.url()).unwrap();
            let body = Body::new(Liar {
                says,
                has: Some(has),
            });
            let error = client.oneshot(post(body)).await.unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains("request body failed"), "{cause}");
            let received = rests.recv().await.unwrap();
            assert!(received.len() < 3, "{received:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn trailers_need_not_be_announced_to_an_endpoint() {
    within(async {
        let (bodies, mut received) = mpsc::unbounded_channel();
        let server = server::raw(move |mut conn| {
            let bodies = bodies.clone();
            async move {
                conn.head().await;
                let _ = bodies.send(conn.take(21).await);
                conn.send(OK).await;
            }
        })
        .await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("1"));
        let frames = [Frame::data(Bytes::from("a")), Frame::trailers(trailers)];
        let frames = stream::iter(frames.map(Ok::<_, BoxError>));
        let client = Client::new(&server.url()).unwrap();
        let request = post(Body::new(StreamBody::new(frames)));
        assert_eq!(send(&client, request).await, 200);
        let body = received.recv().await.unwrap();
        assert_eq!(body, b"1\r\na\r\n0\r\nx-sum: 1\r\n\r\n");
    })
    .await;
}

/// A head that is larger than all buffers on the way.
#[tokio::test]
async fn a_large_head_arrives_whole() {
    within(async {
        let server = server::raw(|mut conn| async move {
            let head = conn.head().await.unwrap();
            assert!(head.len() > 8 << 20);
            assert!(head.ends_with("x\r\n\r\n"), "it is complete");
            conn.send(OK).await;
        })
        .await;
        let mut request = get();
        for _ in 0..8 {
            let value = HeaderValue::from_maybe_shared(Bytes::from(vec![b'x'; 1 << 20]));
            request.headers_mut().append("x", value.unwrap());
        }
        let client = Client::new(&server.url()).unwrap();
        assert_eq!(send(&client, request).await, 200);
    })
    .await;
}

/// A future that has not been polled has sent nothing, and its connection is as good as before.
#[tokio::test]
async fn a_request_that_is_given_up_at_once_costs_no_connection() {
    within(async {
        let (server, count) = counted::http1(usize::MAX).await;
        let mut client = Client::new(&server.url()).unwrap();
        assert_eq!(send(&client, get()).await, StatusCode::OK);
        for _ in 0..3 {
            drop(client.ready().await.unwrap().call(get()));
        }
        assert_eq!(send(&client, get()).await, StatusCode::OK);
        assert_eq!(count.made(), 1);
    })
    .await;
}
