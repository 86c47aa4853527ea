//! [`ResponseFuture`]: one request on its way through a cluster, the loop over its attempts.
//!
//! ```text
//! pick ─► attempt ─► outcome ─► is it repeated? ─► pick another endpoint ─► attempt ─► …
//!                                └─ no: the answer, or the error, is the response
//! ```
//!
//! The loop is here, and not in a retry layer around the balancer, because it needs what only the balancer knows: the
//! endpoints that were tried, the affinity, and the guard that records the outcome of each attempt at its endpoint.
//!
//! There are three reasons for another attempt:
//!
//! - *Nothing was sent.* The endpoint's service says so by failing with a [`SendError`](crate::upstream::SendError)
//!   that still has the request in it, as a [`Client`](crate::upstream::Client) does when it cannot connect. Nothing
//!   has to be buffered or cloned for that, the method does not matter, and no budget is spent: RFC 9110 9.2.2 forbids
//!   a proxy to retry a request that is not idempotent, and this one has not been tried yet.
//! - *The attempt failed*, and the [retry policy](crate::retry) says that the request is repeated. It is sent from the
//!   copy that was made of it, within the budget.
//! - *The endpoint is slow*: hedging is on and its delay has passed, or the endpoint was found not to answer at all. A
//!   second attempt then runs beside the first, within the same budget, and the first acceptable answer counts.

// `future` polls the attempts and waits; what follows from the end of one is in `steps`, which is the heart of the
// loop. `attempt` is one attempt: the `call` of its endpoint's service, with a `per_try` timer. `waiting` is the wait
// of a request that found no endpoint.

mod attempt;
mod call;
mod future;
mod per_try;
mod steps;
mod waiting;

pub use self::future::ResponseFuture;
