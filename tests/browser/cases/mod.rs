//! What the page is tested for, each case with servers of its own.

mod actions;
mod discovery;
mod failing;
mod hostile;
mod layout;
mod many;
mod restart;
mod websocket;

pub use self::{
    actions::actions, discovery::discovery, failing::failing, hostile::hostile, layout::layout,
    many::many, restart::restart, websocket::websocket,
};
