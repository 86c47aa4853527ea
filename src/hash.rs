//! Hash functions whose values are the same in every process and every version of the crate.
//!
//! Several proxies in front of one set of endpoints must agree on where a key belongs, also during a rolling update
//! from one version to the next. `std`'s `DefaultHasher` promises neither, so the algorithm is fixed here.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

/// Returns the 128-bit SipHash-1-3 of `bytes`, with the all-zero key.
///
/// It spreads well but is no secret: a client that can choose the bytes can choose the hash. Cookies, which must not be
/// forged, are hashed with a secret key instead; see [`Sticky`](crate::policy::Sticky).
pub(crate) fn hash(bytes: &[u8]) -> u128 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish128().as_u128()
}

/// The same hash of bytes that come in pieces, wherever the pieces end.
#[derive(Clone, Debug, Default)]
pub(crate) struct StreamHash(SipHasher13);

impl StreamHash {
    /// Adds bytes at the end.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    /// Returns the hash of all bytes.
    pub(crate) fn finish(&self) -> u128 {
        self.0.finish128().as_u128()
    }
}

/// Returns `bits` well mixed: each bit of the input changes half of the bits of the output.
///
/// This is the finalizer of SplitMix64 (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
/// It turns the XOR of two hashes into one good hash, at a fraction of the cost of hashing both inputs together.
pub(crate) fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Returns the score of a choice for a key, by the logarithmic method of weighted rendezvous hashing (Schindelhauer and
/// Schomaker 2005): `-w / ln(u)`, where `u` in (0, 1] is drawn from the hashes of the key and of the choice's name. The
/// highest score wins.
///
/// With it, each choice wins a share of the keys that is exactly its share of the weights, and a change of one weight
/// moves keys only to or from that choice. The upper 53 bits make `u`, which is what an `f64` holds; the half keeps it
/// off 0, where the logarithm is infinite.
pub(crate) fn score(key: u64, name: u64, weight: f64) -> f64 {
    let drawn = ((mixed(key ^ name) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    // The largest draw is rounded to 1, whose logarithm is 0 and has no sign: it has to win, not to lose.
    weight / drawn.ln().abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No draw is out of order at either end.
    #[test]
    fn a_score_is_above_zero() {
        // What `mixed` makes 0 and all ones of.
        let all_ones = 0xcf9a_04af_fa6b_adc0;
        for bits in [0, all_ones] {
            assert!(score(bits, 0, 1.0) > 0.0, "{:x}", mixed(bits));
        }
        assert_eq!((mixed(0), mixed(all_ones)), (0, u64::MAX));
    }

    #[test]
    fn pieces_do_not_change_the_hash() {
        let bytes: Vec<u8> = (0..100).collect();
        for piece in 1..40 {
            let mut stream = StreamHash::default();
            bytes.chunks(piece).for_each(|piece| stream.write(piece));
            assert_eq!(stream.finish(), hash(&bytes));
        }
    }
}
