//! What a line says, from the arrival of a request to the end of its exchange.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, Request, Response, StatusCode, Uri, Version};
use tokio::{runtime::Handle, time::Instant};

use super::{layer::LogSettings, writer::LogQueue};
use crate::{
    error::{Error, ErrorKind},
    record::{Info, InfoSlot},
};

/// The length in bytes up to which a path is logged. A queue of the default size then takes some 40 MB at most,
/// whatever clients send.
const LONGEST_TARGET: usize = 4096;

/// The line of an exchange in progress. Its drop is the end of the exchange, and has the line written.
pub(super) struct PendingLine {
    queue: Arc<LogQueue>,
    start: Instant,
    /// `None` only within the drop.
    entry: Option<Box<LogEntry>>,
}

/// The facts of one line. They are formatted by the thread that writes.
pub(super) struct LogEntry {
    /// When the request arrived.
    pub(super) at: SystemTime,
    /// The address that was found in the request's extensions.
    pub(super) client: Option<IpAddr>,
    pub(super) method: Method,
    /// The path, with the fields of the query that are logged.
    pub(super) target: String,
    pub(super) version: Version,
    pub(super) answer: LoggedAnswer,
    /// The number of bytes of response data that were passed on.
    pub(super) sent: u64,
    pub(super) time_to_head: Option<Duration>,
    pub(super) duration: Duration,
    /// Filled by a proxy.
    pub(super) info: InfoSlot,
    /// The error that the response was made of, or that of its body.
    pub(super) error: Option<ErrorKind>,
    /// Whether the response was passed on to its last byte.
    pub(super) complete: bool,
}

/// What the client was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoggedAnswer {
    /// Nothing: it has left.
    None,
    /// Nothing: the service has failed, and what the server makes of that is not known here.
    Failed,
    /// A response.
    Status(StatusCode),
}

impl PendingLine {
    /// Takes what the line says of a request, and leaves a place for what a proxy will know of it.
    pub(super) fn begin<B>(settings: &LogSettings, request: &mut Request<B>) -> Self {
        let info = InfoSlot::default();
        request.extensions_mut().insert(info.clone());
        let entry = LogEntry {
            at: SystemTime::now(),
            client: (settings.client_address)(request.extensions()),
            method: request.method().clone(),
            target: target(request.uri(), &settings.query_fields),
            version: request.version(),
            answer: LoggedAnswer::None,
            sent: 0,
            time_to_head: None,
            duration: Duration::ZERO,
            info,
            error: None,
            complete: false,
        };
        Self {
            queue: settings.queue.clone(),
            start: Instant::now(),
            entry: Some(Box::new(entry)),
        }
    }

    /// Takes what the line says of the response.
    pub(super) fn answered<B>(&mut self, response: &Response<B>) {
        let head = self.start.elapsed();
        let Some(entry) = &mut self.entry else { return };
        entry.answer = LoggedAnswer::Status(response.status());
        entry.time_to_head = Some(head);
        let extensions = response.extensions();
        // A balancer or a client that is used without a proxy.
        if let Some(info) = extensions.get::<Info>() {
            entry.info.fill_with(info);
        }
        entry.error = extensions.get::<Arc<Error>>().map(|error| error.kind());
        // A server sends no body for these, and asks for none.
        entry.complete = entry.method == Method::HEAD
            || matches!(
                response.status(),
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
    }

    /// Records that the service has failed.
    pub(super) fn failed(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.answer = LoggedAnswer::Failed;
            entry.error = Some(ErrorKind::Service);
        }
    }

    /// Counts bytes of response data.
    pub(super) fn sent(&mut self, bytes: usize) {
        if let Some(entry) = &mut self.entry {
            entry.sent += bytes as u64;
        }
    }

    /// Records that the response body was passed on whole.
    pub(super) fn complete(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.complete = true;
        }
    }

    /// Records that the response body has failed.
    pub(super) fn broke(&mut self) {
        if let Some(entry) = &mut self.entry {
            entry.complete = false;
            entry.error = Some(ErrorKind::ResponseBody);
        }
    }
}

impl Drop for PendingLine {
    /// Has the line written; that of a tunnel when the tunnel has ended.
    fn drop(&mut self) {
        let Some(mut entry) = self.entry.take() else {
            return;
        };
        entry.duration = self.start.elapsed();
        let tunnel = match entry.answer {
            LoggedAnswer::Status(StatusCode::SWITCHING_PROTOCOLS) => entry.info.get().cloned(),
            _ => None,
        };
        match (tunnel, Handle::try_current()) {
            (Some(tunnel), Ok(runtime)) if tunnel.duration().is_none() => {
                let line = Self {
                    queue: self.queue.clone(),
                    start: self.start,
                    entry: Some(entry),
                };
                runtime.spawn(line.of_tunnel(tunnel));
            }
            _ => self.queue.push(entry),
        }
    }
}

impl PendingLine {
    /// Waits for the end of a tunnel.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, as the runtime does at its end, has the line written.
    async fn of_tunnel(mut self, tunnel: Info) {
        /// Has the line written without another look at the tunnel.
        struct AtEnd(PendingLine);
        impl Drop for AtEnd {
            fn drop(&mut self) {
                if let Some(mut entry) = self.0.entry.take() {
                    entry.duration = self.0.start.elapsed();
                    self.0.queue.push(entry);
                }
            }
        }
        self.complete();
        let line = AtEnd(self);
        tunnel.ended().await;
        drop(line);
    }
}

/// Returns the path of a request, with the fields of the query that have one of these names. What is too long ends in
/// `...`.
fn target(uri: &Uri, names: &[String]) -> String {
    let mut target = shortened(uri.path()).to_owned();
    let query = uri.query().filter(|_| !names.is_empty());
    let mut before = '?';
    for field in query.into_iter().flat_map(|query| query.split('&')) {
        let (name, _) = field.split_once('=').unwrap_or((field, ""));
        if names.iter().any(|named| named == name) {
            target.push(before);
            target.push_str(field);
            before = '&';
        }
    }
    let length = shortened(&target).len();
    if length < target.len() || target.len() < uri.path().len() {
        target.truncate(length);
        target.push_str("...");
    }
    target
}

/// Returns the beginning of a text that is too long.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST_TARGET);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str, names: &[&str]) -> String {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        target(&uri.parse().unwrap(), &names)
    }

    #[test]
    fn of_a_query_only_what_is_named_is_logged() {
        assert_eq!(of("/a?token=secret", &[]), "/a");
        assert_eq!(of("/a?token=secret", &["page"]), "/a");
        let uri = "/a?token=secret&page=2&pages=3&page=4&q";
        assert_eq!(of(uri, &["page", "q"]), "/a?page=2&page=4&q");
    }

    #[test]
    fn what_is_too_long_ends_early() {
        let path = format!("/{}", "x".repeat(10_000));
        for logged in [of(&path, &[]), of(&format!("/?page={path}"), &["page"])] {
            assert_eq!(logged.len(), LONGEST_TARGET + 3);
            assert!(logged.ends_with("x..."));
        }
        assert_eq!(of(&path[..LONGEST_TARGET], &[]).len(), LONGEST_TARGET);
    }
}
