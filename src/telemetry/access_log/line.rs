//! A line, from the arrival of its request to the end of the exchange.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{Method, Request, Response, StatusCode};
use tokio::{runtime::Handle, time::Instant};

use super::{
    entry::{LogEntry, LoggedAnswer, target},
    settings::LogSettings,
    writer::LogQueue,
};
use crate::{
    error::{Error, ErrorKind},
    record::{Info, InfoSlot},
};

/// The line of an exchange in progress. Its drop is the end of the exchange, and has the line written.
pub(super) struct PendingLine {
    queue: Arc<LogQueue>,
    start: Instant,
    /// `None` only within the drop.
    entry: Option<Box<LogEntry>>,
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
            LoggedAnswer::Status(status)
                if status.is_success() && entry.method == Method::CONNECT =>
            {
                entry.info.get().cloned()
            }
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
        struct TunnelLine(PendingLine);
        impl Drop for TunnelLine {
            fn drop(&mut self) {
                if let Some(mut entry) = self.0.entry.take() {
                    entry.duration = self.0.start.elapsed();
                    self.0.queue.push(entry);
                }
            }
        }
        self.complete();
        let line = TunnelLine(self);
        tunnel.ended().await;
        drop(line);
    }
}
