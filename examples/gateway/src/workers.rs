//! The threads that serve connections: one runtime that shares them out, or one runtime for each thread.
//!
//! With a runtime for each ([`RuntimeKind::PerCore`]), a connection, the exchanges on it and the connections to
//! endpoints that it uses stay on one thread from beginning to end: nothing is stolen, and no other thread is woken.
//! The threads share the cluster, and with it what is known of its endpoints, the limits, and the places for
//! connections. Each listens for itself, and the kernel deals out new connections by a hash of their addresses. So few
//! connections may be dealt out unevenly, and a thread does not help another.

use std::{
    io,
    num::NonZeroUsize,
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::watch,
};

/// How the threads share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RuntimeKind {
    /// One runtime, whose threads take tasks from each other.
    MultiThread,
    /// A runtime of its own for each thread. Only Linux deals out connections to them.
    PerCore,
}

impl Default for RuntimeKind {
    /// With two threads, a request took 7 to 21 % less CPU where each has a runtime.
    fn default() -> Self {
        match cfg!(target_os = "linux") {
            true => Self::PerCore,
            false => Self::MultiThread,
        }
    }
}

impl RuntimeKind {
    /// Builds the runtime that the program runs in. `workers` is the number of all threads that serve; it defaults to
    /// the number of cores.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it refuses a thread or a file.
    pub(crate) fn main_runtime(self, workers: Option<usize>) -> io::Result<Runtime> {
        match (self, workers) {
            // A single thread needs no work stealing, and does without the locks for it.
            (Self::PerCore, _) | (Self::MultiThread, Some(1)) => current_thread(),
            (Self::MultiThread, None) => Builder::new_multi_thread().enable_all().build(),
            (Self::MultiThread, Some(workers)) => Builder::new_multi_thread()
                .worker_threads(workers)
                .enable_all()
                .build(),
        }
    }

    /// Returns how many runtimes listen, given the number of all threads.
    pub(crate) fn listeners(self, workers: Option<usize>) -> usize {
        match self {
            Self::MultiThread => 1,
            Self::PerCore => workers
                .unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZeroUsize::get)),
        }
    }
}

/// Builds a runtime for the thread that will run it.
fn current_thread() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Threads with a runtime each. When this is dropped, they end, with all their tasks.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// Never sent to: its drop is the end.
    end: Option<watch::Sender<()>>,
}

impl Workers {
    /// Returns no threads.
    pub(crate) fn new() -> Self {
        Self {
            threads: Vec::new(),
            end: Some(watch::Sender::new(())),
        }
    }

    /// Starts a thread that runs `task`, and what it spawns, until this is dropped.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it refuses a thread or a file.
    pub(crate) fn start<F>(&mut self, task: F) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(end) = &self.end else {
            return Ok(());
        };
        let (mut end, runtime) = (end.subscribe(), current_thread()?);
        let thread = thread::Builder::new()
            .name(format!("worker-{}", self.threads.len() + 1))
            .spawn(move || {
                runtime.block_on(async {
                    tokio::spawn(task);
                    let _ = end.changed().await;
                });
            })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.end = None;
        for thread in self.threads.drain(..) {
            // It has printed why, if it panicked.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, sync::mpsc};

    use super::*;

    /// Says that it was dropped, and where.
    struct Dropped(mpsc::Sender<Option<String>>);

    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().name().map(str::to_owned));
        }
    }

    #[test]
    fn tasks_end_with_the_threads_and_on_them() {
        let (tell, told) = mpsc::channel();
        let mut workers = Workers::new();
        for _ in 0..2 {
            let dropped = Dropped(tell.clone());
            let task = async move {
                tokio::spawn(async move {
                    let _dropped = dropped;
                    pending::<()>().await;
                });
            };
            workers.start(task).unwrap();
        }
        drop((workers, tell));
        let mut all: Vec<_> = told.try_iter().flatten().collect();
        all.sort();
        assert_eq!(all, ["worker-1", "worker-2"]);
    }
}
