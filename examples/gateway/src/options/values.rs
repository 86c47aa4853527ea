//! Parses the values of flags. Each function returns what is wrong in words that follow the name of the flag.

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroU32},
    str::FromStr,
    time::Duration,
};

use axum_upstream::{
    access_log::AccessLogFormat,
    config::Switch,
    policy::{Policy, Sticky},
    upstream::ProxyProtocol,
};

use super::PerAddress;
use crate::{BoxError, log::RequestLog, workers::RuntimeKind};

/// Returns the value of a flag.
///
/// # Errors
///
/// Returns an error that names the flag and its value.
pub(super) fn value<T>(
    parser: &mut lexopt::Parser,
    flag: &str,
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<T, BoxError> {
    let text = parser
        .value()?
        .into_string()
        .map_err(|_| format!("--{flag} is not Unicode"))?;
    parse(&text).map_err(|wrong| format!("--{flag} {text}: {wrong}").into())
}

/// Parses what says itself what is wrong with it.
pub(super) fn parsed<T: FromStr<Err = &'static str>>(text: &str) -> Result<T, &'static str> {
    text.parse()
}

/// Parses a version of the PROXY protocol.
pub(super) fn proxy_protocol(text: &str) -> Result<ProxyProtocol, &'static str> {
    match text {
        "v1" => Ok(ProxyProtocol::V1),
        "v2" => Ok(ProxyProtocol::V2),
        _ => Err("must be v1 or v2"),
    }
}

/// Parses a number of connections, or `off`.
pub(super) fn per_address(text: &str) -> Result<PerAddress, &'static str> {
    match text {
        "off" => Ok(PerAddress::Off),
        number => count(number)
            .map(PerAddress::Most)
            .map_err(|_| "must be 1 or more, or off"),
    }
}

/// Parses a number that is not zero.
pub(super) fn positive(text: &str) -> Result<NonZeroU32, &'static str> {
    text.parse().map_err(|_| "must be 1 or more")
}

/// Parses a number that is not zero, or `off`.
pub(super) fn positive_or_off(text: &str) -> Result<Switch<NonZeroU32>, &'static str> {
    match text {
        "off" => Ok(Switch::Off),
        number => positive(number)
            .map(Switch::On)
            .map_err(|_| "must be 1 or more, or off"),
    }
}

/// Parses a port.
pub(super) fn port(text: &str) -> Result<NonZeroU16, &'static str> {
    text.parse().map_err(|_| "must be a port, 1 to 65535")
}

/// Parses an address and a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse()
        .map_err(|_| "must be an address and a port, like 127.0.0.1:8080")
}

/// Parses the address of a name server, whose port is 53 unless it is given.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, &'static str> {
    let alone = text.parse().map(|address| SocketAddr::new(address, 53));
    alone
        .or_else(|_| text.parse())
        .map_err(|_| "must be an address, like 10.0.0.2 or 127.0.0.1:5353")
}

/// Parses an address and a port, or `off`.
pub(super) fn address_or_off(text: &str) -> Result<Option<SocketAddr>, &'static str> {
    match text {
        "off" => Ok(None),
        address => self::address(address)
            .map(Some)
            .map_err(|_| "must be an address and a port, like 127.0.0.1:9901, or off"),
    }
}

/// Parses the name of a balancing policy. The cookie of `sticky` is named for this program.
pub(super) fn policy(name: &str) -> Result<Policy, &'static str> {
    if name == "sticky" {
        let sticky = Sticky::cookie("gateway").map_err(|_| "is not possible")?;
        return Ok(sticky.into());
    }
    name.parse().map_err(
        |_| "must be p2c, p2c-in-flight, round-robin, least-request, random, hash-ip or sticky",
    )
}

/// Parses how the threads share the work.
pub(super) fn runtime(text: &str) -> Result<RuntimeKind, &'static str> {
    match text {
        "multi-thread" => Ok(RuntimeKind::MultiThread),
        "per-core" if cfg!(target_os = "linux") => Ok(RuntimeKind::PerCore),
        "per-core" => Err("needs Linux"),
        _ => Err("must be multi-thread or per-core"),
    }
}

/// Parses what is logged of each request.
pub(super) fn access_log(text: &str) -> Result<RequestLog, &'static str> {
    match text {
        "json" => Ok(RequestLog::Access(AccessLogFormat::Json)),
        "common" => Ok(RequestLog::Access(AccessLogFormat::Common)),
        "off" => Ok(RequestLog::Off),
        _ => Err("must be json, common or off"),
    }
}

/// Parses a number that is not zero.
pub(super) fn count(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or("must be 1 or more")
}

/// Parses a number.
pub(super) fn number(text: &str) -> Result<u32, &'static str> {
    text.parse().map_err(|_| "must be a number, 0 or more")
}

/// Parses a duration that is not zero.
pub(super) fn time(text: &str) -> Result<Duration, &'static str> {
    let time = duration(text)?;
    Some(time)
        .filter(|time| !time.is_zero())
        .ok_or("must be more than 0")
}

/// Parses a number with one of the units `ms`, `s` and `m`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
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

/// Parses a number of bytes that is not zero, or of one of the units `KiB`, `MiB` and `GiB`.
pub(super) fn size(text: &str) -> Result<usize, &'static str> {
    let wrong = "must be a number of bytes, like 65536 or 64KiB";
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let with_unit = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
    let (number, unit) = with_unit.unwrap_or((text, 1));
    let number: usize = number.parse().map_err(|_| wrong)?;
    let size = number.checked_mul(unit).filter(|size| *size > 0);
    size.ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(duration("15ms"), Ok(Duration::from_millis(15)));
        assert!(duration("15").is_err());
        assert!(duration("m").is_err());
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1000"), Ok(1000));
        assert_eq!((size("3MiB"), size("1GiB")), (Ok(3 << 20), Ok(1 << 30)));
        assert!(size("0").is_err());
        assert!(size("64MB").is_err());
        assert_eq!(count("3"), Ok(3));
        assert!(count("0").is_err());
        assert_eq!(number("0"), Ok(0));
        assert!(number("-1").is_err());
        assert!(time("0s").is_err());
    }
}
