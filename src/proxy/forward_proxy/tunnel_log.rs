//! The line in the log for each tunnel that has ended.

use std::net::SocketAddr;

use super::facts::TargetFacts;
use crate::tunnel::TunnelReport;

/// What the log says of a tunnel besides its report.
pub(super) struct TunnelLog {
    pub(super) facts: TargetFacts,
    /// What was connected to, which is one of the addresses of the target. `None` if the system does not say.
    pub(super) address: Option<SocketAddr>,
}

impl TunnelLog {
    /// Writes the line, at `INFO`: a client's address and user, where it went, for how long, and how much was sent each
    /// way.
    pub(super) fn write(self, report: TunnelReport) {
        let Self { facts, address } = self;
        tracing::info!(
            client = facts.client().map(tracing::field::display),
            user = facts.user(),
            target = %facts.target(),
            address = address.map(tracing::field::display),
            seconds = report.duration.as_secs_f64(),
            bytes_up = report.up,
            bytes_down = report.down,
            end = report.end.as_str(),
            "CONNECT tunnel ended",
        );
    }
}
