//! The layer, and its settings.

use std::{
    fmt,
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::Extensions;
use tower::Layer;

use super::{
    format::AccessLogFormat,
    service::AccessLog,
    settings::{ClientAddress, LogSettings},
    writer::LogQueue,
};

/// The number of lines that may wait for the thread, unless another one is set.
const QUEUE: usize = 8192;

/// Logs one line per exchange of the services that it wraps.
///
/// Clones, and the services that they make, share one queue and one thread. See the [module docs](super).
#[derive(Clone)]
pub struct AccessLogLayer(Arc<LogSettings>);

impl AccessLogLayer {
    /// Logs to standard output.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no thread left.
    pub fn new(format: AccessLogFormat) -> io::Result<Self> {
        Self::builder(format).build()
    }

    /// Returns a builder with the default settings.
    ///
    /// ```
    /// use std::{fs::OpenOptions, net::SocketAddr};
    ///
    /// use axum::extract::ConnectInfo;
    /// use axum_upstream::access_log::{AccessLogFormat, AccessLogLayer};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join("axum-upstream-access.log");
    /// let file = OpenOptions::new().create(true).append(true).open(path)?;
    /// let access_log = AccessLogLayer::builder(AccessLogFormat::Common)
    ///     .writer(file)
    ///     .query_fields(["page"])
    ///     // For requests that reach no proxy.
    ///     .client_address(|extensions| {
    ///         let info = extensions.get::<ConnectInfo<SocketAddr>>()?;
    ///         Some(info.0.ip())
    ///     })
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn builder(format: AccessLogFormat) -> AccessLogBuilder {
        let address = |extensions: &Extensions| {
            let address = extensions.get::<SocketAddr>();
            address.map(SocketAddr::ip)
        };
        AccessLogBuilder {
            format,
            writer: None,
            queue: QUEUE,
            query_fields: Vec::new(),
            client_address: Box::new(address),
        }
    }

    /// Completes when everything that has been logged so far is written.
    ///
    /// It waits for as long as the writer blocks: give it a timeout.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect on the lines.
    pub async fn flush(&self) {
        self.0.queue.flush().await;
    }

    /// Returns the number of lines that were dropped so far, because the writer did not keep up or failed.
    #[must_use]
    pub fn dropped_lines(&self) -> u64 {
        self.0.queue.dropped_lines()
    }
}

impl<S> Layer<S> for AccessLogLayer {
    type Service = AccessLog<S>;

    fn layer(&self, inner: S) -> AccessLog<S> {
        AccessLog::new(inner, self.0.clone())
    }
}

impl fmt::Debug for AccessLogLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogLayer")
            .field("dropped_lines", &self.dropped_lines())
            .finish_non_exhaustive()
    }
}

/// The settings of an [`AccessLogLayer`].
pub struct AccessLogBuilder {
    format: AccessLogFormat,
    /// `None` is standard output.
    writer: Option<Box<dyn Write + Send>>,
    queue: usize,
    query_fields: Vec<String>,
    client_address: Box<ClientAddress>,
}

impl AccessLogBuilder {
    /// Sets where lines are written. Default: standard output.
    ///
    /// It need not be buffered: it is given many lines at once, and flushed after them. It may block. Lines that it
    /// returns an error for count as dropped.
    #[must_use]
    pub fn writer(mut self, writer: impl Write + Send + 'static) -> Self {
        self.writer = Some(Box::new(writer));
        self
    }

    /// Sets how many lines may wait for the writer, at least 1. Default: 8192, which take some 10 MB at most where
    /// paths are of a usual length, and 45 MB where clients send long ones.
    #[must_use]
    pub fn queue(mut self, lines: usize) -> Self {
        self.queue = lines.max(1);
        self
    }

    /// Names fields of the query that are logged with the path, in the form in which the client has sent them. Names
    /// are compared byte by byte. Default: none.
    #[must_use]
    pub fn query_fields<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.query_fields = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sets how the client's address is found in the extensions of a request. Default: a bare `SocketAddr`.
    ///
    /// The address that a [`ReverseProxy`](crate::ReverseProxy) has found takes precedence.
    #[must_use]
    pub fn client_address<F>(mut self, find: F) -> Self
    where
        F: Fn(&Extensions) -> Option<IpAddr> + Send + Sync + 'static,
    {
        self.client_address = Box::new(find);
        self
    }

    /// Starts the thread that writes, and returns the layer.
    ///
    /// # Errors
    ///
    /// Returns an error if the system has no thread left.
    pub fn build(self) -> io::Result<AccessLogLayer> {
        let writer = self.writer.unwrap_or_else(|| Box::new(io::stdout()));
        let queue = LogQueue::start(self.format, writer, self.queue)?;
        Ok(AccessLogLayer(Arc::new(LogSettings {
            queue: Arc::new(queue),
            query_fields: self.query_fields,
            client_address: self.client_address,
        })))
    }
}

impl fmt::Debug for AccessLogBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLogBuilder")
            .field("format", &self.format)
            .field("queue", &self.queue)
            .field("query_fields", &self.query_fields)
            .finish_non_exhaustive()
    }
}
