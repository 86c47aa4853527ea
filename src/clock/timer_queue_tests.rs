//! Tests of the queue of timers of one thread, with its task.

use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    task::JoinSet,
    time::{Instant, advance, sleep, timeout},
};

use super::{
    Timer,
    timer_queue::{ROUND, TimerQueue},
};

pub(super) const SECOND: Duration = Duration::from_secs(1);

/// Waits until a time, as the futures of the crate do.
pub(super) async fn wait_until(due: Instant) {
    let mut timer = Timer::default();
    poll_fn(|cx| timer.poll_due(cx, || Some(due))).await;
}

/// Polls a timer once, which is not due.
pub(super) async fn arm(timer: &mut Timer, due: Instant) {
    let armed = poll_fn(|cx| Poll::Ready(timer.poll_due(cx, || Some(due))));
    assert!(armed.await.is_pending());
}

pub(super) fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// A timer that was dropped leaves nothing, and the task ends once there is none.
#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_dropped_timers() {
    let due = Instant::now() + 60 * SECOND;
    for _ in 0..10_000 {
        let mut timer = Timer::default();
        arm(&mut timer, due).await;
        assert_eq!((TimerQueue::current().len(), tasks()), (1, 1));
    }
    assert_eq!(TimerQueue::current().len(), 0);
    // The margin is that of tokio's timers.
    sleep(ROUND + Duration::from_millis(1)).await;
    assert_eq!(tasks(), 0);

    // One that lived through some looks.
    let mut timer = Timer::default();
    arm(&mut timer, Instant::now() + 60 * SECOND).await;
    sleep(5 * ROUND).await;
    assert_eq!((TimerQueue::current().len(), tasks()), (1, 1));
    drop(timer);
    assert_eq!(TimerQueue::current().len(), 0);
    sleep(ROUND + Duration::from_millis(1)).await;
    assert_eq!(tasks(), 0);
}

/// Whatever the order in which timers come, move and go, each fires at its time. There is no task at the end.
#[tokio::test(start_paused = true)]
async fn timers_fire_at_their_times() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut timers = JoinSet::new();
        for _ in 0..200 {
            // Some at once, some within a round, some after it, and some after very many.
            let scale = [20, 500, 5_000, 500_000][random.usize(..4)];
            let begins = Duration::from_millis(random.u64(..3_000));
            let limit = Duration::from_millis(random.u64(1..scale));
            let moves = random.u32(..3);
            let dropped = random.bool().then(|| limit.mul_f64(random.f64()));
            timers.spawn(async move {
                sleep(begins).await;
                let start = Instant::now();
                let looks = AtomicU32::new(0);
                let due = || {
                    let moved = looks.fetch_add(1, Relaxed).min(moves);
                    Some(start + limit + moved * SECOND)
                };
                let mut timer = Timer::default();
                let fired = poll_fn(|cx| timer.poll_due(cx, due));
                match dropped {
                    Some(after) => drop(timeout(after, fired).await),
                    None => {
                        fired.await;
                        assert_eq!(start.elapsed(), limit + moves * SECOND);
                    }
                }
            });
        }
        while let Some(ended) = timers.join_next().await {
            ended.unwrap();
        }
        assert_eq!(TimerQueue::current().len(), 0);
        sleep(ROUND + Duration::from_millis(1)).await;
        assert_eq!(tasks(), 0);
    }
}

/// A timer that is due before the task would look rings the bell.
#[tokio::test(start_paused = true)]
async fn a_short_timer_after_a_long_one() {
    let start = Instant::now();
    let mut long = Timer::default();
    arm(&mut long, start + 60 * SECOND).await;
    let short = Duration::from_millis(7);
    wait_until(start + short).await;
    assert_eq!(start.elapsed(), short);
    poll_fn(|cx| long.poll_due(cx, || Some(start + 60 * SECOND))).await;
    assert_eq!(start.elapsed(), 60 * SECOND);
}

/// The task that polled a timer last is woken, and the one before is not held any longer.
#[tokio::test(start_paused = true)]
async fn a_timer_wakes_the_task_that_polled_it_last() {
    struct Flag(Mutex<bool>);
    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() = true;
        }
    }
    let flags = [(); 2].map(|()| Arc::new(Flag(Mutex::default())));
    let due = Instant::now() + 3 * SECOND;
    let mut timer = Timer::default();
    for flag in &flags {
        let waker = Waker::from(flag.clone());
        let polled = timer.poll_due(&mut Context::from_waker(&waker), || Some(due));
        assert!(polled.is_pending());
        // The second time, the timer is among the sorted ones.
        sleep(ROUND + Duration::from_millis(1)).await;
    }
    assert_eq!(Arc::strong_count(&flags[0]), 1);
    sleep(2 * SECOND).await;
    assert!(!*flags[0].0.lock().unwrap() && *flags[1].0.lock().unwrap());
    assert_eq!(Arc::strong_count(&flags[1]), 1);
}

/// Dropping a waker may drop a future that holds another timer of the queue.
#[tokio::test(start_paused = true)]
async fn a_waker_may_own_a_timer() {
    struct Owner(#[expect(dead_code)] Mutex<Timer>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {}
    }
    let due = Instant::now() + 60 * SECOND;
    let owner = async || {
        let mut owned = Timer::default();
        arm(&mut owned, due).await;
        Waker::from(Arc::new(Owner(Mutex::new(owned))))
    };
    let poll = |timer: &mut Timer, waker: Waker| {
        let polled = timer.poll_due(&mut Context::from_waker(&waker), || Some(due));
        assert!(polled.is_pending());
    };
    let mut timer = Timer::default();
    poll(&mut timer, owner().await);
    assert_eq!(TimerQueue::current().len(), 2);
    // The first waker goes when the second one takes its place, and that one with the timer.
    poll(&mut timer, owner().await);
    assert_eq!(TimerQueue::current().len(), 2);
    drop(timer);
    assert_eq!(TimerQueue::current().len(), 0);
    // This one goes when it is woken.
    let mut timer = Timer::default();
    poll(&mut timer, owner().await);
    advance(61 * SECOND).await;
    sleep(SECOND).await;
    assert_eq!(TimerQueue::current().len(), 0);
}
