//! The queue for permits, in many orders of the same steps.
//!
//! shuttle runs threads one at a time, and switches between them at random where they yield. It fails if all of them
//! wait: if a notification is lost, or goes to a request that cannot use it. The steps of a wait between which another
//! thread may run are those where it calls back: the looks for a ready connection and for one to close.

use std::sync::{Arc, Mutex};

use futures_util::poll;
use shuttle::{future::block_on, thread};
use tokio::{runtime, time::Instant};

use super::permits::{Found, Permit, Permits};

/// How many orders are tried.
const ORDERS: usize = 3_000;

/// Connections of one endpoint, as the pool keeps them.
#[derive(Clone)]
struct Connections {
    permits: Arc<Permits>,
    idle: Arc<Mutex<Vec<Permit>>>,
}

impl Connections {
    fn new(max: usize) -> Self {
        Self {
            permits: Arc::new(Permits::new(max)),
            idle: Arc::default(),
        }
    }

    /// Takes an idle connection.
    fn take_idle(&self) -> Option<Permit> {
        thread::yield_now();
        let taken = self.idle.lock().unwrap().pop();
        thread::yield_now();
        taken
    }

    /// Waits for a connection. A request of another runtime can only close those that idle here.
    async fn connection(&self, is_of_this_runtime: bool) -> Permit {
        let far = Instant::now() + std::time::Duration::from_secs(3600);
        let ready = || self.take_idle().filter(|_| is_of_this_runtime);
        let evict = || self.take_idle().is_some();
        match self.permits.wait(far, ready, evict).await {
            Some(Found::Place(permit) | Found::Ready(permit)) => permit,
            None => unreachable!("no time passes"),
        }
    }

    /// Ends a request: its connection closes, or idles.
    fn end(&self, permit: Permit, closes: bool) {
        thread::yield_now();
        if !closes {
            self.idle.lock().unwrap().push(permit);
            thread::yield_now();
            self.permits.tell();
        }
    }
}

/// Runs `requests` at once over at most `max` connections, in many orders.
fn in_many_orders(max: usize, requests: fn(&Connections, usize), threads: usize) {
    // For the timers of the waits, which never fire: nothing drives them.
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let _context = runtime.enter();
    let all = move || {
        let connections = Connections::new(max);
        let threads: Vec<_> = (0..threads)
            .map(|nth| {
                let connections = connections.clone();
                thread::spawn(move || requests(&connections, nth))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    };
    shuttle::check_random(all, ORDERS);
}

#[test]
fn every_request_gets_a_connection() {
    for max in [1, 2] {
        let request = |connections: &Connections, nth: usize| {
            let permit = block_on(connections.connection(nth % 2 == 0));
            connections.end(permit, nth % 3 == 0);
        };
        in_many_orders(max, request, 4);
    }
}

/// A request that leaves the queue takes no notification with it.
#[test]
fn a_request_that_is_given_up_holds_up_no_other() {
    let request = |connections: &Connections, nth: usize| {
        block_on(async {
            if nth % 2 == 1 {
                let mut given_up = Box::pin(connections.connection(true));
                if let std::task::Poll::Ready(permit) = poll!(&mut given_up) {
                    return connections.end(permit, true);
                }
                thread::yield_now();
            }
            let permit = connections.connection(true).await;
            connections.end(permit, false);
        });
    };
    in_many_orders(1, request, 3);
}
