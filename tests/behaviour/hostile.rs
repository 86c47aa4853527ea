//! Endpoints that do not keep to HTTP: what they may do to the exchanges of others, and how long they may keep the
//! proxy busy.

mod floods;
mod unasked;
