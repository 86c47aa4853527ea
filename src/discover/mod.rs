//! Discovery: endpoints of a cluster that change on their own.
//!
//! [`LoadBalance::from_discover`](crate::LoadBalance::from_discover) takes any [`Discover`], which is a stream of
//! [`Change`]s. Sources of this crate, each behind a feature:
//!
//! | source | feature | follows |
//! |---|---|---|
//! | `Dns` | `dns` (needs Rust 1.88) | the addresses of a name, or the SRV records of a service |
//! | `Etcd` | `etcd` | the keys of a prefix in etcd |
//! | `Kubernetes` | `kubernetes` | the EndpointSlices of a Service |
//! | `WatchedFile` | `file` | the lines of a file, or an array in TOML |
//!
//! Any other source that knows whole sets, such as a registry, becomes a `Discover` by [`from_sets`].
//!
//! What the sources of this crate have in common: an error keeps the last endpoints, is in the log, the metrics and the
//! status, and is followed by another try after a pause that grows. A set that is empty is such an error, too, unless
//! the source states that there is nothing, or was told by `allow_empty` that it may be. An entry that cannot be used
//! is skipped, and named in the log. They end with the last clone of their `LoadBalance`.
//! [`docs::discovery`](crate::docs::discovery) has what becomes of each change and each fault.
//!
//! How a cluster follows a stream, and what happens when that ends or fails, is documented at
//! [`LoadBalanceBuilder::discover`](crate::balance::LoadBalanceBuilder::discover). To change a cluster by hand, use a
//! [`Handle`](crate::balance::Handle).
//!
//! # Whole sets
//!
//! ```no_run
//! use axum_upstream::{EndpointSpec, LoadBalance, discover};
//! use futures_util::stream;
//! use tokio::time::{Duration, sleep};
//!
//! # async fn lookup() -> Vec<String> { Vec::new() }
//! # #[tokio::main]
//! # async fn main() -> Result<(), axum_upstream::Error> {
//! let sets = stream::unfold((), |()| async {
//!     sleep(Duration::from_secs(10)).await;
//!     let urls = lookup().await;
//!     let specs = urls.iter().filter_map(|url| EndpointSpec::url(url).ok());
//!     Some((specs.collect(), ()))
//! });
//! let backends: LoadBalance = LoadBalance::from_discover(discover::from_sets(sets))?;
//! # Ok(())
//! # }
//! ```
//!
//! # Single changes
//!
//! Each change has a key, which the source chooses. The cluster knows endpoints by their names; an endpoint stays as
//! long as any key has its name.
//!
//! ```
//! use axum_upstream::{BoxError, EndpointSpec, LoadBalance, discover::Change};
//! use tokio::sync::mpsc;
//! use tokio_stream::wrappers::UnboundedReceiverStream;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let (feed, changes) = mpsc::unbounded_channel();
//! let changes = UnboundedReceiverStream::new(changes);
//! let backends: LoadBalance = LoadBalance::from_discover(changes)?;
//!
//! let spec = EndpointSpec::url("http://127.0.0.1:5000")?;
//! feed.send(Ok::<_, BoxError>(Change::Insert("pod-1", spec)))?;
//! feed.send(Ok(Change::Remove("pod-1")))?;
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "dns")]
mod dns;
#[cfg(any(feature = "etcd", feature = "file"))]
mod entry;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(any(feature = "dns", feature = "kubernetes"))]
mod families;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(any(feature = "dns", feature = "kubernetes"))]
mod place;
mod reported;
#[cfg(any(
    feature = "dns",
    feature = "etcd",
    feature = "file",
    feature = "kubernetes"
))]
mod set_reader;
mod sets;
#[cfg(any(feature = "etcd", feature = "kubernetes"))]
mod source_error;
#[cfg(any(
    feature = "dns",
    feature = "etcd",
    feature = "file",
    feature = "kubernetes"
))]
mod source_stream;

/// A stream of changes to a set of endpoints, and one such change, as tower defines them.
pub use tower::discover::{Change, Discover};

#[cfg(feature = "dns")]
pub use self::dns::{Dns, DnsError, DnsErrorKind};
#[cfg(feature = "etcd")]
pub use self::etcd::Etcd;
#[cfg(feature = "file")]
pub use self::file::WatchedFile;
#[cfg(feature = "kubernetes")]
pub use self::kubernetes::Kubernetes;
pub use self::sets::{Sets, from_sets};
