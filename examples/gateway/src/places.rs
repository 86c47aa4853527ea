//! Places for the connections of clients.

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

/// Between two steps down to the shortest time in which a connection has to be of use, and then.
const NEXT_STEP: Duration = Duration::from_millis(100);
const SHORTEST: Duration = Duration::from_secs(1);

/// A connection is accepted when there is a place for it. While there is none, it waits in the kernel, and quiet
/// connections end to make room: first those that have been quiet for the longest time.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    /// How long a connection may be idle while there are places.
    idle: Duration,
    stage: watch::Sender<Stage>,
    crowded: AtomicBool,
}

impl Places {
    /// So many places, for connections that are told the `stage`.
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
    /// Cancel safe: no place is lost.
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
        // Connections that begin now have nothing to do with it, and those that are there need not wake for it.
        self.stage.send_if_modified(|stage| {
            if matches!(stage, Stage::Crowded(_)) {
                *stage = Stage::Open;
            }
            false
        });
        place
    }

    /// Has connections end that have been quiet for half of the usual time, then for a quarter, and so on.
    async fn make_room(&self) {
        let mut quiet = self.idle;
        loop {
            quiet = (quiet / 2).max(SHORTEST);
            // After the signal all of them are ending.
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
