//! Limits the connections of clients, and makes room when there are too many.
//!
//! While every place is taken, connections that have been quiet are asked to end. The time that counts as quiet is
//! halved step by step, so those that have been quiet for the longest time go first, and a short crowd costs no
//! connection that is in use.

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::sleep,
};

use crate::connection::Stage;

/// The time between two steps down to the shortest quiet time.
const NEXT_STEP: Duration = Duration::from_millis(100);
/// The shortest quiet time, and the pause between two steps once it is reached.
const SHORTEST: Duration = Duration::from_secs(1);

/// The places for connections. A connection is served once there is a place for it. While there is none, each listener
/// has accepted at most one that waits for it; the others wait in the kernel.
#[derive(Debug)]
pub(crate) struct Places {
    /// The places that are free. A connection holds a permit for as long as its socket is open.
    free: Arc<Semaphore>,
    /// How long a connection may be idle while there are places.
    idle: Duration,
    /// What all connections are told.
    stage: watch::Sender<Stage>,
    /// Whether it has been logged that there is no place. Cleared when there is one without waiting.
    crowded: AtomicBool,
}

impl Places {
    /// Returns this many places, for connections that are told the `stage`.
    pub(crate) fn new(places: usize, idle: Duration, stage: watch::Sender<Stage>) -> Self {
        Self {
            free: Arc::new(Semaphore::new(places)),
            idle,
            stage,
            crowded: AtomicBool::new(false),
        }
    }

    /// Waits for a place.
    ///
    /// # Cancel safety
    ///
    /// No place is lost if the future is dropped.
    pub(crate) async fn take(&self) -> OwnedSemaphorePermit {
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            self.crowded.store(false, Relaxed);
            return place;
        }
        if !self.crowded.swap(true, Relaxed) {
            tracing::warn!("no place for another connection; quiet ones are closed");
        }
        let place = tokio::select! {
            Ok(place) = Arc::clone(&self.free).acquire_owned() => place,
            () = self.make_room() => pending().await,
        };
        // Connections that begin now have nothing to do with the crowd, and those that are there need not wake for its
        // end.
        self.stage.send_if_modified(|stage| {
            if matches!(stage, Stage::Crowded(_)) {
                *stage = Stage::Open;
            }
            false
        });
        place
    }

    /// Has connections end that have been quiet for half of the idle time, then for a quarter, and so on. Never
    /// returns.
    async fn make_room(&self) {
        let mut quiet = self.idle;
        loop {
            quiet = (quiet / 2).max(SHORTEST);
            // After the signal, all of them are ending anyway.
            self.stage.send_if_modified(|stage| {
                let open = matches!(stage, Stage::Open | Stage::Crowded(_));
                if open {
                    *stage = Stage::Crowded(quiet);
                }
                open
            });
            sleep(if quiet == SHORTEST {
                SHORTEST
            } else {
                NEXT_STEP
            })
            .await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_crowd_makes_room_step_by_step() {
        let (stage, mut told) = watch::channel(Stage::Open);
        let places = Places::new(1, IDLE, stage);
        let taken = places.take().await;
        let (second, ()) = tokio::join!(places.take(), async {
            for n in 1..4 {
                told.changed().await.unwrap();
                assert_eq!(
                    *told.borrow_and_update(),
                    Stage::Crowded(IDLE / 2u32.pow(n))
                );
            }
            drop(taken);
        });
        assert_eq!(*told.borrow(), Stage::Open);
        assert!(!told.has_changed().unwrap());
        drop(second);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_is_not_taken_back() {
        let (stage, told) = watch::channel(Stage::Last);
        let places = Places::new(0, IDLE, stage);
        let waits = tokio::time::timeout(IDLE, places.take()).await;
        assert!(waits.is_err());
        assert_eq!(*told.borrow(), Stage::Last);
    }
}
