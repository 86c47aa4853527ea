//! Virtual time, exact to the nanosecond.
//!
//! The code under test reads tokio's clock, which is paused. tokio's timers have a resolution of a millisecond, so the
//! simulation has timers of its own, and advances tokio's clock to the next one when no task can make progress.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, advance};

/// The timers of one simulation.
#[derive(Clone)]
pub struct Clock(Arc<Timers>);

struct Timers {
    start: Instant,
    due: Mutex<BinaryHeap<Reverse<Due>>>,
    /// The number of timers set so far. Timers that are due at the same time fire in the order in which they were set.
    set: AtomicUsize,
}

/// A timer that is waited for.
struct Due {
    at: Instant,
    nth: usize,
    waker: Waker,
}

impl Clock {
    /// Returns the seconds since the simulation began.
    pub fn now(&self) -> f64 {
        self.0.start.elapsed().as_secs_f64()
    }

    /// Returns a timer that fires this many seconds after the simulation began; never, if that is infinite.
    pub fn at(&self, seconds: f64) -> Timer {
        let at = Duration::try_from_secs_f64(seconds)
            .ok()
            .map(|wait| self.0.start + wait);
        Timer {
            at,
            timers: self.0.clone(),
            waits: false,
        }
    }

    /// Returns a timer that fires after this many seconds.
    pub fn after(&self, seconds: f64) -> Timer {
        self.at(self.now() + seconds)
    }
}

/// A future that completes at a point in virtual time. Only the waker of its first poll is woken.
pub struct Timer {
    at: Option<Instant>,
    timers: Arc<Timers>,
    waits: bool,
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        if Instant::now() >= at {
            return Poll::Ready(());
        }
        if !std::mem::replace(&mut self.waits, true) {
            let mut due = self.timers.due.lock().unwrap();
            let nth = self.timers.set.fetch_add(1, SeqCst);
            due.push(Reverse(Due {
                at,
                nth,
                waker: cx.waker().clone(),
            }));
        }
        Poll::Pending
    }
}

/// The tasks of a simulation, which run concurrently in one thread.
pub type Tasks<'t> = FuturesUnordered<Pin<Box<dyn Future<Output = ()> + 't>>>;

/// Runs a simulation until `end` seconds, whatever is still running then.
///
/// `start` spawns the first tasks. `arrival` is called at the beginning, and spawns tasks; it returns when it is to be
/// called again.
pub fn run<'t>(
    end: f64,
    start: impl FnOnce(&Clock, &Tasks<'t>),
    mut arrival: impl FnMut(&Clock, &Tasks<'t>) -> Option<f64>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(tokio::task::unconstrained(async {
        let timers = Timers {
            start: Instant::now(),
            due: Mutex::default(),
            set: AtomicUsize::default(),
        };
        let clock = Clock(Arc::new(timers));
        let mut tasks = Tasks::new();
        start(&clock, &tasks);
        let mut next = Some(0.0);
        loop {
            settle(&mut tasks);
            let arrives = next.map(|next| clock.0.start + Duration::from_secs_f64(next));
            let due = clock
                .0
                .due
                .lock()
                .unwrap()
                .peek()
                .map(|Reverse(due)| due.at);
            let Some(at) = arrives.into_iter().chain(due).min() else {
                return;
            };
            if (at - clock.0.start).as_secs_f64() > end {
                return;
            }
            // `advance` costs a turn of the runtime, even by zero.
            let wait = at - Instant::now();
            if !wait.is_zero() {
                advance(wait).await;
            }
            if arrives == Some(at) {
                next = arrival(&clock, &tasks);
            }
            let mut due = clock.0.due.lock().unwrap();
            while due.peek().is_some_and(|Reverse(due)| due.at <= at) {
                if let Some(Reverse(due)) = due.pop() {
                    due.waker.wake();
                }
            }
        }
    }));
}

/// Polls the tasks until none can make progress.
fn settle(tasks: &mut Tasks<'_>) {
    struct Flag(AtomicBool);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            self.0.store(true, SeqCst);
        }
    }
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    while flag.0.swap(false, SeqCst) {
        while let Poll::Ready(Some(())) = tasks.poll_next_unpin(&mut Context::from_waker(&waker)) {}
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at).then(self.nth.cmp(&other.nth))
    }
}
