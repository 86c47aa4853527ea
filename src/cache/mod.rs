//! A shared cache around any service: RFC 9111, with collapsed requests, stale responses, purges and `Cache-Status`.
//!
//! ```
//! use axum::Router;
//! use axum_upstream::{LoadBalance, ReverseProxy, cache::CacheLayer};
//!
//! let backends = LoadBalance::new(["http://127.0.0.1:5000", "http://127.0.0.1:5001"])?;
//! // 256 MiB of memory, whatever is stored.
//! let cache = CacheLayer::new(256 << 20);
//! let handle = cache.handle();
//! let app: Router = Router::new()
//!     .fallback_service(ReverseProxy::new(backends))
//!     .layer(cache);
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! handle.purge_prefix("http://example.com/news/").await?;
//! # Ok::<(), axum_upstream::BoxError>(())
//! # })?;
//! # Ok::<(), axum_upstream::BoxError>(())
//! ```
//!
//! What is stored, for how long, under which key, and what keeps the cache from being poisoned is on
//! [its page](crate::docs::cache).
//!
//! # Tasks
//!
//! A request that is answered from the store is answered in its own task. One that is forwarded, and whose response may
//! be stored, has a task of its own: other requests may join it, and the one that has begun it may leave. The task ends
//! with the response, or when nothing reads it any more. So the layer has to be used within a tokio runtime.

// Each file depends only on those further down.
//
// - `layer`, `handle`: what the application sees. `service`: the service, over `visit`: what becomes of a request.
// - Of `visit`, over `lookup` and `answer`: `forwarding` asks the origin or joins another request that does, `updates`
//   is for requests that change what is stored.
// - `fetch`: the task that asks the origin; `storing`: its second half, from the head of a response that is stored.
// - `flight`, `recording`, `background`: requests that share a response, the response while it arrives, and what goes
//   on without a client.
// - `shared` over `store` and `memory`: what is stored. `stored`, `key`: a response, and what it is stored under.
// - `rules`: what HTTP says of all that, as pure functions.

mod answer;
mod background;
mod body;
mod budget;
mod cache_status;
mod counts;
mod fetch;
mod flight;
mod forwarding;
mod freshened;
mod generations;
mod handle;
mod key;
mod layer;
mod lookup;
mod memory;
mod not_storable;
mod recordable;
mod recording;
mod recording_error;
mod rules;
mod service;
mod settings;
mod shared;
mod store;
mod stored;
mod storing;
mod updates;
mod visit;

pub use self::{
    body::CacheBody,
    counts::CacheCounts,
    handle::CacheHandle,
    key::CacheKey,
    layer::{CacheBuilder, CacheLayer},
    memory::MemoryStore,
    rules::STEERING_FIELDS,
    service::{Cache, CacheFuture},
    store::{Purge, Store, StoreUsage, StoredVariants},
    stored::{StoredParts, StoredResponse},
};
