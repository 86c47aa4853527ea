//! The metrics of the connections of one client.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
};

use metrics::{Counter, Gauge, SharedString};

use super::{
    names,
    register::{counter, gauge},
};
use crate::telemetry::CloseCause;

/// The metrics of the connections of one client and its clones.
#[derive(Clone, Debug)]
pub(crate) struct PoolMetrics(Arc<PoolState>);

#[derive(Debug)]
struct PoolState {
    endpoint: Arc<str>,
    /// Made with the first connection.
    instruments: OnceLock<PoolInstruments>,
}

#[derive(Debug)]
struct PoolInstruments {
    open: Gauge,
    idle: Gauge,
    opened: Counter,
    reused: Counter,
}

impl PoolMetrics {
    /// Returns those of a client of this name.
    pub(crate) fn of_pool(endpoint: &Arc<str>) -> Self {
        Self(Arc::new(PoolState {
            endpoint: endpoint.clone(),
            instruments: OnceLock::new(),
        }))
    }

    /// Counts a connection that has been opened, until what is returned is dropped.
    pub(crate) fn opened(&self) -> OpenConnection {
        let instruments = self.0.instruments();
        instruments.opened.increment(1);
        instruments.open.increment(1.0);
        OpenConnection {
            pool: self.clone(),
            idle: AtomicBool::new(false),
            cause: AtomicU8::new(WITH_EXCHANGE),
        }
    }

    /// Counts a request for which a connection was there.
    pub(crate) fn reused(&self) {
        self.0.instruments().reused.increment(1);
    }
}

impl PoolState {
    fn instruments(&self) -> &PoolInstruments {
        self.instruments.get_or_init(|| {
            let labels = self.labels();
            PoolInstruments {
                open: gauge(&names::CONNECTIONS_OPEN, &labels),
                idle: gauge(&names::CONNECTIONS_IDLE, &labels),
                opened: counter(&names::CONNECTIONS_OPENED, &labels),
                reused: counter(&names::CONNECTIONS_REUSED, &labels),
            }
        })
    }

    fn labels(&self) -> [(&'static str, SharedString); 1] {
        [("endpoint", self.endpoint.clone().into())]
    }
}

/// The cause of a close with an exchange: it failed or was cancelled, a side asked for the close, or the connection was
/// a tunnel. Also that of every HTTP/2 connection, which has many exchanges.
const WITH_EXCHANGE: u8 = u8::MAX;

/// A connection that is open for as long as this exists.
#[derive(Debug)]
pub(crate) struct OpenConnection {
    pool: PoolMetrics,
    idle: AtomicBool,
    /// A [`CloseCause`], or [`WITH_EXCHANGE`].
    cause: AtomicU8,
}

impl OpenConnection {
    /// Notes whether the connection waits for a request.
    pub(crate) fn set_idle(&self, idle: bool) {
        if self.idle.swap(idle, Relaxed) != idle {
            let gauge = &self.pool.0.instruments().idle;
            match idle {
                true => gauge.increment(1.0),
                false => gauge.decrement(1.0),
            }
        }
    }

    /// Notes why the connection will be closed.
    pub(crate) fn closes(&self, cause: CloseCause) {
        self.cause.store(cause as u8, Relaxed);
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.set_idle(false);
        self.pool.0.instruments().open.decrement(1.0);
        let cause = CloseCause::from_u8(self.cause.load(Relaxed));
        let cause = cause.map_or("exchange", CloseCause::as_str);
        let [endpoint] = self.pool.0.labels();
        counter(
            &names::CONNECTIONS_CLOSED,
            &[endpoint, ("cause", cause.into())],
        )
        .increment(1);
    }
}
