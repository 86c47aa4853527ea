//! Tests of timers of several runtimes and threads.

use std::{
    future::{pending, poll_fn},
    sync::mpsc,
    task::Poll,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::{Instant, timeout},
};

use super::{
    Timer,
    timer_queue_tests::{SECOND, arm, tasks, wait_until},
};

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

/// A timer whose runtime has gone is taken over by the runtime in which it is polled, and fires at its time.
#[test]
fn a_timer_outlives_its_runtime() {
    let (first, second) = (paused(), paused());
    let mut timer = Timer::default();
    let start = first.block_on(async {
        let start = Instant::now();
        arm(&mut timer, start + 10 * SECOND).await;
        start
    });
    drop(first);
    second.block_on(async {
        let start = start.max(Instant::now());
        poll_fn(|cx| timer.poll_due(cx, || Some(start + 10 * SECOND))).await;
        assert_eq!(start.elapsed(), 10 * SECOND);
    });
}

/// The task of a timer may wait in another runtime than the timer's own, and is woken when that shuts down.
#[test]
fn a_runtime_that_shuts_down_wakes_its_timers() {
    let first = paused();
    let (send, receive) = mpsc::channel();
    let mut timer = Timer::default();
    first.block_on(async {
        arm(&mut timer, Instant::now() + 3_600 * SECOND).await;
    });
    let other = std::thread::spawn(move || {
        Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(async {
                let mut polls = 0;
                poll_fn(|cx| {
                    polls += 1;
                    let fired = timer.poll_due(cx, || None);
                    assert!(fired.is_pending());
                    send.send(polls).unwrap();
                    match polls {
                        1 => Poll::Pending,
                        _ => Poll::Ready(()),
                    }
                })
                .await;
            });
    });
    assert_eq!(receive.recv_timeout(10 * SECOND), Ok(1));
    drop(first);
    assert_eq!(receive.recv_timeout(10 * SECOND), Ok(2));
    other.join().unwrap();
}

/// Two runtimes that take turns on one thread: each fires its own timers.
#[test]
fn two_runtimes_share_a_thread() {
    let runtimes = [paused(), paused()];
    let mut waits: Vec<_> = (1..=3_u32)
        .flat_map(|n| runtimes.iter().map(move |runtime| (runtime, n)))
        .map(|(runtime, n)| {
            let wait = async move {
                let start = Instant::now();
                wait_until(start + n * SECOND).await;
                start.elapsed()
            };
            (runtime, n, runtime.spawn(wait))
        })
        .collect();
    // So that timers of both are armed before any fires.
    for runtime in &runtimes {
        runtime.block_on(tokio::task::yield_now());
    }
    for (runtime, n, wait) in waits.drain(..) {
        assert_eq!(runtime.block_on(wait).unwrap(), n * SECOND);
    }
}

/// Timers of many tasks of a runtime with several threads, which move between the threads.
#[test]
fn timers_of_several_threads() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut timers = JoinSet::new();
        for n in 0..2_000 {
            timers.spawn(async move {
                let due = Instant::now() + Duration::from_millis(n % 50);
                match n % 3 {
                    0 => drop(timeout(Duration::from_millis(n % 20), wait_until(due)).await),
                    _ => {
                        wait_until(due).await;
                        assert!(due <= Instant::now());
                    }
                }
            });
        }
        while let Some(ended) = timers.join_next().await {
            ended.unwrap();
        }
        while tasks() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

/// The runtime shuts down while timers wait, and nothing hangs.
#[test]
fn a_runtime_shuts_down_with_timers() {
    for threads in [1, 4] {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(threads)
            .enable_time()
            .build()
            .unwrap();
        for n in 0..100 {
            runtime.spawn(async move {
                let due = Instant::now() + Duration::from_millis(n);
                wait_until(due).await;
                wait_until(due + 3_600 * SECOND).await;
            });
        }
        runtime.spawn(pending::<()>());
        drop(runtime);
    }
}

/// The caller panics, and not a task that nobody watches.
#[test]
#[should_panic(expected = "timers are disabled")]
fn a_runtime_without_timers() {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(wait_until(Instant::now() + SECOND));
}
