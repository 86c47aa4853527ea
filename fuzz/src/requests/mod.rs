//! Whatever request is sent over HTTP/1, an endpoint reads that request, to its last byte, and nothing after it.
//!
//! What is written is read twice: by the strict reader of the target `exchange`, as it arrives, and then by hyper's
//! server. A request that could not be sent to its end is not whole for either.

mod reader;
mod script;
mod wire;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum_upstream::{Body, upstream::Client};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tower::{ServiceExt, service_fn};

use self::{script::Script, wire::Wire};
use super::proxy::block_on;

pub(crate) use self::script::PIECES;

/// A line of settings, a head, and a body; see `script.rs`.
pub fn requests(data: &[u8]) {
    let Some(script) = Script::parse(data) else {
        return;
    };
    let panics = super::exchange::panics();
    let written = block_on(send(&script));
    let read = block_on(reader::read(&written));
    assert_eq!(panics, super::exchange::panics(), "something has panicked");
    script.is_what_was(read.as_ref());
}

/// Sends the request, and returns what was written.
///
/// # Panics
///
/// If it is answered although it is not whole, or is whole and fails.
async fn send(script: &Script) -> Vec<u8> {
    let (wire, written) = Wire::new(script.seed);
    let wire = Arc::new(Mutex::new(Some(wire)));
    let connector = service_fn(move |_| {
        let wire = wire.lock().unwrap().take().expect("one connection");
        std::future::ready(Ok::<_, Infallible>(TokioIo::new(wire)))
    });
    let client = Client::builder()
        .connector(connector)
        .build("http://endpoint")
        .unwrap();
    let request = script.request().map(Body::new);
    // Passes when nothing is left to do. A body that waits for a 100 waits for a second.
    let answered = timeout(Duration::from_secs(2), client.oneshot(request)).await;
    let written = std::mem::take(&mut *written.lock().unwrap());
    match (answered, script.expected().is_some()) {
        (Ok(Ok(_)), true) | (Ok(Err(_)), false) => {}
        (answered, _) => panic!("{answered:?} for {script:?}, which was written as {written:?}"),
    }
    written
}
