//! The connections to one endpoint.
//!
//! A connection belongs to the runtime it was made on, since that runtime's driver watches its socket: each runtime has
//! a shelf of its own, and none takes from another's. With one runtime there is one shelf.

mod checkout;
mod connections;
mod open;
mod reaper;
mod shelf;

pub(super) use self::{
    checkout::{Checkout, Limits},
    connections::Pool,
};
