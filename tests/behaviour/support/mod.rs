//! What the tests are written in: raw servers and clients where bytes matter, real ones where they do not.

pub mod client;
pub mod counted;
pub mod direct;
pub mod h2;
pub mod proxy;
pub mod server;
pub mod spans;
pub mod tls;
pub mod websocket;
pub mod wire;

use std::{future::Future, time::Duration};

pub use self::{
    client::{Client, Http},
    wire::{Conn, Message},
};

/// A test that waits for something that never comes fails instead of hanging. No test waits this long when it passes.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future)
        .await
        .expect("nothing happened for 20 s")
}

/// Waits until `condition` holds, which other tasks are about to bring about.
pub async fn eventually(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Runs `work` on a new runtime in a new thread.
pub fn on_a_runtime_of_its_own<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> std::thread::JoinHandle<T> {
    std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(work)
    })
}

/// Runs one body with the client and the endpoint speaking HTTP/1 and HTTP/2 in turn.
macro_rules! versions {
    ($(#[$meta:meta])* async fn $name:ident($down:ident, $up:ident) $body:block) => {
        mod $name {
            #[allow(unused_imports)]
            use super::*;

            async fn run($down: $crate::support::Http, $up: $crate::support::Http) $body

            $(#[$meta])*
            #[tokio::test]
            async fn http1_to_http1() {
                $crate::support::within(run($crate::support::Http::One, $crate::support::Http::One)).await;
            }

            $(#[$meta])*
            #[tokio::test]
            async fn http1_to_http2() {
                $crate::support::within(run($crate::support::Http::One, $crate::support::Http::Two)).await;
            }

            $(#[$meta])*
            #[tokio::test]
            async fn http2_to_http1() {
                $crate::support::within(run($crate::support::Http::Two, $crate::support::Http::One)).await;
            }

            $(#[$meta])*
            #[tokio::test]
            async fn http2_to_http2() {
                $crate::support::within(run($crate::support::Http::Two, $crate::support::Http::Two)).await;
            }
        }
    };
}
pub(crate) use versions;
