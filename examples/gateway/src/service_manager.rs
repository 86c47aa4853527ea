//! Tells systemd how the program is, and is told by signals when to stop.
//!
//! Without a service manager, `NOTIFY_SOCKET` and `WATCHDOG_USEC` are not set, and nothing is told.

use std::{future::pending, io};

#[cfg(unix)]
use sd_notify::{NotifyState, notify, watchdog_enabled};
#[cfg(unix)]
use tokio::{
    signal::unix::{SignalKind, signal},
    time::interval,
};

/// Says that the program serves, and that it does so still as often as the watchdog wants to hear it, until SIGINT or
/// SIGTERM. Then says that it stops.
///
/// # Errors
///
/// Returns the error of the system if it does not tell of signals.
///
/// # Cancel safety
///
/// Dropping the future loses a signal that has arrived.
#[cfg(unix)]
pub(crate) async fn until_signal() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tell(&[NotifyState::Ready]);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = keep_awake() => {}
    }
    tell(&[NotifyState::Stopping]);
    Ok(())
}

/// Completes at an interrupt.
#[cfg(not(unix))]
pub(crate) async fn until_signal() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

/// Tells the watchdog twice within its time that the runtime of the first thread does not hang. Never returns.
#[cfg(unix)]
async fn keep_awake() {
    let Some(time) = watchdog_enabled().filter(|time| !time.is_zero()) else {
        return pending().await;
    };
    let mut ticks = interval(time / 2);
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

/// Tells the service manager, if there is one.
#[cfg(unix)]
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
