//! The queue of lines, and the thread that formats and writes them.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{entry::LogEntry, format::AccessLogFormat};

/// How long lines are gathered before they are written. Under load the thread wakes once for many of them, and so does
/// hardly any request have to wake it.
const GATHER: Duration = Duration::from_millis(10);

/// How long the drop of the queue waits for the lines in it.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The number of formatted bytes that are written at once.
const CHUNK: usize = 64 * 1024;

/// Hands lines to a thread of its own, which ends when this is dropped.
pub(super) struct LogQueue {
    /// `None` only within the drop.
    lines: Option<SyncSender<Message>>,
    shared: Arc<QueueState>,
    /// Disconnected when the thread has ended.
    ended: Mutex<Receiver<()>>,
}

/// What is sent to the thread.
enum Message {
    Line(Box<LogEntry>),
    /// There are flushes to be answered.
    Wake,
}

/// What the queue and its thread share.
#[derive(Default)]
struct QueueState {
    /// The number of lines that were dropped.
    dropped: AtomicU64,
    /// Answered when everything before them has been written.
    flushes: Mutex<Vec<oneshot::Sender<()>>>,
}

impl LogQueue {
    /// Starts the thread, with room for this many lines.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no thread left.
    pub(super) fn start(
        format: AccessLogFormat,
        output: Box<dyn Write + Send>,
        room: usize,
    ) -> io::Result<Self> {
        let (lines, messages) = sync_channel(room);
        let shared = Arc::<QueueState>::default();
        let (running, ended) = sync_channel(0);
        let mut writer = LineWriter {
            format,
            output,
            shared: shared.clone(),
            formatted: Vec::new(),
            lines: 0,
            reported: 0,
            reported_before: 0,
            cut_off: false,
        };
        let thread = thread::Builder::new().name("access-log".to_owned());
        thread.spawn(move || {
            let _running = running;
            writer.write_all(&messages, room);
        })?;
        Ok(Self {
            lines: Some(lines),
            shared,
            ended: Mutex::new(ended),
        })
    }

    /// Has a line written, or drops it if there is no room. Never blocks.
    pub(super) fn push(&self, entry: Box<LogEntry>) {
        if !self.send(Message::Line(entry)) {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }

    fn send(&self, message: Message) -> bool {
        let sent = self.lines.as_ref().map(|lines| lines.try_send(message));
        matches!(sent, Some(Ok(())))
    }

    /// Completes when everything that was pushed before has been written.
    pub(super) async fn flush(&self) {
        let (flush, flushed) = oneshot::channel();
        self.shared.flushes().push(flush);
        // If there is no room, the thread is awake.
        self.send(Message::Wake);
        let _ = flushed.await;
    }

    /// Returns the number of lines that were dropped.
    pub(super) fn dropped_lines(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

impl QueueState {
    fn take_flushes(&self) -> Vec<oneshot::Sender<()>> {
        std::mem::take(&mut *self.flushes())
    }

    fn flushes(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.flushes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogQueue {
    /// Ends the thread, and waits a while for it to write what is in the queue.
    fn drop(&mut self) {
        self.lines = None;
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        let waited = ended.recv_timeout(LAST_LINES);
        if waited == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("the last lines of the access log are not written yet");
        }
    }
}

impl fmt::Debug for LogQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogQueue").finish_non_exhaustive()
    }
}

/// What the thread works with.
struct LineWriter {
    format: AccessLogFormat,
    output: Box<dyn Write + Send>,
    shared: Arc<QueueState>,
    /// Lines that are not written yet, and their number.
    formatted: Vec<u8>,
    lines: u64,
    /// The number of dropped lines that have been reported, those in `formatted` included.
    reported: u64,
    /// The same, without those.
    reported_before: u64,
    /// Whether the last write may have ended within a line.
    cut_off: bool,
}

impl LineWriter {
    /// Writes what arrives, until the queue is dropped and empty.
    fn write_all(&mut self, messages: &Receiver<Message>, room: usize) {
        loop {
            // One that came during the last round may have woken that, and wakes none any more.
            let mut flushes = self.shared.take_flushes();
            let first = match flushes.is_empty() {
                true => match messages.recv() {
                    Ok(first) => Some(first),
                    Err(_) => break,
                },
                false => None,
            };
            if matches!(first, Some(Message::Line(_))) {
                thread::sleep(GATHER);
            }
            // Taken before the lines are: what they wait for is in the queue by now.
            flushes.append(&mut self.shared.take_flushes());
            let waiting = first.into_iter().chain(messages.try_iter().take(room));
            for message in waiting {
                if let Message::Line(entry) = message {
                    self.format(&entry);
                }
            }
            self.write();
            for flush in flushes {
                let _ = flush.send(());
            }
        }
        // What was dropped after the last line.
        if let Some(dropped) = self.unreported() {
            let _ = self.format.write_dropped(&mut self.formatted, dropped);
            self.write();
        }
    }

    /// Formats a line, and writes what there is if that is enough.
    fn format(&mut self, entry: &LogEntry) {
        let dropped = self.unreported().unwrap_or_default();
        // Writing to memory does not fail.
        let _ = self.format.write(&mut self.formatted, entry, dropped);
        self.lines += 1;
        if self.formatted.len() >= CHUNK {
            self.write();
        }
    }

    /// Returns the number of lines that were dropped since the last call, if any were.
    fn unreported(&mut self) -> Option<u64> {
        let dropped = self.shared.dropped.load(Relaxed);
        let since = dropped - std::mem::replace(&mut self.reported, dropped);
        (since > 0).then_some(since)
    }

    /// Writes what has been formatted. What cannot be written counts as dropped: there is no other place to report it
    /// to.
    fn write(&mut self) {
        if self.formatted.is_empty() {
            return;
        }
        if std::mem::take(&mut self.cut_off) {
            self.formatted.insert(0, b'\n');
        }
        let written = self.output.write_all(&self.formatted);
        match written.and_then(|()| self.output.flush()) {
            Ok(()) => self.reported_before = self.reported,
            Err(_) => {
                self.cut_off = true;
                self.shared.dropped.fetch_add(self.lines, Relaxed);
                self.reported = self.reported_before;
            }
        }
        self.formatted.clear();
        self.lines = 0;
    }
}
