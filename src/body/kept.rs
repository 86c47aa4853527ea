//! The frames of a request body that are kept to be sent once more, and how far the latest body has got in them: to
//! another endpoint after a failure (`retry/`), or to a second service (`mirror/`).
//!
//! Data frames share their memory with what was sent, so that to keep a large one costs no copy. Small ones are joined
//! into one buffer: a frame of a few bytes may be a slice of a read buffer of several KiB, all of which it would keep
//! in memory. So what is kept has about the size of its limit, whatever the frames are.

use std::{collections::VecDeque, mem};

use bytes::{Bytes, BytesMut};
use http_body::Frame;

/// The size in bytes from which a data frame is kept as it is. hyper reads into buffers of 8 KiB at first, so such a
/// frame holds no more than about twice its own size.
const LARGE: usize = 4 * 1024;

/// The frames that were taken from a request body, in their order, and a position among them.
///
/// It is in one of two modes, and the change is for good:
///
/// - *Keeping*: the frames before the position stay, and [`rewind`](Self::rewind) goes back to the first.
/// - *Not keeping*, after [`stop`](Self::stop): only those behind the position are left, and each leaves as it is
///   yielded.
pub(crate) struct KeptFrames {
    frames: VecDeque<Frame<Bytes>>,
    /// The frames of `frames` that have been yielded to the latest body. 0 while not keeping.
    next: usize,
    /// Small data frames behind all in `frames`, joined. The latest body has had all of it.
    joined: BytesMut,
    /// The number of bytes of data that may still be kept.
    room: usize,
    keeping: bool,
}

impl KeptFrames {
    /// Keeps up to `limit` bytes of data. Trailers do not count: the server that received them has a limit for them.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            frames: VecDeque::new(),
            next: 0,
            joined: BytesMut::new(),
            room: limit,
            keeping: true,
        }
    }

    /// Returns whether everything that was taken from the body is still here.
    pub(crate) fn is_keeping(&self) -> bool {
        self.keeping
    }

    /// Returns whether the latest body has had every frame that is here.
    pub(crate) fn is_drained(&self) -> bool {
        self.next == self.frames.len()
    }

    /// Goes back to the first frame. Only to be called while keeping.
    pub(crate) fn rewind(&mut self) {
        self.flush();
        self.next = 0;
    }

    /// Returns the frame at the position, and moves on; `None` if all have been yielded.
    pub(crate) fn next(&mut self) -> Option<Frame<Bytes>> {
        if !self.keeping {
            return self.frames.pop_front();
        }
        let frame = copy(self.frames.get(self.next)?)?;
        self.next += 1;
        Some(frame)
    }

    /// Keeps a copy of a frame that the latest body yields now, having had all others. `last` says that none follows.
    ///
    /// Returns what is kept no longer: everything, if the limit is exceeded. It is to be dropped where no lock is held,
    /// since memory that a user has lent to `Bytes` is freed by code of the user.
    #[must_use = "to be dropped where no lock is held"]
    pub(crate) fn keep(&mut self, frame: &Frame<Bytes>, last: bool) -> VecDeque<Frame<Bytes>> {
        if !self.keeping {
            return VecDeque::new();
        }
        if !self.take_room(frame) {
            return self.stop();
        }
        match frame.data_ref() {
            // The last one is the only one in most requests, and cannot be one of many.
            Some(data) if data.len() < LARGE && !last => self.joined.extend_from_slice(data),
            _ => {
                let Some(frame) = copy(frame) else {
                    return self.stop();
                };
                self.flush();
                self.frames.push_back(frame);
                self.next += 1;
            }
        }
        VecDeque::new()
    }

    /// Adds a frame that the latest body has not had, because an earlier one was just reading it. Returns what is kept
    /// no longer, as [`keep`](Self::keep) does.
    #[must_use = "to be dropped where no lock is held"]
    pub(crate) fn add(&mut self, frame: Frame<Bytes>) -> VecDeque<Frame<Bytes>> {
        self.flush();
        let freed = match self.keeping && !self.take_room(&frame) {
            true => self.stop(),
            false => VecDeque::new(),
        };
        self.frames.push_back(frame);
        freed
    }

    /// Keeps nothing from now on, and returns what the latest body has had.
    #[must_use = "to be dropped where no lock is held"]
    pub(crate) fn stop(&mut self) -> VecDeque<Frame<Bytes>> {
        self.keeping = false;
        self.joined = BytesMut::new();
        let rest = self.frames.split_off(mem::take(&mut self.next));
        mem::replace(&mut self.frames, rest)
    }

    /// Counts a frame. Returns whether there is room for it.
    fn take_room(&mut self, frame: &Frame<Bytes>) -> bool {
        let len = frame.data_ref().map_or(0, Bytes::len);
        match self.room.checked_sub(len) {
            Some(room) => {
                self.room = room;
                true
            }
            None => false,
        }
    }

    /// Makes a frame of those that have been joined.
    fn flush(&mut self) {
        if !self.joined.is_empty() {
            let joined = mem::take(&mut self.joined).freeze();
            self.frames.push_back(Frame::data(joined));
            self.next += 1;
        }
    }
}

/// Returns a copy of a frame, whose data is shared. `None` for a kind of frame that is neither data nor trailers, which
/// does not exist yet.
fn copy(frame: &Frame<Bytes>) -> Option<Frame<Bytes>> {
    let data = frame.data_ref().cloned().map(Frame::data);
    data.or_else(|| frame.trailers_ref().cloned().map(Frame::trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(len: usize) -> Frame<Bytes> {
        Frame::data(Bytes::from(vec![7; len]))
    }

    /// Returns the lengths of the frames that are yielded from the position on.
    fn rest(kept: &mut KeptFrames) -> Vec<usize> {
        std::iter::from_fn(|| kept.next())
            .map(|frame| frame.data_ref().unwrap().len())
            .collect()
    }

    #[test]
    fn small_frames_are_joined_and_large_ones_shared() {
        let mut kept = KeptFrames::new(64 * 1024);
        for _ in 0..1000 {
            assert!(kept.keep(&data(1), false).is_empty());
        }
        let large = data(LARGE);
        assert!(kept.keep(&large, false).is_empty());
        assert!(kept.keep(&data(3), false).is_empty());
        assert!(kept.is_drained());
        kept.rewind();
        assert_eq!(rest(&mut kept), [1000, LARGE, 3]);
        kept.rewind();
        kept.next();
        let shared = kept.next().unwrap().into_data().unwrap();
        assert_eq!(shared.as_ptr(), large.data_ref().unwrap().as_ptr());
    }

    #[test]
    fn past_the_limit_nothing_is_kept() {
        let mut kept = KeptFrames::new(10);
        assert!(kept.keep(&data(4), true).is_empty());
        assert!(kept.keep(&data(6), false).is_empty());
        assert!(kept.is_keeping());
        assert_eq!(kept.keep(&data(1), false).len(), 1);
        assert!(!kept.is_keeping() && kept.is_drained());
        assert!(kept.frames.is_empty() && kept.joined.is_empty());
    }

    #[test]
    fn what_was_not_yielded_survives_the_end_of_keeping() {
        let mut kept = KeptFrames::new(10);
        for len in [1, 2, 3] {
            assert!(kept.keep(&data(len), true).is_empty());
        }
        kept.rewind();
        kept.next();
        assert_eq!(kept.add(data(9)).len(), 1, "what was yielded is freed");
        assert_eq!(rest(&mut kept), [2, 3, 9]);
        assert!(kept.is_drained());
    }
}
