//! Every target, with its seeds and with inputs made of its pieces.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{fs, panic, path::Path};

use axum_upstream_fuzz::{TARGETS, Target};
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

/// The same inputs in each run. One that breaks a promise is made as short as it can be, and shown.
fn pieces(name: &str, cases: u32) {
    let (_, run, pieces) = target(name);
    let piece = prop_oneof![
        20 => proptest::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..4),
    ];
    let input = vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 10_000,
        ..Config::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
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
}
