//! Limits by the client's address.

mod address;
mod connections;
mod rate;

pub(crate) use self::{
    address::AddressKey,
    connections::{AddressPlace, AddressPlaces},
    rate::{RateConfig, RequestRate},
};
