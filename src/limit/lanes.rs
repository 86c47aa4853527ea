//! The order of a [`Queue`](super::Queue): in order of arrival within a lane, round robin among lanes.
//!
//! A lane has the requests of one key. The lanes themselves stand in an order of turns: the first one's first request
//! is next, and the lane then goes behind all others. So a key that floods the queue waits for itself, and another one
//! waits for at most one request of each key. This is the fair queueing of Nagle (RFC 970), with a request for a
//! packet.
//!
//! Turns and arrivals are numbers that only grow, and a request keeps its numbers: one that is taken out and put back
//! stands where it stood, and so does its lane.
//!
//! Each step takes logarithmic time, because it runs under the lock of the queue, and because a queue that is full of
//! lanes of one request each is what a flood from many clients looks like.

use std::collections::{BTreeMap, BTreeSet};

/// Where a request stands. Made by [`Lanes::arrive`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    lane: u64,
    /// The turn of the lane when the request was taken out of it, or that of a new lane.
    turn: u64,
    /// How many requests arrived earlier, in all lanes.
    arrival: u64,
}

/// The requests that wait, each a number that the [`Queue`](super::Queue) gives it.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// By key. None of them is empty.
    lanes: BTreeMap<u64, Lane>,
    /// The keys of the lanes, by turn.
    turns: BTreeMap<u64, u64>,
    /// The lengths of the lanes, each with the lane's key.
    lengths: BTreeSet<(usize, u64)>,
    /// The next turn, and the next arrival.
    next: u64,
}

/// The requests of one key.
#[derive(Debug)]
struct Lane {
    turn: u64,
    /// By arrival.
    requests: BTreeMap<u64, usize>,
}

impl Lanes {
    /// Returns the last position in the lane of `key`. The request does not stand there until it is [`put`](Self::put).
    pub(super) fn arrive(&mut self, key: u64) -> Position {
        let next = self.number();
        Position {
            lane: key,
            turn: next,
            arrival: next,
        }
    }

    /// Puts a request into its position: one that has arrived, or one that was taken out by [`next`](Self::next).
    ///
    /// A lane gets back the turn that it had for the request.
    pub(super) fn put(&mut self, at: Position, request: usize) {
        self.change(at.lane, at.turn, |lane| {
            lane.turn = lane.turn.min(at.turn);
            lane.requests.insert(at.arrival, request);
        });
    }

    /// Takes out the request that is next, with its position. Its lane goes behind all others.
    pub(super) fn next(&mut self) -> Option<(Position, usize)> {
        let (&turn, &key) = self.turns.first_key_value()?;
        let last = self.number();
        let (arrival, request) = self.change(key, turn, |lane| {
            lane.turn = last;
            lane.requests.pop_first()
        })?;
        let lane = key;
        Some((
            Position {
                lane,
                turn,
                arrival,
            },
            request,
        ))
    }

    /// Takes out the request at this position, if there is one.
    pub(super) fn remove(&mut self, at: Position) {
        self.change(at.lane, at.turn, |lane| lane.requests.remove(&at.arrival));
    }

    /// Takes out the last request of the longest lane, so that one of the lane of `key` can have its place.
    ///
    /// Returns `None` if that would leave the longest lane shorter than the lane of `key`: then a request of the one has
    /// no better claim than one of the other. Fair queueing drops from the longest queue too (McKenney, "Stochastic
    /// Fairness Queueing", 1990).
    pub(super) fn push_out_for(&mut self, key: u64) -> Option<usize> {
        let own = self.lanes.get(&key).map_or(0, |lane| lane.requests.len());
        let &(longest, of) = self.lengths.last()?;
        if own + 1 >= longest {
            return None;
        }
        let turn = self.lanes.get(&of)?.turn;
        let last = self.change(of, turn, |lane| lane.requests.pop_last());
        last.map(|(_, request)| request)
    }

    /// Changes the lane of `key`, which is a new one with this turn if there is none, and notes what that does to turns
    /// and lengths.
    fn change<T>(&mut self, key: u64, turn: u64, change: impl FnOnce(&mut Lane) -> T) -> T {
        let mut lane = self.lanes.remove(&key).unwrap_or_else(|| Lane {
            turn,
            requests: BTreeMap::new(),
        });
        self.turns.remove(&lane.turn);
        self.lengths.remove(&(lane.requests.len(), key));
        let changed = change(&mut lane);
        if !lane.requests.is_empty() {
            self.turns.insert(lane.turn, key);
            self.lengths.insert((lane.requests.len(), key));
            self.lanes.insert(key, lane);
        }
        changed
    }

    /// Returns a number higher than all before.
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lanes in which these keys have arrived. Each request's number is its index.
    fn lanes(keys: &[u64]) -> Lanes {
        let mut lanes = Lanes::default();
        for (request, &key) in keys.iter().enumerate() {
            let at = lanes.arrive(key);
            lanes.put(at, request);
        }
        lanes
    }

    /// Takes out all requests, in order.
    fn rest(lanes: &mut Lanes) -> Vec<usize> {
        let rest = std::iter::from_fn(|| lanes.next().map(|(_, request)| request)).collect();
        assert!(lanes.lanes.is_empty() && lanes.turns.is_empty() && lanes.lengths.is_empty());
        rest
    }

    #[test]
    fn one_lane_is_in_order_of_arrival() {
        assert_eq!(rest(&mut lanes(&[7; 5])), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn lanes_take_turns() {
        assert_eq!(
            rest(&mut lanes(&[7, 7, 7, 7, 3, 3, 9])),
            [0, 4, 6, 1, 5, 2, 3]
        );
    }

    /// Lanes of one request each are served in order of arrival, whatever their keys.
    #[test]
    fn lanes_begin_behind_those_that_wait() {
        assert_eq!(rest(&mut lanes(&[9, 1, 5, 0])), [0, 1, 2, 3]);
        let mut lanes = lanes(&[9, 9, 5]);
        assert_eq!(lanes.next().unwrap().1, 0);
        let at = lanes.arrive(1);
        lanes.put(at, 3);
        assert_eq!(rest(&mut lanes), [2, 1, 3]);
    }

    #[test]
    fn what_is_put_back_is_next_again() {
        let mut lanes = lanes(&[7, 7, 3, 3]);
        let (first, zero) = lanes.next().unwrap();
        lanes.put(first, zero);
        let (first, zero) = lanes.next().unwrap();
        let (second, two) = lanes.next().unwrap();
        // In either order.
        lanes.put(second, two);
        lanes.put(first, zero);
        assert_eq!(rest(&mut lanes), [0, 2, 1, 3]);
    }

    #[test]
    fn two_of_one_lane_are_put_back() {
        let mut lanes = lanes(&[7, 7, 7]);
        let (first, second) = (lanes.next().unwrap(), lanes.next().unwrap());
        lanes.put(second.0, second.1);
        lanes.put(first.0, first.1);
        assert_eq!(rest(&mut lanes), [0, 1, 2]);
    }

    #[test]
    fn any_request_can_leave() {
        let mut lanes = lanes(&[7, 3]);
        let at = lanes.arrive(7);
        lanes.put(at, 2);
        lanes.remove(at);
        lanes.remove(at);
        assert_eq!(rest(&mut lanes), [0, 1]);
        lanes.remove(at);
        assert!(rest(&mut lanes).is_empty());
    }

    #[test]
    fn the_longest_lane_makes_room() {
        let mut lanes = lanes(&[7, 7, 7, 3]);
        assert_eq!(lanes.push_out_for(7), None, "its own lane");
        assert_eq!(lanes.push_out_for(3), Some(2), "the last of its lane");
        assert_eq!(lanes.push_out_for(3), None, "would only change places");
        assert_eq!(lanes.push_out_for(5), Some(1));
        assert_eq!(lanes.push_out_for(5), None, "no lane is longer than one");
        assert_eq!(rest(&mut lanes), [0, 3]);
        assert_eq!(lanes.push_out_for(5), None);
    }
}
