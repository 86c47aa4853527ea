//! The log: where it goes, and its line per request.
//!
//! With `--access-log`, a layer of the library writes the lines per request to standard output, and this log goes to
//! standard error. Otherwise, lines go to standard output by a thread of their own (`writer.rs`), so that no request
//! waits for the reader of a pipe.

mod line;
mod writer;

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use axum_upstream::access_log::AccessLogFormat;
use tracing::Level;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

pub(crate) use self::{line::LogLine, writer::Lines};

/// What is logged of each request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestLog {
    /// A line at the response head, among all else that is logged.
    Short,
    /// A line at the end, of the library's access log.
    Access(AccessLogFormat),
    /// Nothing.
    Off,
}

/// Starts the log on standard output, or on standard error if the access log has the other, as `RUST_LOG` says. Returns
/// its writer, to be flushed at the end of the program.
///
/// # Errors
///
/// Returns an error if the system has no thread left.
pub(crate) fn start(requests: RequestLog) -> io::Result<Lines> {
    let (output, is_terminal): (Box<dyn Write + Send>, _) = match requests {
        RequestLog::Access(_) => (Box::new(io::stderr()), io::stderr().is_terminal()),
        RequestLog::Short | RequestLog::Off => (Box::new(io::stdout()), io::stdout().is_terminal()),
    };
    let lines = Lines::to(output)?;
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(lines.clone())
        .with_target(false)
        .with_ansi(is_terminal);
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
