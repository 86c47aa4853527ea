//! Compares two answers to the same bytes.

use super::{
    Answer, End, Script, Stop, hypers, ours,
    reasons::{is_lenient_for, is_strict_for},
};
use crate::proxy::block_on;

/// Checks that the crate's client and hyper's agree on what came, but for stated reasons.
///
/// # Panics
///
/// If they do not.
pub(super) fn compare(script: &Script, ours: &Answer, hypers: &Answer) {
    // hyper's limit for trailers is the first size that is refused, and its limit for heads the last that is allowed.
    let is_at_limit =
        matches!(&hypers.end, End::Failed(error) if error.contains("trailers bytes over limit"));
    let hypers = match is_at_limit {
        true => &block_on(hypers::exchange(&script.with_a_byte_more())),
        false => hypers,
    };
    if let Err(what) = agree(script, ours, hypers) {
        panic!("{what}\nours: {ours:?}\nhyper's: {hypers:?}\nof: {script:?}");
    }
}

fn agree(script: &Script, ours: &Answer, hypers: &Answer) -> Result<(), &'static str> {
    if is_lenient_for(script, ours, hypers) {
        return Ok(());
    }
    let same = ours.interim.iter().zip(&hypers.interim);
    if same.into_iter().any(|(ours, hypers)| ours != hypers) {
        return Err("interim responses differ");
    }
    if let (Some(ours), Some(hypers)) = (&ours.head, &hypers.head) {
        if ours != hypers {
            return Err("heads differ");
        }
    }
    let (short, long) = match ours.data.len() < hypers.data.len() {
        true => (&ours.data, &hypers.data),
        false => (&hypers.data, &ours.data),
    };
    if !long.starts_with(short) {
        return Err("data differ");
    }
    match (&ours.end, &hypers.end) {
        (End::Complete, End::Complete) | (End::Open, End::Open) => is_equal(ours, hypers),
        (End::Failed(_), End::Failed(_)) if ours.head.is_some() == hypers.head.is_some() => Ok(()),
        (End::Failed(reason), _) if is_strict_for(script, reason) => Ok(()),
        // One of them may need more of the message to see that it is broken.
        (End::Failed(_), End::Open) | (End::Open, End::Failed(_)) if script.stop == Stop::Never => {
            let script = script.ended();
            let ours = block_on(ours::exchange(&script));
            let hypers = block_on(hypers::exchange(&script));
            agree(&script, &ours, &hypers)
        }
        (End::Failed(_), _) => Err("only ours fails"),
        (_, End::Failed(_)) => Err("only hyper's fails"),
        _ => Err("only one comes to an end"),
    }
}

fn is_equal(ours: &Answer, hypers: &Answer) -> Result<(), &'static str> {
    if ours.interim != hypers.interim || ours.head != hypers.head || ours.data != hypers.data {
        return Err("one of them has more");
    }
    if ours.trailers != hypers.trailers {
        return Err("trailers differ");
    }
    match ours.is_reusable && !hypers.is_reusable {
        true => Err("another request on a connection that is not at rest"),
        false => Ok(()),
    }
}

/// Checks that it makes no difference to the crate's client how the bytes are cut into reads.
///
/// # Panics
///
/// If it does.
pub(super) fn is_the_same_in_one_piece(script: &Script, pieces: &Answer) {
    let whole = block_on(ours::exchange(&script.whole()));
    let is_same = match (&pieces.end, &whole.end) {
        // What comes before an error may be dropped with it.
        (End::Failed(_), End::Failed(_)) => {
            pieces.interim == whole.interim && pieces.head == whole.head
        }
        // A line may be looked at only when it is whole.
        (End::Open, End::Failed(_)) => {
            let script = script.ended();
            return is_the_same_in_one_piece(&script, &block_on(ours::exchange(&script)));
        }
        _ => *pieces == whole,
    };
    assert!(
        is_same,
        "cuts make a difference\nin pieces: {pieces:?}\nas a whole: {whole:?}"
    );
}
