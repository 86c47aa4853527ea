//! hyper's client.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper::{client::conn::http1::Builder, ext::on_informational};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{
    answer::{Answer, End, Head},
    script::{Script, Stop},
    wire::Wire,
};

/// Sends a request, and returns what came of it.
pub(super) async fn exchange(script: &Script) -> Answer {
    let (wire, seen) = Wire::new(script);
    let (size, fields) = script.bounds;
    let (mut sender, connection) = Builder::new()
        .allow_spaces_after_header_name_in_responses(true)
        .max_headers(fields)
        .max_header_size(size)
        .max_buf_size(256 * 1024)
        .handshake(TokioIo::new(wire))
        .await
        .unwrap();
    let mut connection = pin!(connection);
    let mut answer = Answer::default();
    let interim = Arc::new(Mutex::new(Vec::new()));
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = script.method.clone();
    request
        .headers_mut()
        .insert("host", "endpoint".parse().unwrap());
    let heard = interim.clone();
    on_informational(&mut request, move |response| {
        let head = Head::interim(response.status(), response.version(), response.headers());
        heard.lock().unwrap().push(head);
    });
    let mut is_over = false;
    {
        let mut exchange = pin!(async {
            match sender.send_request(request).await {
                Ok(response) => answer.read(response).await,
                Err(error) => answer.failed(error),
            }
        });
        let both = poll_fn(|cx| {
            if !is_over {
                is_over = connection.as_mut().poll(cx).is_ready();
            }
            exchange.as_mut().poll(cx)
        });
        // Passes when nothing is left to do.
        let _ = timeout(Duration::from_millis(1), both).await;
    }
    answer.interim = std::mem::take(&mut interim.lock().unwrap());
    if answer.end == End::Complete && script.stop == Stop::Never && seen.is_through.load(Relaxed) {
        let rest = poll_fn(|cx| match is_over {
            false => connection.as_mut().poll(cx).map(drop),
            true => Poll::Ready(()),
        });
        is_over = timeout(Duration::from_millis(1), rest).await.is_ok();
        answer.is_reusable = !is_over && sender.is_ready();
    }
    answer
}
