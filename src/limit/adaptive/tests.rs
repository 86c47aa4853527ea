//! An endpoint of known capacity, in virtual time: what the limit does, and what that does to the endpoint.

use std::{cmp::Reverse, collections::BinaryHeap, mem, ops::Range, thread, time::Duration};

use super::*;

/// The mean time that the endpoint works on a request.
const SERVICE: Duration = Duration::from_millis(10);

/// How long an endpoint works on a request.
#[derive(Clone, Copy, Debug)]
enum Work {
    Constant,
    Exponential,
}

/// An endpoint that works on some requests at once, and on others in order of arrival.
struct Server {
    limit: AdaptiveLimit,
    work: Work,
    /// With so many requests in flight, it refuses another one within a millisecond.
    most: usize,
    random: fastrand::Rng,
    now: Duration,
    /// When each of its workers is free.
    workers: BinaryHeap<Reverse<Duration>>,
    /// The requests in flight.
    in_flight: BinaryHeap<Reverse<InFlight>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    end: Duration,
    sent: Duration,
    refused: bool,
}

/// What was seen of some requests.
#[derive(Debug)]
struct Seen {
    /// The mean limit.
    limit: usize,
    /// The requests that ended, relative to those that would have if no worker had ever been idle.
    goodput: f64,
    /// The latency of 99 in 100.
    p99: Duration,
}

impl Server {
    fn new(settings: &AdaptiveConcurrency, work: Work, capacity: usize) -> Self {
        Self {
            limit: AdaptiveLimit::new(settings),
            work,
            most: usize::MAX,
            random: fastrand::Rng::with_seed(7),
            now: Duration::ZERO,
            workers: vec![Reverse(Duration::ZERO); capacity].into(),
            in_flight: BinaryHeap::new(),
        }
    }

    /// Workers that are taken away end what they work on.
    fn set_capacity(&mut self, capacity: usize) {
        let mut workers = mem::take(&mut self.workers).into_sorted_vec();
        workers.reverse();
        workers.resize(capacity, Reverse(self.now));
        self.workers = workers.into();
    }

    fn send(&mut self) {
        let refused = self.in_flight.len() >= self.most;
        let end = if refused {
            self.now + Duration::from_millis(1)
        } else {
            let work = match self.work {
                Work::Constant => SERVICE,
                Work::Exponential => SERVICE.mul_f64(-(1.0 - self.random.f64()).ln()),
            };
            let Reverse(free) = self.workers.pop().unwrap();
            let end = free.max(self.now) + work;
            self.workers.push(Reverse(end));
            end
        };
        let sent = self.now;
        self.in_flight
            .push(Reverse(InFlight { end, sent, refused }));
    }

    /// Waits for `requests` to end, with as many in flight as the limit and `offered` allow.
    fn run(&mut self, requests: usize, offered: usize) -> Seen {
        let (start, capacity) = (self.now, self.workers.len());
        let (mut limits, mut latencies) = (0, Vec::new());
        for _ in 0..requests {
            while self.in_flight.len() < self.limit.limit().min(offered) {
                self.send();
            }
            let in_flight = self.in_flight.len();
            let Reverse(ended) = self.in_flight.pop().unwrap();
            self.now = ended.end;
            let latency = ended.end - ended.sent;
            self.limit.record(latency, in_flight, ended.refused);
            limits += self.limit.limit();
            latencies.push(latency);
        }
        latencies.sort_unstable();
        let possible = (self.now - start).div_duration_f64(SERVICE) * capacity as f64;
        Seen {
            limit: limits / requests,
            goodput: requests as f64 / possible,
            p99: latencies[requests * 99 / 100],
        }
    }
}

fn from(initial: usize) -> AdaptiveConcurrency {
    AdaptiveConcurrency::gradient().initial(initial).unwrap()
}

/// The limits that fit a capacity: all workers are busy, and few requests wait.
fn fitting(capacity: usize) -> Range<usize> {
    capacity..capacity + capacity / 2 + capacity.isqrt() + 3
}

/// From below and from above, with as many requests as the limit allows.
#[test]
fn the_limit_settles_near_the_capacity() {
    for work in [Work::Constant, Work::Exponential] {
        for capacity in [1, 4, 20, 100] {
            for initial in [1, 20, 300] {
                let mut server = Server::new(&from(initial), work, capacity);
                server.run(30_000, usize::MAX);
                let seen = server.run(30_000, usize::MAX);
                let case = format!("{work:?}, {capacity} from {initial}: {seen:?}");
                assert!(fitting(capacity).contains(&seen.limit), "{case}");
                assert!(seen.goodput > 0.95, "{case}");
                if capacity >= 4 && matches!(work, Work::Constant) {
                    assert!(seen.p99 <= 2 * SERVICE, "{case}");
                }
            }
        }
    }
}

#[test]
fn the_limit_follows_the_capacity() {
    let mut server = Server::new(&from(20), Work::Exponential, 1);
    for capacity in [40, 10, 40, 100] {
        server.set_capacity(capacity);
        server.run(20_000, usize::MAX);
        let seen = server.run(10_000, usize::MAX);
        let range = fitting(capacity);
        assert!(range.contains(&seen.limit), "{capacity}: {seen:?}");
    }
}

/// What few requests show says nothing about many, and measuring it lowers no limit.
#[test]
fn a_limit_that_is_not_used_stays() {
    for settings in [
        AdaptiveConcurrency::gradient(),
        AdaptiveConcurrency::aimd(Duration::MAX).unwrap(),
    ] {
        let mut server = Server::new(&settings, Work::Exponential, 4);
        for _ in 0..20_000 {
            server.run(1, 8);
            assert_eq!(server.limit.limit(), 20);
        }
    }
}

/// Errors come back fast, and are no sign of an endpoint that could do with more.
#[test]
fn an_endpoint_that_refuses_requests_gets_fewer() {
    for settings in [
        AdaptiveConcurrency::gradient(),
        AdaptiveConcurrency::aimd(Duration::MAX).unwrap(),
    ] {
        let mut server = Server::new(&settings, Work::Exponential, 30);
        server.most = 15;
        server.run(20_000, usize::MAX);
        let seen = server.run(10_000, usize::MAX);
        assert!((9..=17).contains(&seen.limit), "{settings:?}: {seen:?}");
        // It refuses all, and then none.
        server.most = 0;
        server.run(2_000, usize::MAX);
        assert!(server.limit.limit() <= 5, "{settings:?}");
        server.most = usize::MAX;
        server.run(40_000, usize::MAX);
        let seen = server.run(10_000, usize::MAX);
        assert!(seen.limit >= 30, "{settings:?}: {seen:?}");
    }
}

#[test]
fn aimd_keeps_to_its_latency() {
    let settings = AdaptiveConcurrency::aimd(3 * SERVICE).unwrap();
    let mut server = Server::new(&settings, Work::Exponential, 10);
    server.run(20_000, usize::MAX);
    let seen = server.run(10_000, usize::MAX);
    assert!((24..=36).contains(&seen.limit), "{seen:?}");
    server.set_capacity(2);
    server.run(20_000, usize::MAX);
    let seen = server.run(10_000, usize::MAX);
    assert!((4..=8).contains(&seen.limit), "{seen:?}");
}

#[test]
fn the_limit_stays_within_its_range() {
    for settings in [
        AdaptiveConcurrency::gradient(),
        AdaptiveConcurrency::aimd(SERVICE * 2).unwrap(),
    ] {
        let settings = settings.limits(15..=25).unwrap();
        for capacity in [1, 100] {
            let mut server = Server::new(&settings, Work::Exponential, capacity);
            for _ in 0..20_000 {
                server.run(1, usize::MAX);
                assert!((15..=25).contains(&server.limit.limit()));
            }
        }
        let of_one = settings.limits(7..=7).unwrap();
        let mut server = Server::new(&of_one, Work::Constant, 1);
        server.run(20_000, usize::MAX);
        assert_eq!(server.limit.limit(), 7);
    }
}

#[test]
fn all_threads_may_record() {
    let limit = AdaptiveLimit::new(&AdaptiveConcurrency::aimd(SERVICE).unwrap());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    limit.record(SERVICE, usize::MAX / 2, false);
                }
            });
        }
    });
    // One more for each window, the size of which is 50 up to that limit, and the limit above.
    let (mut expected, mut left) = (20, 4_000);
    while left >= expected.max(50) {
        left -= expected.max(50);
        expected += 1;
    }
    assert_eq!(limit.limit(), expected);
}
