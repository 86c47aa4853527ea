//! One tunnel: waits for both connections to be handed over, then copies bytes in both directions.
//!
//! The stages of [`Tunnel::run`]:
//!
//! - *Opening*: both connections have not been handed over yet. The client's comes when the 101 has been written to it
//!   and its request has been read to the end, the endpoint's when the request has been sent to the end.
//! - *Relaying*: bytes are copied in both directions. When one side closes its half, the other side is told and may go
//!   on sending: the tunnel is half-closed.
//! - *Ended*: the record is told that the exchange is complete, and both connections are closed.
//!
//! [`TunnelLimits`] bound the stages. The total timeout of an exchange does not apply to tunnels, which have their own.

use std::{
    future::{Future, pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http_body::Body;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{io::copy_bidirectional, time::Instant};
use tracing::Span;

use super::{
    end::{TunnelEnd, TunnelReport},
    meter::{MeteredIo, TunnelMeter},
    upgraded::{Upgrade, Upgraded},
};
use crate::{
    clock::{Timer, after},
    error::BoxError,
    record::{ExchangeGuard, Record},
};

/// The limits of a tunnel. There are none by default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TunnelLimits {
    /// The longest time in which no bytes arrive from either side, or in which the tunnel is not opened.
    pub(crate) idle: Option<Duration>,
    /// The longest time from the agreement to the end.
    pub(crate) total: Option<Duration>,
    /// How many bytes both directions together carry.
    pub(crate) bytes: Option<u64>,
}

/// A tunnel that an endpoint has agreed to, before it is opened.
pub(crate) struct Tunnel<B> {
    /// The client's connection, once hyper hands it over.
    downstream: OnUpgrade,
    /// The endpoint's connection, once it is handed over.
    upstream: Upgrade,
    /// The exchange, whose request body may still be in transfer.
    record: Arc<Record>,
    /// How long it may last, and how much it may carry.
    limits: TunnelLimits,
    /// The body of the 101, which is empty: its guard counts the tunnel as load at its endpoint. It stays pending, or
    /// fails when the endpoint has been drained and the tunnel has to end.
    held: B,
    /// The end of the exchange. Dropped after `held`, with which the attempt ends.
    end: Option<ExchangeGuard>,
}

impl<B: Body> Tunnel<B> {
    /// Returns a tunnel between two connections that will be handed over.
    pub(super) fn new(
        downstream: OnUpgrade,
        upstream: Upgrade,
        record: Arc<Record>,
        limits: TunnelLimits,
        held: B,
    ) -> Self {
        Self {
            downstream,
            upstream,
            record,
            limits,
            held,
            end: None,
        }
    }

    /// Returns the span of the exchange, or one that is disabled.
    pub(super) fn span(&self) -> Span {
        self.record.span().unwrap_or_else(Span::none)
    }

    /// Has the exchange end with the tunnel.
    pub(crate) fn ends(&mut self, exchange: Option<ExchangeGuard>) {
        self.end = exchange;
    }

    /// Relays bytes until both sides have closed, one connection fails, a limit is reached, the endpoint's drain ends
    /// it, or `closing` is ready.
    ///
    /// How the tunnel ended goes to the log at `DEBUG`, and is returned: the response head has been sent, so neither
    /// side can be told by a status.
    pub(super) async fn run(self, closing: impl Future<Output = ()>) -> TunnelReport {
        let Self {
            downstream,
            upstream,
            record,
            limits,
            held,
            end,
        } = self;
        let meter = TunnelMeter::new(limits.bytes.unwrap_or(u64::MAX));
        let exchange = record.clone();
        // Dropped last, because variables are dropped in the reverse order of their declaration.
        let _end = end;
        let mut held = pin!(held);
        let relayed = async {
            let downstream = async { downstream.await.map_err(BoxError::from) };
            let ends = async { tokio::try_join!(downstream, upstream) };
            let ends = tokio::select! {
                ends = ends => ends,
                // The rest of the request body comes first, and the client may never send it.
                () = passed(limits.idle, || meter.start().max(record.upload_moved())) => {
                    return TunnelEnd::IdleTimeout;
                }
            };
            match ends {
                Ok((downstream, upstream)) => {
                    relay(downstream, upstream, limits.idle, &meter).await
                }
                // The client disconnected before it received the response head.
                Err(error) => {
                    tracing::debug!(%error, "tunnel not opened");
                    TunnelEnd::NotOpened
                }
            }
        };
        let end = tokio::select! {
            end = relayed => end,
            () = closing => TunnelEnd::ClosedByProxy,
            () = passed(limits.total, || meter.start()) => TunnelEnd::TotalTimeout,
            () = failure(held.as_mut()) => TunnelEnd::Drained,
        };
        // However the tunnel ended, the exchange is complete. The guard in `held` would take its drop for a client that
        // has left.
        exchange.complete();
        let (up, down) = meter.bytes();
        tracing::debug!(up, down, end = end.as_str(), "tunnel closed");
        TunnelReport {
            end,
            up,
            down,
            duration: meter.start().elapsed(),
        }
    }
}

/// Completes when a body fails, and never otherwise.
async fn failure<B: Body>(mut body: Pin<&mut B>) {
    let failed = |frame| matches!(frame, Some(Err(_)));
    if !poll_fn(|cx| body.as_mut().poll_frame(cx).map(failed)).await {
        // A service in front of the balancer may have replaced the body.
        pending::<()>().await;
    }
}

/// Copies bytes in both directions until both sides have closed, one connection fails, no bytes arrive for the idle
/// timeout, or more arrive than the tunnel may carry.
///
/// Both directions have one idle clock: a download during which the client sends nothing is not idle.
///
/// Backpressure passes through: each direction holds one buffer of tokio's `copy_bidirectional` (8 KiB), and reads no
/// more until it has been written.
async fn relay(
    downstream: hyper::upgrade::Upgraded,
    upstream: Upgraded,
    idle: Option<Duration>,
    meter: &TunnelMeter,
) -> TunnelEnd {
    meter.touch();
    let mut downstream = MeteredIo::downstream(TokioIo::new(downstream), meter);
    let mut upstream = MeteredIo::upstream(upstream, meter);
    tokio::select! {
        ended = copy_bidirectional(&mut downstream, &mut upstream) => match ended {
            _ if meter.is_exceeded() => TunnelEnd::ByteLimit,
            Ok(_) => TunnelEnd::Closed,
            Err(error) => {
                tracing::debug!(%error, "tunnel broke");
                TunnelEnd::Broken
            }
        },
        () = passed(idle, || meter.moved()) => TunnelEnd::IdleTimeout,
    }
}

/// Completes once `limit` has passed since the time that `since` returns; never without a limit.
///
/// The timer is not moved at each arrival. It looks at `since` again when it fires, so an active tunnel costs one timer
/// per idle timeout rather than one per read.
async fn passed(limit: Option<Duration>, since: impl Fn() -> Instant) {
    let Some(limit) = limit else {
        return pending().await;
    };
    let mut timer = Timer::default();
    poll_fn(|cx| timer.poll_due(cx, || Some(after(since(), limit)))).await;
}
