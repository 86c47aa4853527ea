//! The log: where it goes, and its line per request.

mod line;
mod writer;

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

pub(crate) use self::{line::LogLine, writer::Lines};

/// Starts the log, on standard output, as `RUST_LOG` rules it. What it returns is flushed at the end.
///
/// # Errors
///
/// If the system has no thread to give.
pub(crate) fn start() -> io::Result<Lines> {
    let lines = Lines::to(io::stdout())?;
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(lines.clone())
        .with_target(false)
        .with_ansi(io::stdout().is_terminal());
    tracing_subscriber::registry()
        .with(layer.with_filter(filter()))
        .init();
    Ok(lines)
}

/// `RUST_LOG` in the form `level` or `target=level,...`. Default: `info`.
fn filter() -> Targets {
    let rules = env::var("RUST_LOG").unwrap_or_default();
    let default = Targets::new().with_default(Level::INFO);
    if rules.is_empty() {
        return default;
    }
    rules.parse().unwrap_or_else(|error| {
        eprintln!("gateway: RUST_LOG {rules}: {error}");
        default
    })
}
