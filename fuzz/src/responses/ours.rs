//! The crate's client.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::Duration,
};

use axum_upstream::{
    Body,
    upstream::{Client, on_interim_response},
};
use http::Request;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tower::{Service, service_fn};

use super::{
    answer::{Answer, End, Head},
    script::{Script, Stop},
    wire::Wire,
};

/// Sends a request, and returns what came of it.
pub(super) async fn exchange(script: &Script) -> Answer {
    let (wire, seen) = Wire::new(script);
    let wire = Arc::new(Mutex::new(Some(wire)));
    let connector = service_fn(move |_| {
        let wire = wire.lock().unwrap().take();
        async move {
            match wire {
                Some(wire) => Ok::<_, Infallible>(TokioIo::new(wire)),
                // For a second connection, no request is sent.
                None => std::future::pending().await,
            }
        }
    });
    let (size, fields) = script.bounds;
    let mut client = Client::builder()
        .connector(connector)
        .max_response_head(size)
        .max_response_fields(fields)
        .build("http://endpoint")
        .unwrap();
    let mut answer = Answer::default();
    let interim = Arc::new(Mutex::new(Vec::new()));
    let mut request = Request::new(Body::empty());
    *request.method_mut() = script.method.clone();
    let heard = interim.clone();
    on_interim_response(&mut request, move |response| {
        let head = Head::interim(response.status(), response.version(), response.headers());
        heard.lock().unwrap().push(head);
    });
    let exchange = async {
        match client.call(request).await {
            Ok(response) => answer.read(response).await,
            Err(error) => answer.failed(error),
        }
    };
    // Passes when nothing is left to do.
    let _ = timeout(Duration::from_millis(1), exchange).await;
    answer.interim = std::mem::take(&mut interim.lock().unwrap());
    // What comes later is a matter of chance.
    if answer.end == End::Complete && script.stop == Stop::Never && seen.is_through.load(Relaxed) {
        let next = client.call(Request::new(Body::empty()));
        let _ = timeout(Duration::from_millis(1), next).await;
        answer.is_reusable = seen.requests.load(Relaxed) == 2;
    }
    answer
}
