//! The requests that an endpoint has turned away of late, by a 429.
//!
//! A 429 is no failure of the endpoint, which may have turned away one client alone. But it comes at once, so that an
//! endpoint which turns away many requests has few in flight, seems idle, and would get more and more of them. So they
//! count as if they were in flight for three times as long as they would have been: at a rate `r`, where an answer
//! takes a time `t`, that is `3 × r × t` requests (Little's law). With once, the endpoint in scenario S4 still got 12 %
//! where 10 % are its share, since it is idle more often than others. A client that earns a few each second moves
//! nothing by that.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{
    decay::{DECAY, decay},
    siblings::Micros,
};

/// Counts requests that were turned away.
///
/// One word: their weight as an `f32`, and the time of the last one in milliseconds, which wraps after 49 days. 0 is
/// none at all. Of two at the same moment, one may be lost.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(AtomicU64);

impl TurnedAway {
    /// Counts a request that was turned away at `now`.
    pub(super) fn count(&self, now: Micros) {
        let weight = self.weight(now) + 1.0;
        let word = u64::from(weight.to_bits()) << 32 | u64::from(millis(now));
        self.0.store(word, Relaxed);
    }

    /// Returns how many requests count as in flight that were turned away, where each takes `usual` seconds.
    pub(super) fn in_flight(&self, now: Micros, usual: f32) -> f32 {
        3.0 * self.weight(now) / DECAY * usual
    }

    /// Returns the weight as of `now`, which is that of a second's requests times [`DECAY`].
    fn weight(&self, now: Micros) -> f32 {
        match self.0.load(Relaxed) {
            // Nearly all endpoints turn nothing away, and this is asked in each pick.
            0 => 0.0,
            word => {
                let age = millis(now).wrapping_sub(word as u32);
                f32::from_bits((word >> 32) as u32) * decay(u64::from(age) * 1_000)
            }
        }
    }
}

/// Returns a time in milliseconds.
fn millis(now: Micros) -> u32 {
    (now / 1_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_count_as_long_as_they_would_have_been_in_flight() {
        let turned_away = TurnedAway::default();
        assert_eq!(turned_away.in_flight(1_000, 0.1), 0.0);
        // A hundred a second, for ten seconds, where each takes a tenth of one.
        for nth in 0..1_000 {
            turned_away.count(nth * 10_000);
        }
        let at_once = turned_away.in_flight(10_000_000, 0.1);
        assert!((at_once - 30.0).abs() < 0.6, "{at_once}");
        let later = turned_away.in_flight(20_000_000, 0.1);
        assert!(later < 0.3, "{later}");
    }
}
