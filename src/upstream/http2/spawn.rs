//! The tasks of a connection.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use hyper::rt::Executor;
use tokio::{runtime::Handle, sync::Notify, task::AbortHandle, time::sleep};

use super::upload::Uploads;

/// How long a connection that has no use any more may take to say goodbye. A server that reads nothing would otherwise
/// keep its socket open, and with it a place among the open connections.
const FAREWELL: Duration = Duration::from_secs(1);

/// Spawns the tasks of a connection, tells when one of them has done something, since hyper has no other way to learn
/// that SETTINGS have come, and tells uploads which task is theirs.
#[derive(Clone)]
pub(super) struct Spawn {
    settled: Arc<AtomicBool>,
    stirred: Arc<Notify>,
    uploads: Arc<Uploads>,
    /// The first task, which has the socket.
    first: Arc<OnceLock<AbortHandle>>,
}

impl Spawn {
    pub(super) fn new(uploads: Arc<Uploads>) -> Self {
        Self {
            settled: Arc::default(),
            stirred: Arc::default(),
            uploads,
            first: Arc::default(),
        }
    }

    /// Told when a task has done something, until the connection has settled.
    pub(super) fn stirred(&self) -> &Notify {
        &self.stirred
    }

    /// The server's SETTINGS have come.
    pub(super) fn settle(&self) {
        self.settled.store(true, Relaxed);
    }

    /// The task that has the socket. Has to be called on the runtime of the connection.
    pub(super) fn socket_task(&self) -> SocketTask {
        SocketTask {
            runtime: Handle::current(),
            task: self.first.clone(),
        }
    }
}

impl<F> Executor<F> for Spawn
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        let (settled, stirred) = (self.settled.clone(), self.stirred.clone());
        let task = tokio::spawn(async move {
            let mut task = pin!(task);
            poll_fn(|cx| {
                let polled = task.as_mut().poll(cx);
                if !settled.load(Relaxed) {
                    stirred.notify_waiters();
                }
                polled
            })
            .await
        });
        let task = task.abort_handle();
        self.uploads.started(&task);
        // Only the first one finds it empty.
        let _ = self.first.set(task);
    }
}

/// The task that has a connection's socket; ends a while after this is dropped.
#[derive(Debug)]
pub(super) struct SocketTask {
    runtime: Handle,
    task: Arc<OnceLock<AbortHandle>>,
}

impl Drop for SocketTask {
    fn drop(&mut self) {
        if let Some(task) = self.task.get().filter(|task| !task.is_finished()).cloned() {
            self.runtime.spawn(async move {
                sleep(FAREWELL).await;
                task.abort();
            });
        }
    }
}
