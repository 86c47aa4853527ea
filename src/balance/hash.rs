//! Hashes that are the same in every process and every version.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// SipHash-1-3 without a key.
pub(super) fn hash(bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): each bit of the input changes half of the output.
pub(super) fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
