//! The queue of the requests for which a cluster has no room.
//!
//! The queue knows neither endpoints nor limits. It is told when room may have come free, and tells one request that it
//! is its turn to look for it; that one takes the room where it finds it, with no reservation in between. Any room must
//! suit any request: one that finds none ends the turn for all.
//!
//! What a request does:
//!
//! ```text
//! if queue.is_empty() and there is room: take it, and do not queue
//! ticket = queue.join(key), or 503 if it is full
//! loop:
//!     await ticket.notice()
//!         Look: if there is room, take it and drop the ticket; else ticket.look_again()
//!         PushedOut: 503
//! ```
//!
//! And what ends a request, raises a limit, or adds an endpoint, calls [`Queue::wake_next`] *after* it has made room.
//!
//! # The states of a ticket
//!
//! - *Waiting*: stands in its lane.
//! - *Looking*: it is its turn. It stands in no lane, but counts as waiting for all who ask whether the queue is empty.
//! - *Pushed out*: had to make room for a request of a shorter lane. It counts no longer.
//!
//! # No wake-up is lost
//!
//! Room that comes free is looked for by a request that begins to look afterwards, if there is one in the queue:
//!
//! - A request that joins an empty queue is looking at once. So room that came free after its first look, and before it
//!   was in the queue, is found by this second look. In a queue that is not empty, the requests that were there first
//!   have been told of that room.
//! - A ticket that is dropped while it is looking passes the turn on, whether it has found room (there may be more),
//!   was given up, or never learned of its turn. So a wake-up for room for many requests reaches as many.
//! - While all requests in the queue are looking, none is left to be told. The wake-up is noted, and the next one of
//!   them that finds nothing looks once more.
//!
//! Whether the queue is empty is read without the lock. Both sides first write, and then read what the other one
//! writes: the room and the number of requests. The fences between, as in Dekker's algorithm, see to it that at least
//! one of them reads what the other wrote.

use std::{
    future::poll_fn,
    mem,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed, Ordering::SeqCst, fence},
    },
    task::{Context, Poll, Waker},
};

use slab::Slab;

use super::lanes::{Lanes, Position};

/// A bounded queue, fair among the keys of its requests.
///
/// Keys are what the requests of one lane have in common, a hash of the tenant for example. With one key for all, the
/// queue is in order of arrival.
#[derive(Debug)]
pub(crate) struct Queue {
    /// The most requests that may be in it.
    most: usize,
    /// How many requests are in it. Written under the lock.
    len: AtomicUsize,
    state: Mutex<State>,
}

/// What the lock of a [`Queue`] protects. No waker is cloned, woken or dropped under it: it may be code of the user.
#[derive(Debug, Default)]
struct State {
    seats: Slab<Seat>,
    /// The seats that wait.
    lanes: Lanes,
    /// How many seats are looking.
    looking: usize,
    /// Whether room may have come free since the requests that are looking began to.
    missed: bool,
}

/// What the queue knows of a ticket.
#[derive(Debug)]
struct Seat {
    position: Position,
    state: SeatState,
}

#[derive(Debug)]
enum SeatState {
    Waiting(Option<Waker>),
    Looking,
    PushedOut,
}

/// One request in a [`Queue`].
///
/// Dropping it leaves the queue. If it is its turn, the turn passes on to the next request: this is how a request that
/// has found room lets the next one look for more, and how no wake-up is lost when a request is given up.
#[derive(Debug)]
#[must_use = "leaves the queue when it is dropped"]
pub(crate) struct Ticket {
    queue: Arc<Queue>,
    /// Its seat in the queue.
    seat: usize,
}

/// What a request in a [`Queue`] is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// There may be room. Where there is none, [`Ticket::look_again`] follows.
    Look,
    /// The queue is full, and the place went to a request of a shorter lane. There will be no other notice.
    PushedOut,
}

impl Queue {
    /// Returns an empty queue of at most `most` requests.
    pub(crate) fn new(most: NonZeroUsize) -> Self {
        Self {
            most: most.get(),
            len: AtomicUsize::new(0),
            state: Mutex::default(),
        }
    }

    /// Returns whether no request is in the queue. One that has just arrived must not take room past those that are.
    ///
    /// One atomic load.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many requests are in the queue, those that are looking for room among them.
    pub(crate) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Joins the queue, at the end of the lane of `key`. Returns `None` if the queue is full.
    ///
    /// When it is full, the last request of the longest lane is pushed out for one of a lane that is still no longer
    /// with it. So a key that floods the queue cannot keep others out of it.
    pub(crate) fn join(self: &Arc<Self>, key: u64) -> Option<Ticket> {
        let mut state = self.lock();
        let len = self.len();
        let mut pushed_out = None;
        if len < self.most {
            self.len.store(len + 1, Relaxed);
        } else {
            let last = state.lanes.push_out_for(key)?;
            pushed_out = state.change(last, SeatState::PushedOut);
        }
        let seat = state.arrive(key, len == 0);
        drop(state);
        fence(SeqCst);
        wake(pushed_out);
        Some(Ticket {
            queue: self.clone(),
            seat,
        })
    }

    /// Tells the next request in the queue, if there is one, that room may have come free.
    ///
    /// For room for several requests, one call is enough. A fence and an atomic load when the queue is empty.
    pub(crate) fn wake_next(&self) {
        fence(SeqCst);
        if !self.is_empty() {
            let next = self.lock().next();
            wake(next);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Adds a seat for a request that arrives, and returns its number.
    fn arrive(&mut self, key: u64, is_alone: bool) -> usize {
        let position = self.lanes.arrive(key);
        let seat = self.seats.insert(Seat {
            position,
            state: SeatState::Looking,
        });
        self.looking += 1;
        if !is_alone {
            self.wait(seat);
        }
        seat
    }

    /// Gives the turn to the next request that waits, and returns its waker.
    fn next(&mut self) -> Option<Waker> {
        let Some((position, seat)) = self.lanes.next() else {
            self.missed = self.looking > 0;
            return None;
        };
        self.looking += 1;
        self.seats.get_mut(seat)?.position = position;
        self.change(seat, SeatState::Looking)
    }

    /// Puts a request that is looking into its position, to wait.
    fn wait(&mut self, number: usize) {
        if let Some(seat) = self.seats.get_mut(number) {
            seat.state = SeatState::Waiting(None);
            self.lanes.put(seat.position, number);
            self.looking -= 1;
        }
    }

    /// Changes the state of a request that waits, and returns its waker.
    fn change(&mut self, seat: usize, state: SeatState) -> Option<Waker> {
        let seat = self.seats.get_mut(seat)?;
        match mem::replace(&mut seat.state, state) {
            SeatState::Waiting(waker) => waker,
            SeatState::Looking | SeatState::PushedOut => None,
        }
    }
}

impl Ticket {
    /// Waits until it is this request's turn to look for room, or until it is pushed out.
    ///
    /// Returns the same notice again until the ticket is dropped or [`look_again`](Self::look_again) is called.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future keeps the ticket in its place. A turn that it was given in the meantime is kept too, until
    /// the next call, or until the ticket is dropped.
    pub(crate) async fn notice(&mut self) -> Notice {
        poll_fn(|cx| self.poll_notice(cx)).await
    }

    /// Polls for what [`notice`](Self::notice) waits for.
    pub(crate) fn poll_notice(&mut self, cx: &mut Context<'_>) -> Poll<Notice> {
        let waker = cx.waker().clone();
        let mut state = self.queue.lock();
        let (polled, _unused) = match state.seats.get_mut(self.seat).map(|seat| &mut seat.state) {
            Some(SeatState::Waiting(registered)) => (Poll::Pending, registered.replace(waker)),
            Some(SeatState::Looking) => (Poll::Ready(Notice::Look), Some(waker)),
            // There is a seat as long as there is a ticket.
            Some(SeatState::PushedOut) | None => (Poll::Ready(Notice::PushedOut), Some(waker)),
        };
        drop(state);
        polled
    }

    /// Ends the turn of a request that has found no room. It waits in its old place, at the head of its lane, and its
    /// lane is next.
    ///
    /// It is its turn again at once if room may have come free while it looked. Does nothing if it is not its turn.
    pub(crate) fn look_again(&mut self) {
        let mut state = self.queue.lock();
        let seat = state.seats.get(self.seat);
        let is_looking = seat.is_some_and(|seat| matches!(seat.state, SeatState::Looking));
        if is_looking && !mem::take(&mut state.missed) {
            state.wait(self.seat);
        }
    }
}

impl Drop for Ticket {
    /// Leaves the queue, and passes the turn on.
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let Some(seat) = state.seats.try_remove(self.seat) else {
            return;
        };
        let mut next = None;
        if !matches!(seat.state, SeatState::PushedOut) {
            self.queue.len.store(self.queue.len() - 1, Relaxed);
        }
        match seat.state {
            SeatState::Waiting(_) => state.lanes.remove(seat.position),
            SeatState::Looking => {
                state.looking -= 1;
                next = state.next();
            }
            SeatState::PushedOut => {}
        }
        drop(state);
        wake(next);
    }
}

/// Wakes a request. Not to be called with the lock held.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, sync::atomic::AtomicBool, task::Wake};

    use futures_util::poll;

    use super::*;

    const LOOK: Poll<Notice> = Poll::Ready(Notice::Look);
    const PUSHED_OUT: Poll<Notice> = Poll::Ready(Notice::PushedOut);

    fn queue(most: usize) -> Arc<Queue> {
        Arc::new(Queue::new(NonZeroUsize::new(most).unwrap()))
    }

    /// Joins the queue, with the notice that it is given at once.
    async fn join(queue: &Arc<Queue>, key: u64) -> (Ticket, Poll<Notice>) {
        let mut ticket = queue.join(key).unwrap();
        let notice = now(&mut ticket).await;
        (ticket, notice)
    }

    async fn now(ticket: &mut Ticket) -> Poll<Notice> {
        let mut notice = Box::pin(ticket.notice());
        poll!(&mut notice)
    }

    #[tokio::test]
    async fn the_first_one_looks_once_more() {
        let queue = queue(8);
        assert!(queue.is_empty());
        let (mut first, notice) = join(&queue, 0).await;
        assert_eq!(notice, LOOK);
        assert_eq!(now(&mut first).await, LOOK, "until it has answered");
        let (second, notice) = join(&queue, 0).await;
        assert_eq!(notice, Poll::Pending, "the first one has looked for it");
        first.look_again();
        assert_eq!(now(&mut first).await, Poll::Pending);
        assert_eq!(queue.len(), 2);
        drop((first, second));
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn requests_are_told_in_the_order_of_arrival() {
        let queue = queue(8);
        let (mut one, _) = join(&queue, 0).await;
        one.look_again();
        let (mut two, _) = join(&queue, 0).await;
        let (mut three, _) = join(&queue, 0).await;
        queue.wake_next();
        assert_eq!(now(&mut one).await, LOOK);
        assert_eq!(now(&mut two).await, Poll::Pending);
        // It finds nothing, and is the first one still.
        one.look_again();
        queue.wake_next();
        assert_eq!(now(&mut two).await, Poll::Pending);
        assert_eq!(now(&mut one).await, LOOK);
        drop(one);
        assert_eq!(now(&mut two).await, LOOK, "there may be more");
        assert_eq!(now(&mut three).await, Poll::Pending);
        two.look_again();
        assert_eq!(now(&mut three).await, Poll::Pending, "there was no more");
    }

    #[tokio::test]
    async fn a_flood_waits_for_itself() {
        let queue = queue(8);
        let (mut first, _) = join(&queue, 0).await;
        let (mut flood, _) = join(&queue, 0).await;
        let (_flood, _) = join(&queue, 0).await;
        let (mut other, _) = join(&queue, 1).await;
        first.look_again();
        queue.wake_next();
        assert_eq!(now(&mut first).await, LOOK);
        drop(first);
        assert_eq!(now(&mut flood).await, Poll::Pending);
        assert_eq!(now(&mut other).await, LOOK);
    }

    #[tokio::test]
    async fn a_flood_keeps_no_other_out() {
        let queue = queue(3);
        let (_first, _) = join(&queue, 0).await;
        let (mut second, _) = join(&queue, 0).await;
        let (mut third, _) = join(&queue, 0).await;
        assert!(queue.join(0).is_none(), "full of its own");
        let (mut other, notice) = join(&queue, 1).await;
        assert_eq!(notice, Poll::Pending);
        assert_eq!(queue.len(), 3);
        assert_eq!(now(&mut third).await, PUSHED_OUT);
        third.look_again();
        assert_eq!(now(&mut third).await, PUSHED_OUT);
        assert!(queue.join(1).is_none() && queue.join(2).is_none());
        drop(third);
        assert_eq!(queue.len(), 3);
        queue.wake_next();
        assert_eq!(now(&mut second).await, LOOK);
        queue.wake_next();
        assert_eq!(now(&mut other).await, LOOK);
        // Only those that wait can be pushed out.
        assert!(queue.join(2).is_none());
    }

    /// Dropping the future, and dropping the ticket: before the turn, with it unread, and with it read.
    #[tokio::test]
    async fn a_turn_that_is_not_used_is_passed_on() {
        let queue = queue(8);
        let (mut first, _) = join(&queue, 0).await;
        first.look_again();
        let (mut second, _) = join(&queue, 0).await;
        let (mut third, _) = join(&queue, 0).await;
        let (fourth, _) = join(&queue, 0).await;
        let (mut fifth, _) = join(&queue, 0).await;
        // `now` has dropped its future, and the turn waits for the next one.
        queue.wake_next();
        assert_eq!(now(&mut first).await, LOOK);
        first.look_again();
        queue.wake_next();
        drop(first);
        assert_eq!(now(&mut second).await, LOOK, "unread");
        assert_eq!(now(&mut third).await, Poll::Pending);
        drop(second);
        assert_eq!(now(&mut third).await, LOOK, "read");
        drop(fourth);
        assert_eq!(now(&mut fifth).await, Poll::Pending);
        drop(third);
        assert_eq!(now(&mut fifth).await, LOOK);
        drop(fifth);
        assert!(queue.is_empty());
        let state = queue.lock();
        assert!(state.seats.is_empty() && state.looking == 0 && !state.missed);
    }

    #[tokio::test]
    async fn a_wake_up_that_finds_all_looking_is_noted() {
        let queue = queue(8);
        let (mut first, _) = join(&queue, 0).await;
        queue.wake_next();
        queue.wake_next();
        first.look_again();
        assert_eq!(
            now(&mut first).await,
            LOOK,
            "room came free while it looked"
        );
        first.look_again();
        assert_eq!(now(&mut first).await, Poll::Pending);
        queue.wake_next();
        queue.wake_next();
        drop(first);
        // What was noted is not for those who come later.
        let (mut next, notice) = join(&queue, 0).await;
        assert_eq!(notice, LOOK);
        next.look_again();
        assert_eq!(now(&mut next).await, Poll::Pending);
    }

    #[tokio::test]
    async fn one_wake_up_is_enough_for_room_for_many() {
        let queue = queue(8);
        let (first, _) = join(&queue, 0).await;
        let mut tickets = vec![first];
        tickets[0].look_again();
        for key in 0..5 {
            tickets.push(join(&queue, key).await.0);
        }
        let room = Cell::new(4);
        queue.wake_next();
        for _ in 0..4 {
            let mut looking = None;
            for (nth, ticket) in tickets.iter_mut().enumerate() {
                if now(ticket).await == LOOK {
                    assert!(looking.replace(nth).is_none(), "one at a time");
                }
            }
            room.set(room.get() - 1);
            drop(tickets.remove(looking.expect("one is looking")));
        }
        assert_eq!((room.get(), queue.len()), (0, 2));
    }

    /// A waker that finds out whether the queue is locked.
    struct Watching {
        queue: Arc<Queue>,
        woken: AtomicBool,
    }

    impl Watching {
        /// Registers one for this ticket.
        fn register(ticket: &mut Ticket) -> Arc<Self> {
            let (queue, woken) = (ticket.queue.clone(), AtomicBool::new(false));
            let watching = Arc::new(Self { queue, woken });
            let waker = Waker::from(watching.clone());
            let polled = ticket.poll_notice(&mut Context::from_waker(&waker));
            assert_eq!(polled, Poll::Pending);
            watching
        }
    }

    impl Wake for Watching {
        fn wake(self: Arc<Self>) {
            assert!(self.queue.state.try_lock().is_ok());
            self.woken.store(true, Relaxed);
        }
    }

    impl Drop for Watching {
        fn drop(&mut self) {
            assert!(self.queue.state.try_lock().is_ok());
        }
    }

    #[tokio::test]
    async fn no_code_of_a_waker_runs_under_the_lock() {
        let queue = queue(3);
        let (first, _) = join(&queue, 0).await;
        let mut second = queue.join(0).unwrap();
        let mut third = queue.join(0).unwrap();
        // Dropped when the next one is registered.
        drop(Watching::register(&mut third));
        let pushed_out = Watching::register(&mut third);
        let told = Watching::register(&mut second);
        let other = queue.join(1).unwrap();
        assert!(pushed_out.woken.load(Relaxed));
        drop(first);
        assert!(told.woken.load(Relaxed));
        // Dropped with its ticket.
        let mut last = queue.join(2).unwrap();
        drop(Watching::register(&mut last));
        drop((last, second, third, other));
        assert!(queue.is_empty());
    }
}
