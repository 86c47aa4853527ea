//! Where the endpoints of a cluster come from, when they change on their own.
//!
//! [`LoadBalance::from_discover`](crate::LoadBalance::from_discover) takes any [`Discover`]: a stream of [`Change`]s.
//! What is known in the form of whole sets, as from DNS, a file or a registry, becomes one by [`from_sets`].
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

mod sets;

/// A stream of changes, and one of them, as tower has them.
pub use tower::discover::{Change, Discover};

pub use self::sets::{Sets, from_sets};
