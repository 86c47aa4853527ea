//! Whatever an endpoint sends over HTTP/1 is the same answer to the crate's client and to hyper's.
//!
//! Both get the same bytes, cut into the same reads. What they make of it (interim responses, head, body, trailers, and
//! how it ended) has to agree. Where the crate's client is stricter, the reason is among those in `reasons.rs`, and is
//! to be seen in the bytes. It is never more lenient but for the reasons there, and what it makes of the bytes does not
//! depend on how they were cut.

mod answer;
mod compare;
mod grammar;
mod hypers;
mod ours;
mod reasons;
mod script;
mod wire;

use self::{
    answer::{Answer, End},
    script::{Script, Stop},
};
use super::proxy::block_on;

pub use self::grammar::message as response_message;
pub(crate) use self::script::PIECES;

/// A line of settings, and what an endpoint sends; see `script.rs`.
pub fn responses(data: &[u8]) {
    let Some(script) = Script::parse(data) else {
        return;
    };
    let panics = super::exchange::panics();
    let ours = block_on(ours::exchange(&script));
    let hypers = block_on(hypers::exchange(&script));
    assert_eq!(panics, super::exchange::panics(), "something has panicked");
    compare::compare(&script, &ours, &hypers);
    if script.seed % 4 == 1 {
        compare::is_the_same_in_one_piece(&script, &ours);
    }
}
