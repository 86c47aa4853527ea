//! Every target, with its seeds and with inputs made of its pieces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{env, fs, panic, path::Path};

use axum_upstream_fuzz::{TARGETS, Target, response_message, responses};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

fn target(name: &str) -> Target {
    *TARGETS.iter().find(|(other, ..)| *other == name).unwrap()
}

/// Inputs that are worth keeping: what has found something, and what reaches far.
fn seeds(name: &str) {
    let (_, run, _) = target(name);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("seeds")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let input = fs::read(&path).unwrap();
        if panic::catch_unwind(|| run(&input)).is_err() {
            panic!("{} breaks a promise", path.display());
        }
    }
}

/// A number from the environment, as `CONTRIBUTING.md` describes.
fn number(variable: &str) -> Option<u64> {
    let number = env::var(variable).ok()?;
    Some(number.parse().expect("a number"))
}

/// The same inputs in each run, unless a seed is set. One that breaks a promise is made as short as it can be, and shown.
fn pieces(name: &str, cases: u32) {
    let (_, run, pieces) = target(name);
    let piece = prop_oneof![
        20 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..4),
    ];
    let input = vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    let config = Config {
        cases: number("FUZZ_CASES").map_or(cases, |cases| cases.try_into().unwrap()),
        failure_persistence: None,
        max_shrink_iters: 10_000,
        ..Config::default()
    };
    let random = match number("FUZZ_SEED") {
        None => TestRng::deterministic_rng(RngAlgorithm::ChaCha),
        Some(seed) => {
            let seed = seed.to_le_bytes().repeat(4);
            TestRng::from_seed(RngAlgorithm::ChaCha, &seed)
        }
    };
    let result = TestRunner::new_with_rng(config, random).run(&input, |input| {
        let ran = panic::catch_unwind(|| run(&input));
        prop_assert!(
            ran.is_ok(),
            "{:?} breaks a promise",
            String::from_utf8_lossy(&input)
        );
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

macro_rules! targets {
    ($($name:ident: $cases:literal;)*) => {
        $(
            mod $name {
                #[test]
                fn seeds() {
                    super::seeds(stringify!($name));
                }

                #[test]
                fn pieces() {
                    super::pieces(stringify!($name), $cases);
                }
            }
        )*

        #[test]
        fn all_targets_are_tested() {
            let tested = [$(stringify!($name)),*];
            assert_eq!(tested, TARGETS.map(|(name, ..)| name));
        }
    };
}

targets! {
    request_head: 4_000;
    response_head: 4_000;
    forwarded: 4_000;
    paths: 4_000;
    urls: 4_000;
    exchange: 1_000;
    pool: 1_000;
    responses: 4_000;
    requests: 4_000;
    proxy_headers: 4_000;
}

/// Messages that are right but for a mutation or two.
#[test]
fn responses_by_a_grammar() {
    let breaks = |input: &[u8]| panic::catch_unwind(|| responses(input)).is_err();
    let mut random = fastrand::Rng::with_seed(number("FUZZ_SEED").unwrap_or_default());
    for _ in 0..number("FUZZ_CASES").unwrap_or(20_000) {
        let mut input = response_message(&mut random);
        if breaks(&input) {
            shorten(&mut input, breaks);
            panic!("{:?} breaks a promise", String::from_utf8_lossy(&input));
        }
    }
}

/// Removes what is not needed, beginning with large parts.
fn shorten(input: &mut Vec<u8>, breaks: impl Fn(&[u8]) -> bool) {
    let mut len = input.len();
    while len > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..(at + len).min(input.len()));
            match breaks(&shorter) {
                true => *input = shorter,
                false => at += len,
            }
        }
        len /= 2;
    }
}
