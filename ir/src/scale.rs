//! Scales: the exact factor between a message and the integers a ciphertext holds.
//!
//! Every level `l` of a modulus chain has one *canonical scale* `D_l`, fixed once by `D_(l-1) =
//! D_l^2 / q`, where `q` is the quotient of the moduli of the two levels. A product of two
//! canonical values at level `l` then has scale `D_l^2`, and its rescale has exactly `D_(l-1)`: no
//! drift, and equality of scales is equality of names ([`Scale`]), never a comparison of floats
//! (Bossuat et al., ePrint 2020/1203, section 3).

use std::fmt;

use num_bigint::BigUint;
use num_traits::{ToPrimitive, Zero};

/// Number of levels left: `0 <= level <= top`. Level 0 is the bottom, where nothing can be
/// multiplied any more.
pub type Level = u16;

/// Name of a scale in a modulus chain: `D_level^power`.
///
/// `power` is 1 for a canonical value and 2 for a product that has not been rescaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scale {
    /// The level whose canonical scale is meant.
    pub level: Level,
    /// 1 or 2.
    pub power: u8,
}

impl Scale {
    /// `D_level`.
    pub const fn canonical(level: Level) -> Self {
        Scale { level, power: 1 }
    }

    /// `D_level^2`, the scale of a product before its rescale.
    pub const fn squared(level: Level) -> Self {
        Scale { level, power: 2 }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.power {
            1 => write!(f, "D{}", self.level),
            p => write!(f, "D{}^{p}", self.level),
        }
    }
}

/// Fractional bits of [`ExactScale`]. Scales are below 2^64, so a value fits in 256 bits; each step
/// of the canonical recurrence doubles the relative error, so after 60 levels it is still below
/// 2^-120.
const FRACTION_BITS: u64 = 192;

/// A positive scale as a 256-bit fixed-point number with 192 fractional bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExactScale(BigUint);

impl ExactScale {
    /// The integer `value`. Zero is not a scale and yields 0, which every user rejects.
    pub fn from_integer(value: &BigUint) -> Self {
        ExactScale(value << FRACTION_BITS)
    }

    /// `2^log2`, for `log2 >= 0`.
    pub fn power_of_two(log2: u32) -> Self {
        ExactScale(BigUint::from(1u8) << (FRACTION_BITS + u64::from(log2)))
    }

    /// `self * other`.
    pub fn mul(&self, other: &Self) -> Self {
        ExactScale((&self.0 * &other.0) >> FRACTION_BITS)
    }

    /// `self^2 / divisor`, the canonical recurrence, with a single truncation at the end.
    pub fn square_over(&self, divisor: &Self) -> Self {
        ExactScale((&self.0 * &self.0) / &divisor.0)
    }

    /// `self * factor / divisor`, e.g. the exact constant that carries one scale to another.
    pub fn mul_ratio(&self, factor: &BigUint, divisor: &Self) -> Self {
        ExactScale(((&self.0 * factor) << FRACTION_BITS) / &divisor.0)
    }

    /// Nearest integer.
    pub fn round(&self) -> BigUint {
        (&self.0 + (BigUint::from(1u8) << (FRACTION_BITS - 1))) >> FRACTION_BITS
    }

    /// Nearest `f64` to within two units in the last place.
    pub fn to_f64(&self) -> f64 {
        let bits = self.0.bits();
        if bits == 0 {
            return 0.0;
        }
        let shift = bits.saturating_sub(64);
        let mantissa = (&self.0 >> shift).to_u64().unwrap_or(u64::MAX) as f64;
        mantissa * 2f64.powi(shift as i32 - FRACTION_BITS as i32)
    }

    /// Base-2 logarithm.
    pub fn log2(&self) -> f64 {
        let bits = self.0.bits();
        let shift = bits.saturating_sub(64);
        let mantissa = (&self.0 >> shift).to_u64().unwrap_or(u64::MAX) as f64;
        mantissa.log2() + shift as f64 - FRACTION_BITS as f64
    }

    /// Whether the scale is zero (underflow of a chain whose primes are far too large for its
    /// scale).
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recurrence_is_exact_to_many_bits() {
        // D_(l-1) * q = D_l^2 to 2^-100 relative, after 40 steps.
        let q = BigUint::from((1u64 << 45) - 229_375);
        let divisor = ExactScale::from_integer(&q);
        let mut scale = ExactScale::power_of_two(45);
        for _ in 0..40 {
            let next = scale.square_over(&divisor);
            let left = &next.0 * &q;
            let right = (&scale.0 * &scale.0) >> FRACTION_BITS;
            let difference = if left > right { &left - &right } else { &right - &left };
            assert!(difference.bits() + 100 < right.bits());
            scale = next;
        }
    }

    #[test]
    fn rounding_and_logarithm() {
        let three = ExactScale::from_integer(&BigUint::from(3u8));
        assert_eq!(three.to_f64(), 3.0);
        assert!((three.log2() - 3f64.log2()).abs() < 1e-14);
        let half = ExactScale::power_of_two(0).mul_ratio(&BigUint::from(3u8), &ExactScale::power_of_two(1));
        assert_eq!(half.to_f64(), 1.5);
        assert_eq!(half.round(), BigUint::from(2u8));
    }
}
