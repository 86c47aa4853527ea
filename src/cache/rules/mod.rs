//! The rules of HTTP caching, as pure functions of heads and times: no store, no clock, no connection.
//!
//! RFC 9111 is followed as a shared cache. Its sentences are quoted beside the lines that obey them, and each has a
//! test. They are our own, because the libraries that exist compare only one line of `Vary` and keep only one of the
//! lines of a repeated field.

mod conditional;
mod directives;
mod entity_tag;
mod freshness;
mod invalidate;
mod range;
mod reuse;
mod steering;
mod storable;
mod structured;
mod validate;
mod vary;

pub use self::steering::STEERING_FIELDS;
pub(super) use self::{
    conditional::{
        has_conditions, is_for_origin, is_left_out_of_304, is_not_modified, remove_conditions,
    },
    directives::{RequestDirectives, ResponseDirectives},
    freshness::{ExchangeTimes, date},
    invalidate::{groups, invalidated_groups, invalidated_urls, invalidates, split_origin},
    range::{RangeAnswer, range_answer},
    reuse::{Reuse, ReusePolicy},
    steering::{SteeringFields, all_selected},
    storable::{NotStored, storable, stored_fields},
    validate::{confirms, freshen, head_confirms, make_conditional},
    vary::SelectingFields,
};
