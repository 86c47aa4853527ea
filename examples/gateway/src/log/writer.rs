//! Writes the log from a thread of its own.
//!
//! A request must not wait for the log: a pipe whose reader is stopped would stop every thread of the runtime. So lines
//! go through a bounded queue, and are lost, and counted, when it is full.

use std::{
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// The number of lines that may wait for the thread.
const QUEUE: usize = 8192;

/// How long lines are gathered before they are written. Under load, the thread wakes once for many of them.
const GATHER: Duration = Duration::from_millis(10);

/// How long the last lines may take at the end of the program.
const LAST_LINES: Duration = Duration::from_secs(1);
/// How often a full queue is tried within that time.
const TRIES: u32 = 100;

/// What is sent to the thread.
enum Message {
    /// A whole line.
    Line(Box<[u8]>),
    /// Answered when everything before it has been written.
    Flush(SyncSender<()>),
}

/// Hands lines to a thread that writes them. When the thread does not keep up, because a pipe is full and its reader
/// sleeps, lines are lost and counted. Requests go on.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// The way to the thread, which ends with the last sender.
    queue: SyncSender<Message>,
    /// The number of lines that were lost and not reported yet.
    lost: Arc<AtomicUsize>,
}

impl Lines {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no thread left.
    pub(super) fn to(output: impl Write + Send + 'static) -> io::Result<Self> {
        Self::with_queue(output, QUEUE)
    }

    /// Starts the thread with a queue of this many lines.
    fn with_queue(output: impl Write + Send + 'static, lines: usize) -> io::Result<Self> {
        let (queue, messages) = sync_channel(lines);
        let lost = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lost);
        let thread = thread::Builder::new().name("log".to_owned());
        thread.spawn(move || write_all(&messages, &count, BufWriter::new(output)))?;
        Ok(Self { queue, lost })
    }

    /// Waits until what has been logged is written, but not for a reader that sleeps. Blocks for two seconds at most.
    pub(crate) fn flush(&self) {
        let (done, written) = sync_channel(1);
        for _ in 0..TRIES {
            if self.queue.try_send(Message::Flush(done.clone())).is_ok() {
                let _ = written.recv_timeout(LAST_LINES);
                return;
            }
            thread::sleep(LAST_LINES / TRIES);
        }
    }
}

/// Writes what arrives, until the last sender is gone.
///
/// Errors of the output are dropped: there is no other place to report them to.
fn write_all(messages: &Receiver<Message>, lost: &AtomicUsize, mut output: impl Write) {
    while let Ok(first) = messages.recv() {
        thread::sleep(GATHER);
        let waiting = std::iter::once(first).chain(messages.try_iter());
        for message in waiting {
            if lost.load(Relaxed) > 0 {
                let lost = lost.swap(0, Relaxed);
                let _ = writeln!(output, "gateway: {lost} lines of the log were lost");
            }
            match message {
                Message::Line(line) => {
                    let _ = output.write_all(&line);
                }
                Message::Flush(done) => {
                    let _ = output.flush();
                    let _ = done.try_send(());
                }
            }
        }
        let _ = output.flush();
    }
}

impl Write for &Lines {
    /// Hands over a line. The subscriber writes each line whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.queue.try_send(Message::Line(line.into())).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use super::*;

    /// Keeps what is written. The first write waits until the other end of `word` sends or is dropped.
    struct Pipe {
        word: mpsc::Receiver<()>,
        kept: Arc<Mutex<String>>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.word.recv();
            let mut kept = self.kept.lock().unwrap();
            kept.push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_pipe_loses_lines_and_blocks_no_writer() {
        let (word, wait) = mpsc::channel();
        let kept = Arc::new(Mutex::new(String::new()));
        let pipe = Pipe {
            word: wait,
            kept: Arc::clone(&kept),
        };
        let lines = Lines::with_queue(pipe, 4).unwrap();
        for n in 0..100 {
            (&lines)
                .write_all(format!("line {n}\n").as_bytes())
                .unwrap();
        }
        drop(word);
        lines.flush();
        let kept = kept.lock().unwrap();
        let (lost, written): (Vec<_>, Vec<_>) =
            kept.lines().partition(|line| line.contains("lost"));
        let lost: usize = lost
            .iter()
            .map(|line| line.split(' ').nth(1).unwrap().parse::<usize>().unwrap())
            .sum();
        assert!(written[0] == "line 0" && lost > 0, "{kept}");
        assert_eq!(written.len() + lost, 100, "{kept}");
    }

    #[test]
    fn the_last_line_is_written() {
        let (word, wait) = mpsc::channel();
        drop(word);
        let kept = Arc::new(Mutex::new(String::new()));
        let pipe = Pipe {
            word: wait,
            kept: Arc::clone(&kept),
        };
        let lines = Lines::to(pipe).unwrap();
        (&lines).write_all(b"the last one\n").unwrap();
        lines.flush();
        assert_eq!(*kept.lock().unwrap(), "the last one\n");
    }
}
