//! How averages lose weight with time.
//!
//! A pick asks for it several times, so it is an approximation of a few additions and multiplications, and not a call
//! of the platform's `exp`, whose results differ from one platform to the next.

use std::f32::consts::{LN_2, LOG2_E};

use crate::clock::Micros;

/// The time in seconds in which an observation loses weight by a factor of e.
///
/// Short, so that an endpoint that has become slow or fast shows it soon; [`Norms::prior`](super::norms::Norms::prior)
/// makes up for the noise of an average over so few answers.
pub(super) const DECAY: f32 = 2.0;

/// The exponent of the least normal `f32`. What has decayed further is 0: that is after three minutes.
const LEAST_EXPONENT: u32 = 126;

/// Returns the weight that is left, from 1 to 0, of an observation that is `age` old.
pub(super) fn decay(age: Micros) -> f32 {
    exp_of_negative(age as f32 * (1e-6 / DECAY))
}

/// Up to where the Taylor series up to the second power will do: it is off by `SMALL^3 / 3!`, or 6.4e-7. It is the
/// usual case, as it is that of each endpoint that answers every 31 ms.
const SMALL: f32 = 1.0 / 64.0;

/// Returns `exp(-x)` for an `x` that is not negative, with an error of less than 3e-6. It is exact for 0.
///
/// Beyond [`SMALL`], it is split into `2^-n × e^r`, where `r` is at most half of `ln 2` from 0. There, the Taylor
/// series up to the fifth power is off by `(ln 2 / 2)^6 / 6!`, or 2.4e-6.
fn exp_of_negative(x: f32) -> f32 {
    if x <= SMALL {
        return 1.0 - x * (1.0 - x / 2.0);
    }
    let n = (x * LOG2_E + 0.5) as u32;
    if n > LEAST_EXPONENT {
        return 0.0;
    }
    let r = n as f32 * LN_2 - x;
    let power = 1.0 + r * (1.0 + r * (1.0 / 2.0 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r / 120.0))));
    // 2^-n, by its exponent.
    f32::from_bits((LEAST_EXPONENT + 1 - n) << (f32::MANTISSA_DIGITS - 1)) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_exp() {
        // Steps that are no multiple of anything, up to where nothing is left.
        for nth in 0..1_000_000_u32 {
            let x = nth as f32 * 1.234_567e-4;
            let (got, exact) = (exp_of_negative(x), (-f64::from(x)).exp());
            let error = (f64::from(got) - exact).abs();
            assert!(error < 3e-6, "{x}: {got}, not {exact}");
            assert!(x > 80.0 || error < 2e-5 * exact, "{x}: {got}, not {exact}");
        }
    }

    #[test]
    fn it_starts_at_one_and_ends_at_nothing() {
        assert_eq!(decay(0), 1.0);
        assert_eq!(decay(Micros::MAX), 0.0);
        // Never up, but for the error where one power of two follows another.
        let falls = (0..100_000).map(|nth| decay(nth * 2_000));
        assert!(falls.is_sorted_by(|a, b| b - a < 3e-6));
    }

    #[test]
    fn it_loses_a_factor_of_e_in_two_seconds() {
        let e = f64::from(decay(8_000_000)).recip().sqrt().sqrt();
        assert!((e - std::f64::consts::E).abs() < 1e-4, "{e}");
    }
}
