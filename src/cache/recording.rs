//! A response while it arrives: written by one task, read by any number of clients, each at its own pace.
//!
//! As long as it may be stored, all of it is kept, and the writer does not wait: a slow client slows no other, and not
//! the origin. Once it has turned out to be too large, it is no longer kept. Then the writer waits until one reader has
//! read everything, and what is kept is a window behind that reader. A reader that falls behind the window gets an
//! error: it never sees a response that looks complete and is not.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use slab::Slab;

use super::{
    budget::Reserved,
    recordable::Recordable,
    recording_error::RecordingError,
    rules::{ReusePolicy, SelectingFields},
    stored::CHUNK_OVERHEAD,
};

/// A response that arrives, and its head.
pub(super) struct Recording {
    pub(super) status: StatusCode,
    /// The fields that are stored.
    pub(super) headers: HeaderMap,
    pub(super) selecting: SelectingFields,
    /// Whether it may be used for other requests.
    pub(super) policy: ReusePolicy,
    /// The length of the content, if the head has said it.
    pub(super) length: Option<u64>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// The chunks that are kept.
    chunks: VecDeque<Bytes>,
    /// How many chunks before them are no longer kept.
    dropped: usize,
    /// The bytes that `chunks` occupy.
    kept: usize,
    /// The most bytes that are kept. `None` while all of them are.
    window: Option<usize>,
    reserved: Reserved,
    end: RecordingEnd,
    readers: Slab<RecordingReader>,
    writer: Option<Waker>,
}

#[derive(Clone)]
enum RecordingEnd {
    NotYet,
    Complete(Option<HeaderMap>),
    Broken,
}

/// What is known of one reader.
struct RecordingReader {
    /// The number of its next chunk.
    next: usize,
    waker: Option<Waker>,
}

/// The only one to write. Its drop breaks a recording that is not complete.
pub(super) struct RecordingWriter(Arc<Recording>);

/// One reader's place in a recording.
pub(super) struct RecordingCursor {
    recording: Arc<Recording>,
    reader: usize,
}

/// What a reader gets.
pub(super) enum Recorded {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

impl Recording {
    /// Returns a recording without content, and its writer.
    pub(super) fn new(head: Recordable, reserved: Reserved) -> (Arc<Self>, RecordingWriter) {
        let recording = Arc::new(Self {
            status: head.status,
            headers: head.headers,
            selecting: head.selecting,
            policy: head.policy,
            length: head.length,
            progress: Mutex::new(Progress {
                chunks: VecDeque::new(),
                dropped: 0,
                kept: 0,
                window: None,
                reserved,
                end: RecordingEnd::NotYet,
                readers: Slab::new(),
                writer: None,
            }),
        });
        (recording.clone(), RecordingWriter(recording))
    }

    /// Adds a reader at the beginning. `None` if the beginning is no longer kept.
    pub(super) fn read(self: &Arc<Self>) -> Option<RecordingCursor> {
        let mut progress = self.lock();
        if progress.window.is_some() && progress.dropped > 0 {
            return None;
        }
        let reader = progress.readers.insert(RecordingReader {
            next: 0,
            waker: None,
        });
        drop(progress);
        Some(RecordingCursor {
            recording: self.clone(),
            reader,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        // Nothing under the lock panics.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordingWriter {
    /// Adds a chunk that is kept. Returns `false` if there is no room for it: then nothing has been added.
    pub(super) fn keep(&self, data: &[u8]) -> bool {
        let mut progress = self.0.lock();
        if !progress.reserved.grow(data.len() + CHUNK_OVERHEAD) {
            return false;
        }
        // Copied, because it may be a slice of a buffer that is much larger.
        progress.append(Bytes::copy_from_slice(data));
        true
    }

    /// Adds the last chunk that is kept, which completes the recording.
    pub(super) fn keep_last(&self, data: &[u8]) -> bool {
        let mut progress = self.0.lock();
        if !progress.reserved.grow(data.len() + CHUNK_OVERHEAD) {
            return false;
        }
        progress.end = RecordingEnd::Complete(None);
        progress.append(Bytes::copy_from_slice(data));
        true
    }

    /// Ends the keeping of all chunks: only a window of them is kept from here on, which is as large as what is kept
    /// now. Returns whether that is new.
    pub(super) fn pass_through(&self) -> bool {
        let mut progress = self.0.lock();
        let window = progress.reserved.bytes();
        progress.window.replace(window).is_none()
    }

    /// Waits until there is a reader that has read everything.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub(super) async fn wanted(&self) {
        poll_fn(|cx| {
            let mut progress = self.0.lock();
            let end = progress.dropped + progress.chunks.len();
            if progress
                .readers
                .iter()
                .any(|(_, reader)| reader.next >= end)
            {
                return Poll::Ready(());
            }
            progress.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Adds a chunk, and drops those that no longer fit into the window.
    pub(super) fn pass(&self, data: Bytes) {
        let mut progress = self.0.lock();
        progress.append(data);
        while progress.window.is_some_and(|window| progress.kept > window)
            && progress.chunks.len() > 1
        {
            progress.drop_first();
        }
    }

    /// Completes the recording.
    pub(super) fn complete(&self, trailers: Option<HeaderMap>) {
        let mut progress = self.0.lock();
        progress.end = RecordingEnd::Complete(trailers);
        progress.wake_readers();
    }

    /// Returns all chunks, once they are complete. `None` if they were not all kept.
    pub(super) fn content(&self) -> Option<Vec<Bytes>> {
        let progress = self.0.lock();
        let is_complete = matches!(progress.end, RecordingEnd::Complete(_));
        let is_whole = is_complete && progress.window.is_none();
        is_whole.then(|| progress.chunks.iter().cloned().collect())
    }
}

impl Drop for RecordingWriter {
    fn drop(&mut self) {
        let mut progress = self.0.lock();
        if matches!(progress.end, RecordingEnd::NotYet) {
            progress.end = RecordingEnd::Broken;
            progress.wake_readers();
        }
    }
}

impl Progress {
    fn append(&mut self, chunk: Bytes) {
        self.kept += chunk.len() + CHUNK_OVERHEAD;
        self.chunks.push_back(chunk);
        self.wake_readers();
    }

    fn drop_first(&mut self) {
        if let Some(chunk) = self.chunks.pop_front() {
            self.kept -= chunk.len() + CHUNK_OVERHEAD;
            self.dropped += 1;
        }
    }

    fn wake_readers(&mut self) {
        for (_, reader) in &mut self.readers {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }
}

impl RecordingCursor {
    /// Returns what comes next.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Recorded, RecordingError>> {
        let mut progress = self.recording.lock();
        let Progress {
            chunks,
            dropped,
            end,
            readers,
            writer,
            ..
        } = &mut *progress;
        let Some(reader) = readers.get_mut(self.reader) else {
            return Poll::Ready(Ok(Recorded::End));
        };
        let Some(place) = reader.next.checked_sub(*dropped) else {
            return Poll::Ready(Err(RecordingError::Behind));
        };
        if let Some(chunk) = chunks.get(place) {
            reader.next += 1;
            if let Some(writer) = writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(Recorded::Data(chunk.clone())));
        }
        match end {
            RecordingEnd::NotYet => {
                reader.waker = Some(cx.waker().clone());
                // With no more to read, it is this reader that the writer may wait for.
                if let Some(writer) = writer.take() {
                    writer.wake();
                }
                Poll::Pending
            }
            RecordingEnd::Broken => Poll::Ready(Err(RecordingError::Broken)),
            RecordingEnd::Complete(trailers) => {
                // The trailers are one more chunk.
                reader.next += 1;
                let trailers = trailers.clone().filter(|_| place == chunks.len());
                Poll::Ready(Ok(trailers.map_or(Recorded::End, Recorded::Trailers)))
            }
        }
    }

    /// Returns whether there is nothing more to come.
    pub(super) fn is_at_end(&self) -> bool {
        let progress = self.recording.lock();
        let next = progress
            .readers
            .get(self.reader)
            .map_or(0, |reader| reader.next);
        let at_end = next >= progress.dropped + progress.chunks.len();
        at_end && matches!(progress.end, RecordingEnd::Complete(None))
    }
}

impl Drop for RecordingCursor {
    fn drop(&mut self) {
        let mut progress = self.recording.lock();
        progress.readers.try_remove(self.reader);
        // It may have been the one that had read everything: another one decides now.
        if let Some(writer) = progress.writer.take() {
            writer.wake();
        }
    }
}
