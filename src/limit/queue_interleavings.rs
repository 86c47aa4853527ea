//! The queue of a cluster's requests, in many orders of the same steps.
//!
//! shuttle runs threads one at a time, and switches between them at random where they yield: here between any two calls
//! of the queue, and before and after each look for room. It fails if all threads wait, which is what a lost wake-up
//! comes to.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use futures_util::poll;
use shuttle::{future::block_on, thread};

use super::queue::{Notice, Queue};

/// How many orders are tried.
const ORDERS: usize = 3_000;

/// A cluster that has room for some requests, and a queue for others.
#[derive(Clone)]
struct Cluster {
    queue: Arc<Queue>,
    room: Arc<AtomicUsize>,
}

impl Cluster {
    fn new(room: usize, most: usize) -> Self {
        Self {
            queue: Arc::new(Queue::new(NonZeroUsize::new(most).unwrap())),
            room: Arc::new(AtomicUsize::new(room)),
        }
    }

    /// Takes room if there is any.
    fn take(&self) -> bool {
        thread::yield_now();
        let less = |room: usize| room.checked_sub(1);
        let taken = self.room.fetch_update(SeqCst, SeqCst, less).is_ok();
        thread::yield_now();
        taken
    }

    /// Makes room for more requests.
    fn free(&self, room: usize) {
        thread::yield_now();
        self.room.fetch_add(room, SeqCst);
        thread::yield_now();
        self.queue.wake_next();
    }

    /// Waits for room. Returns whether it was found, or the queue was full.
    async fn enter(&self, key: u64) -> bool {
        if self.queue.is_empty() && self.take() {
            return true;
        }
        let Some(mut ticket) = self.queue.join(key) else {
            return false;
        };
        loop {
            thread::yield_now();
            match ticket.notice().await {
                Notice::Look if self.take() => return true,
                Notice::Look => ticket.look_again(),
                Notice::PushedOut => return false,
            }
        }
    }
}

/// Runs these threads at once over a cluster, in many orders. Room and places in the queue are all back in the end.
fn in_many_orders(room: usize, most: usize, threads: usize, each: fn(&Cluster, usize)) {
    let all = move || {
        let cluster = Cluster::new(room, most);
        let threads: Vec<_> = (0..threads)
            .map(|nth| {
                let cluster = cluster.clone();
                thread::spawn(move || each(&cluster, nth))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(cluster.room.load(SeqCst), room);
        assert!(cluster.queue.is_empty());
    };
    shuttle::check_random(all, ORDERS);
}

#[test]
fn every_request_finds_room() {
    for room in [1, 2] {
        in_many_orders(room, 8, 4, |cluster, nth| {
            assert!(block_on(cluster.enter(nth as u64 % 2)));
            cluster.free(1);
        });
    }
}

/// Dropped before it is its turn, while it is, and while it looks.
#[test]
fn a_request_that_is_given_up_holds_up_no_other() {
    in_many_orders(1, 8, 4, |cluster, nth| {
        block_on(async {
            if nth % 2 == 1 {
                let mut given_up = Box::pin(cluster.enter(0));
                if poll!(&mut given_up).is_ready() {
                    cluster.free(1);
                }
                thread::yield_now();
                drop(given_up);
                thread::yield_now();
            }
            assert!(cluster.enter(nth as u64 % 2).await);
            cluster.free(1);
        });
    });
}

#[test]
fn a_request_that_is_pushed_out_holds_up_no_other() {
    in_many_orders(1, 3, 6, |cluster, nth| {
        // All of one key but for the last ones.
        if block_on(cluster.enter(nth as u64 / 4)) {
            cluster.free(1);
        }
    });
}

/// Room for three requests comes free with one wake-up.
#[test]
fn room_for_many_is_found_by_as_many() {
    in_many_orders(0, 8, 4, |cluster, nth| {
        if nth == 0 {
            cluster.free(3);
        } else {
            assert!(block_on(cluster.enter(nth as u64)));
        }
    });
}
