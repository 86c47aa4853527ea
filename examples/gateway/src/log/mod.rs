//! The log: where it goes, and its line per request.
//!
//! Lines go to standard output by a thread of their own (`writer.rs`), so that no request waits for the reader of a
//! pipe.

mod line;
mod writer;

use std::{
    env,
    io::{self, IsTerminal},
};

use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

pub(crate) use self::{line::LogLine, writer::Lines};

/// Starts the log on standard output, as `RUST_LOG` says. Returns its writer, to be flushed at the end of the program.
///
/// # Errors
///
/// Returns an error if the system has no thread left.
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

/// Returns the filter of `RUST_LOG`, in the form `level` or `target=level,...`. Default: `info`. A malformed value is
/// reported on standard error, and the default is used.
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
