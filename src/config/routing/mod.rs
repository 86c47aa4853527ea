//! Which route takes a request: [`RouteTable`].
//!
//! Of all routes that take a request, it goes to the most specific one:
//!
//! 1. by host: the very host, then the longest of the hosts with a `*`, then those without a host;
//! 2. by path, as axum's router has it, by the same crate matchit; an exact path before a prefix;
//! 3. by how many conditions on methods and fields there are.
//!
//! A request that meets no conditions at one path or host goes on to the next, less specific one. Two routes that are
//! equal in all three for some request are refused.

mod conditions;
mod host;
mod host_routes;
mod path;
mod table;

pub(super) use self::{
    conditions::{Conditions, FieldCondition},
    host::{HostPattern, RequestHost},
    path::PathPattern,
    table::{NotTaken, RouteKey, RouteTable},
};
