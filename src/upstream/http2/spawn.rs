//! Spawns and ends the tasks of an HTTP/2 connection.
//!
//! hyper spawns through an executor, and reports neither that a task has made progress nor what it was spawned for.
//! [`Spawn`] is the executor, and learns both from the order of events:
//!
//! - The first task of a connection drives the socket. [`SocketTask`] ends it if it does not end by itself.
//! - A later task sends the upload whose body was polled last ([`Uploads`] knows which).
//! - Until the server's SETTINGS have arrived, each poll of a task may have received them, so each wakes the handshake.

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

/// How long a connection without a use may take to say goodbye: to flush what is written and to send a GOAWAY.
///
/// A server that reads nothing would otherwise keep its socket open, and with it a place among the open connections.
const FAREWELL: Duration = Duration::from_secs(1);

/// The executor that hyper spawns the tasks of one connection through. Clones are the same executor.
#[derive(Clone)]
pub(super) struct Spawn {
    /// Whether the SETTINGS have arrived, after which nothing needs to be notified.
    settled: Arc<AtomicBool>,
    /// Notified after each poll of a task, until then.
    stirred: Arc<Notify>,
    /// Is told which task sends the upload that is being started.
    uploads: Arc<Uploads>,
    /// The first task, which owns the socket.
    first: Arc<OnceLock<AbortHandle>>,
}

impl Spawn {
    /// Returns the executor of a new connection.
    pub(super) fn new(uploads: Arc<Uploads>) -> Self {
        Self {
            settled: Arc::default(),
            stirred: Arc::default(),
            uploads,
            first: Arc::default(),
        }
    }

    /// Returns what is notified after each poll of a task, until the connection has settled.
    pub(super) fn stirred(&self) -> &Notify {
        &self.stirred
    }

    /// Records that the server's SETTINGS have arrived, which ends the notifications.
    pub(super) fn settle(&self) {
        self.settled.store(true, Relaxed);
    }

    /// Returns a guard of the task that owns the socket. It may be called before that task is spawned.
    ///
    /// # Panics
    ///
    /// Outside a runtime. It has to be that of the connection.
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
    /// Spawns a task on the current runtime, and makes it known.
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
        // Fails for all tasks but the first.
        let _ = self.first.set(task);
    }
}

/// Guards the task that owns a connection's socket: aborts it [`FAREWELL`] after the drop of this value.
///
/// Aborting the task drops the socket, which closes it, and returns its place among the open connections.
#[derive(Debug)]
pub(super) struct SocketTask {
    /// The runtime of the connection; the guard may be dropped on a thread without one.
    runtime: Handle,
    /// The task, once it has been spawned.
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
