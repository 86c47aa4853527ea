//! The formats of a line.

use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use http::StatusCode;

use super::{
    entry::{LogEntry, LoggedAnswer},
    escape,
};
use crate::{error::ErrorKind, record::Info};

/// The form of the lines of an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLogFormat {
    /// One JSON object per line. What is not known is `null`.
    ///
    /// | field | meaning |
    /// |---|---|
    /// | `time` | when the request arrived: RFC 3339, UTC, with milliseconds |
    /// | `client` | the client's address, behind trusted proxies |
    /// | `method`, `path`, `version` | of the request, the path without its query, or the host and port of a CONNECT |
    /// | `status` | of the response; 499 if the client left before there was one; `null` if the service failed |
    /// | `bytes_in` | bytes of the request body that the last attempt sent; `null` if no proxy was reached |
    /// | `bytes_out` | bytes of the response body that were passed on; those of a tunnel are not counted |
    /// | `duration`, `time_to_head` | seconds from the arrival to the end, and to the response head |
    /// | `cluster`, `endpoint` | those of the last attempt |
    /// | `attempts` | the number of attempts |
    /// | `error` | the [kind](ErrorKind) of the error, as in the [list of errors](crate::ErrorKind::as_str) |
    /// | `complete` | whether the response was passed on to its last byte |
    /// | `dropped` | only where lines before this one were dropped: their number |
    Json,
    /// The Common Log Format, which most tools read: `host - - [time] "request" status bytes`, the time in UTC and at
    /// the arrival of the request.
    ///
    /// Where lines were dropped, a line that begins with `#` says how many.
    Common,
}

impl AccessLogFormat {
    /// Appends a line to `out`, and the number of lines that were `dropped` before it, if there are any.
    pub(super) fn write(self, out: &mut Vec<u8>, entry: &LogEntry, dropped: u64) -> io::Result<()> {
        match self {
            Self::Json => write_json(out, entry, dropped),
            Self::Common => {
                if dropped > 0 {
                    self.write_dropped(out, dropped)?;
                }
                write_common(out, entry)
            }
        }
    }

    /// Appends a line that says only how many lines were dropped.
    pub(super) fn write_dropped(self, out: &mut Vec<u8>, dropped: u64) -> io::Result<()> {
        match self {
            Self::Json => {
                let time = rfc3339(SystemTime::now());
                writeln!(out, r#"{{"time":"{time}","dropped":{dropped}}}"#)
            }
            Self::Common => writeln!(out, "# {dropped} lines dropped"),
        }
    }
}

fn write_json(out: &mut Vec<u8>, entry: &LogEntry, dropped: u64) -> io::Result<()> {
    let info = entry.info.get();
    write!(out, r#"{{"time":"{}","client":"#, rfc3339(entry.at))?;
    match client(entry) {
        Some(address) => write!(out, "\"{address}\"")?,
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(br#","method":"#);
    escape::json(out, entry.method.as_str())?;
    out.extend_from_slice(br#","path":"#);
    escape::json(out, &entry.target)?;
    write!(out, r#","version":"{:?}","status":"#, entry.version)?;
    or_null(out, status(entry).map(|status| status.as_u16()))?;
    out.extend_from_slice(br#","bytes_in":"#);
    or_null(out, info.map(Info::request_bytes))?;
    write!(out, r#","bytes_out":{},"duration":"#, entry.sent)?;
    or_null(out, Some(Seconds(entry.duration)))?;
    out.extend_from_slice(br#","time_to_head":"#);
    or_null(out, entry.time_to_head.map(Seconds))?;
    for (name, value) in [
        ("cluster", info.and_then(Info::cluster)),
        ("endpoint", info.and_then(Info::endpoint)),
        ("error", error(entry).map(ErrorKind::as_str)),
    ] {
        write!(out, ",\"{name}\":")?;
        match value {
            Some(value) => escape::json(out, value)?,
            None => out.extend_from_slice(b"null"),
        }
    }
    write!(
        out,
        r#","attempts":{},"complete":{}"#,
        info.map_or(0, attempts),
        entry.complete
    )?;
    if dropped > 0 {
        write!(out, r#","dropped":{dropped}"#)?;
    }
    writeln!(out, "}}")
}

fn write_common(out: &mut Vec<u8>, entry: &LogEntry) -> io::Result<()> {
    match client(entry) {
        Some(address) => write!(out, "{address}")?,
        None => out.push(b'-'),
    }
    write!(out, " - - [{}] \"", common_time(entry.at))?;
    escape::common(out, entry.method.as_str())?;
    out.push(b' ');
    escape::common(out, &entry.target)?;
    write!(out, " {:?}\" ", entry.version)?;
    match status(entry) {
        Some(status) => write!(out, "{}", status.as_str())?,
        None => out.push(b'-'),
    }
    // As Apache's `%b` does.
    match entry.sent {
        0 => writeln!(out, " -"),
        sent => writeln!(out, " {sent}"),
    }
}

fn or_null(out: &mut Vec<u8>, value: Option<impl std::fmt::Display>) -> io::Result<()> {
    match value {
        Some(value) => write!(out, "{value}"),
        None => out.write_all(b"null"),
    }
}

/// A time in seconds, as a number with six decimal places.
struct Seconds(Duration);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0.as_secs(), self.0.subsec_micros())
    }
}

/// Returns the client's address: what a proxy has found takes trusted proxies into account.
fn client(entry: &LogEntry) -> Option<std::net::IpAddr> {
    let found = entry.info.get().and_then(Info::client_address);
    found.or(entry.client)
}

/// Returns the status of the response. 499 is nginx's status for a client that has closed the connection; nothing is
/// sent with it.
fn status(entry: &LogEntry) -> Option<StatusCode> {
    match entry.answer {
        LoggedAnswer::Status(status) => Some(status),
        LoggedAnswer::None => StatusCode::from_u16(499).ok(),
        LoggedAnswer::Failed => None,
    }
}

/// Returns why the exchange failed. A proxy knows it best; without one, a response that was not passed on whole had a
/// client that has left.
fn error(entry: &LogEntry) -> Option<ErrorKind> {
    let known = entry.info.get().and_then(Info::error);
    let left = (!entry.complete).then_some(ErrorKind::ClientGone);
    known.or(entry.error).or(left)
}

/// Returns the number of attempts, those inside of nested clusters aside.
fn attempts(info: &Info) -> usize {
    let outermost = info.attempts().filter(|attempt| attempt.depth() == 0);
    outermost.count()
}

/// The parts of a date, as they stand in the form of RFC 9110 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
struct Date(String);

impl Date {
    fn of(time: SystemTime) -> Self {
        // The formatter panics for times before 1970, to which a clock may have been set, and from the year 9999 on.
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let time = time.clamp(SystemTime::UNIX_EPOCH, last);
        Self(httpdate::fmt_http_date(time))
    }

    fn part(&self, from: usize, to: usize) -> &str {
        self.0.get(from..to).unwrap_or_default()
    }
}

/// Returns a time as `2026-01-31T12:30:00.250Z`.
fn rfc3339(time: SystemTime) -> String {
    let date = Date::of(time);
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let (year, day, clock) = (date.part(12, 16), date.part(5, 7), date.part(17, 25));
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(date.part(8, 11));
    let month = month.unwrap_or_default() / 3 + 1;
    let millis = since.subsec_millis();
    format!("{year}-{month:02}-{day}T{clock}.{millis:03}Z")
}

/// Returns a time as `31/Jan/2026:12:30:00 +0000`.
fn common_time(time: SystemTime) -> String {
    let date = Date::of(time);
    let (day, month, year) = (date.part(5, 7), date.part(8, 11), date.part(12, 16));
    format!("{day}/{month}/{year}:{} +0000", date.part(17, 25))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(rfc3339(at(1_769_862_600_250)), "2026-01-31T12:30:00.250Z");
        assert_eq!(
            common_time(at(1_769_862_600_250)),
            "31/Jan/2026:12:30:00 +0000"
        );
        assert_eq!(rfc3339(at(951_782_399_999)), "2000-02-28T23:59:59.999Z");
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(rfc3339(before), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_duration_is_a_number_of_seconds() {
        let seconds = Seconds(Duration::new(12, 34_567_890)).to_string();
        assert_eq!(seconds, "12.034567");
    }
}
