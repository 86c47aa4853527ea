//! Discovery: endpoints of a cluster that change on their own.
//!
//! [`LoadBalance::from_discover`](crate::LoadBalance::from_discover) takes any [`Discover`], which is a stream of
//! [`Change`]s. A source that knows whole sets, such as DNS, a file or a registry, becomes one by [`from_sets`].
//!
//! This module has no sources of its own: it neither resolves names nor watches files. How a cluster follows a stream,
//! and what happens when that ends or fails, is documented at
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

mod reported;
mod sets;

/// A stream of changes to a set of endpoints, and one such change, as tower defines them.
pub use tower::discover::{Change, Discover};

pub use self::sets::{Sets, from_sets};
