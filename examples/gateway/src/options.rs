//! The flags of the command line.

use std::{net::SocketAddr, time::Duration};

use axum_upstream::policy::Policy;

use crate::BoxError;

/// What `--help` prints.
pub(crate) const HELP: &str = "\
A load-balancing reverse proxy.

  --listen ADDR            where to listen [default: 127.0.0.1:8080]
  --upstream URL           a server to send to, any number of times: http://, https://, h2c:// or
                           unix:/path, with an optional ;weight=N [default: three demo servers]
  --policy NAME            p2c, p2c-in-flight, round-robin, least-request, random, hash-ip or sticky
                           [default: p2c]
  --workers N              threads of the runtime [default: one per core]
  --connect-timeout DUR    longest time to connect, like 1s or 500ms [default: 5s]
  --response-timeout DUR   longest time to a response head [default: 60s]
  --help                   this text

RUST_LOG rules the log: RUST_LOG=warn turns off the line per request.";

/// What the flags say.
pub(crate) struct Options {
    pub(crate) listen: SocketAddr,
    pub(crate) upstreams: Vec<String>,
    pub(crate) policy: Policy,
    pub(crate) workers: Option<usize>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) response_timeout: Option<Duration>,
}

impl Options {
    /// Reads the command line. `None` when help was asked for.
    pub(crate) fn parse() -> Result<Option<Self>, BoxError> {
        use lexopt::prelude::*;

        let mut options = Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            upstreams: Vec::new(),
            policy: Policy::default(),
            workers: None,
            connect_timeout: None,
            response_timeout: None,
        };
        let mut parser = lexopt::Parser::from_env();
        while let Some(argument) = parser.next()? {
            match argument {
                Long("listen") => options.listen = value(&mut parser, "--listen", parse_address)?,
                Long("upstream") => options.upstreams.push(parser.value()?.string()?),
                Long("policy") => options.policy = value(&mut parser, "--policy", parse_policy)?,
                Long("workers") => {
                    options.workers = Some(value(&mut parser, "--workers", parse_workers)?);
                }
                Long("connect-timeout") => {
                    options.connect_timeout =
                        Some(value(&mut parser, "--connect-timeout", parse_duration)?);
                }
                Long("response-timeout") => {
                    options.response_timeout =
                        Some(value(&mut parser, "--response-timeout", parse_duration)?);
                }
                Long("help") | Short('h') => return Ok(None),
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

/// The value of a flag, or an error that names it.
fn value<T>(
    parser: &mut lexopt::Parser,
    flag: &str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<T, BoxError> {
    let text = parser
        .value()?
        .into_string()
        .map_err(|_| format!("{flag} is not Unicode"))?;
    parse(&text).map_err(|wrong| format!("{flag} {text}: {wrong}").into())
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "must be an address and a port, like 127.0.0.1:8080")
}

fn parse_policy(name: &str) -> Result<Policy, &'static str> {
    name.parse().map_err(
        |_| "must be p2c, p2c-in-flight, round-robin, least-request, random, hash-ip or sticky",
    )
}

fn parse_workers(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .ok()
        .filter(|workers| *workers > 0)
        .ok_or("must be 1 or more")
}

fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let wrong = "must be a number and a unit, like 1s or 500ms";
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| wrong)?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs).ok_or(wrong),
        _ => Err(wrong),
    }
}
