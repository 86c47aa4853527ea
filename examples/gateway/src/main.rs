//! A load-balancing reverse proxy as a program. Run with
//!
//! ```text
//! cargo run --release -p gateway
//! cargo run --release -p gateway -- --upstream http://127.0.0.1:5000 --upstream http://127.0.0.1:5001
//! ```
//!
//! Without `--upstream` it starts three small servers of its own, so that a browser on <http://127.0.0.1:8080> shows
//! the balancing on each reload. `--help` lists the flags.

mod admin;
mod answer;
mod check;
mod connection;
mod demo;
mod discovery;
mod entrance;
mod files;
mod folders;
mod forwarding;
mod limits;
mod listen;
mod log;
mod options;
mod places;
mod run;
mod serve;
mod service_manager;
mod settings;
mod tls;
mod workers;

use std::{error::Error as StdError, process::ExitCode};

use crate::{options::Options, run::Failure};

/// The system's allocator returns memory to the system and takes it again under load. This one costs a third less per
/// request.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Parses the flags, starts the log and the runtime, and runs the program. The exit status is 0, 1 if it could not run,
/// or 2 if a flag is wrong.
fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(error) => return fail(2, &error),
    };
    let lines = match log::start(options.access_log) {
        Ok(lines) => lines,
        Err(error) => return fail(1, &error.into()),
    };

    let code = match options.runtime.main_runtime(options.workers) {
        Ok(runtime) => match runtime.block_on(run::run(options)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure::Usage(error)) => fail(2, &error),
            Err(Failure::Run(error)) => fail(1, &error),
        },
        Err(error) => fail(1, &error.into()),
    };
    lines.flush();
    code
}

/// Prints an error with its causes in one line, and returns the exit status.
fn fail(code: u8, error: &BoxError) -> ExitCode {
    let mut line = format!("gateway: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_line = cause.to_string();
        // Some errors repeat their cause.
        if !line.ends_with(&cause_line) {
            line = format!("{line}: {cause_line}");
        }
        source = cause.source();
    }
    eprintln!("{line}");
    ExitCode::from(code)
}
