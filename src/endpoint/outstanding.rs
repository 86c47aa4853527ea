//! The requests that wait for an endpoint's answer, and for how long.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

use super::siblings::Micros;

/// Bits of the count. The rest is a time: 2^44 microseconds are half a year, and wrap.
const COUNT: u32 = 20;
const MAX_COUNT: u64 = (1 << COUNT) - 1;

/// A stalled endpoint shows here before any deadline passes.
///
/// nginx takes the age of the oldest unanswered request for it. One long poll then makes an endpoint that answers
/// thousands look stalled; so what counts is how long ago it gave any answer, or was first asked since.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    /// When it was last heard of, and how many wait.
    heard: AtomicU64,
    /// The sum of the times at which those were sent that wait; it wraps.
    sent: AtomicU64,
}

/// How those do that wait, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wait {
    pub(super) count: u64,
    /// Since the last answer, or since the first of them was sent.
    pub(super) silence: f32,
    /// The mean of how long they have waited.
    pub(super) age: f32,
}

impl Outstanding {
    pub(super) fn sent(&self, now: Micros) {
        self.sent.fetch_add(now, Relaxed);
        self.change(|heard, count| match count {
            0 => (now, 1),
            _ => (heard, (count + 1).min(MAX_COUNT)),
        });
    }

    /// One less waits of those sent at `sent`; `heard` if that is because the endpoint answered.
    pub(super) fn ended(&self, sent: Micros, now: Micros, heard: bool) {
        self.change(|before, count| (if heard { now } else { before }, count.saturating_sub(1)));
        self.sent.fetch_sub(sent, Relaxed);
    }

    /// None if nobody waits.
    pub(super) fn wait(&self, now: Micros) -> Option<Wait> {
        let (heard, count) = split(self.heard.load(Relaxed));
        if count == 0 {
            return None;
        }
        let all = now
            .wrapping_mul(count)
            .wrapping_sub(self.sent.load(Relaxed)) as i64;
        let heard_ago = (now & (u64::MAX >> COUNT)).saturating_sub(heard);
        // Count and sum are not read at the same time, and a clock may be read late: never less than nothing.
        let age = all.max(0) as f32 * 1e-6 / count as f32;
        Some(Wait {
            count,
            silence: heard_ago as f32 * 1e-6,
            age,
        })
    }

    fn change(&self, change: impl Fn(Micros, u64) -> (Micros, u64)) {
        let changed = |state| {
            let (heard, count) = split(state);
            let (heard, count) = change(heard, count);
            Some(heard << COUNT | count)
        };
        // It always gives a value, so this cannot fail.
        let _ = self.heard.fetch_update(AcqRel, Relaxed, changed);
    }
}

fn split(state: u64) -> (Micros, u64) {
    (state >> COUNT, state & MAX_COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Micros = 1_000_000;

    #[test]
    fn silence_begins_with_the_first_who_waits_and_ends_with_each_answer() {
        let waiting = Outstanding::default();
        assert_eq!(waiting.wait(5 * S), None);
        waiting.sent(10 * S);
        waiting.sent(12 * S);
        assert_eq!(
            waiting.wait(13 * S),
            Some(Wait {
                count: 2,
                silence: 3.0,
                age: 2.0
            })
        );
        waiting.ended(12 * S, 14 * S, true);
        assert_eq!(
            waiting.wait(15 * S),
            Some(Wait {
                count: 1,
                silence: 1.0,
                age: 5.0
            })
        );
        waiting.ended(10 * S, 16 * S, true);
        assert_eq!(waiting.wait(17 * S), None);
    }

    #[test]
    fn who_gives_up_is_no_answer() {
        let waiting = Outstanding::default();
        waiting.sent(S);
        waiting.sent(2 * S);
        waiting.ended(S, 4 * S, false);
        assert_eq!(
            waiting.wait(5 * S),
            Some(Wait {
                count: 1,
                silence: 4.0,
                age: 3.0
            })
        );
    }
}
