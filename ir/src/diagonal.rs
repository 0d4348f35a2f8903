//! What encoded diagonals of linear maps take, and how the rotations they multiply are kept:
//! decided by the numbers of a map alone, so that passes that plan time, memory and precision know
//! what the runtime does.

use crate::params::{LOG_N_RANGE, Params};
use crate::scale::{Level, Scale};

/// Degree of the polynomial that encodes a diagonal of period `period`: twice the period, in the
/// smallest ring at least, in the ring of the parameters at most.
pub fn degree(params: &Params, period: usize) -> usize {
    (2 * period).clamp(1 << LOG_N_RANGE.start(), params.ring_degree())
}

/// Evaluations that are kept of a diagonal of period `period` per prime, where it is kept as
/// evaluations (matrices of bootstraps): those of its polynomial, each once in every block of 64.
pub fn evaluations(params: &Params, period: usize) -> usize {
    degree(params, period).max(params.ring_degree() >> 6)
}

/// `log2` of what operands at `level` are multiplied with on their way to the squared scale.
fn log2_factor(params: &Params, level: Level) -> f64 {
    params.scale(Scale::squared(level)).log2() - params.scale(Scale::canonical(level)).log2()
}

/// `log2` of the scale of the mask that ends a regular map: diagonals and mask share the factor of
/// one level. A mask takes all coefficients and multiplies once; diagonals take few, but hundreds
/// are added up, so they get a few bits more than half.
pub fn log2_mask(params: &Params, level: Level) -> u32 {
    (log2_factor(params, level) / 2.0 - 1.5).max(1.0) as u32
}

/// Bytes of one coefficient of a diagonal for operands at `level`: 4 where weights up to 1 in size
/// have coefficients below `2^31` for all practical purposes, else 8. (A coefficient is a mean of
/// entries with signs: the scale is reached by no map that is not constant. One that does not fit
/// takes 8 bytes regardless.) `masked`: whether a mask takes its part of the factor
/// ([`log2_mask`]).
pub fn word_bytes(params: &Params, level: Level, masked: bool) -> usize {
    let mask = if masked { f64::from(log2_mask(params, level)) } else { 0.0 };
    if log2_factor(params, level) - mask < 32.5 { 4 } else { 8 }
}

/// Bytes of one encoded diagonal of period `period` for operands at `level`: coefficients as
/// integers, whatever the number of primes. A diagonal of one element is a constant, kept as a
/// number beside the index of its operand.
pub fn bytes(params: &Params, level: Level, period: usize, masked: bool) -> usize {
    if period == 1 {
        return size_of::<(usize, f64)>();
    }
    word_bytes(params, level, masked) * degree(params, period)
}

/// Bytes of sums, and of diagonals that are not kept, that one map may have in the making; more are
/// worked off in turns, each of which repeats the baby steps.
pub const WORKING_BYTES: usize = 2 << 30;

/// When the rotations of a map's operand are divided by the special primes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hoisting {
    /// Each by itself, so that products with diagonals need the chain primes only, and so do sums
    /// that giant steps decompose. Every rotation brings the rounding error of its division.
    Single,
    /// Never: products are taken over all primes, sums are divided (Bossuat et al., ePrint
    /// 2020/1203, section 4).
    Double,
}

/// Numbers of a linear map that [`Hoisting`] depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapCounts {
    /// Rotations of operands.
    pub babies: usize,
    /// Rotations of partial sums.
    pub giants: usize,
    /// Products.
    pub diagonals: usize,
    /// Length of a diagonal before it repeats.
    pub period: usize,
}

/// Cost of a product with both halves of a ciphertext over one prime, in transforms of that size.
const PRODUCT: f64 = 0.25;
/// Cost of making residues of a diagonal of full period, in transforms: the transform and two
/// passes.
const EVALUATION: f64 = 1.3;

impl Hoisting {
    /// The one that takes fewer transforms at `level`, everything counted in these.
    pub fn cheaper(params: &Params, level: Level, counts: MapCounts) -> Self {
        let (chain, special) = (params.limbs(level) as f64, params.p().len() as f64);
        let share = degree(params, counts.period) as f64 / params.ring_degree() as f64;
        let diagonal = PRODUCT + EVALUATION * share;
        // Two halves of every baby step, or one half of every giant step, have their special limbs
        // transformed back and the remainders transformed for each chain prime.
        let division = special + chain;
        let single = 2.0 * division * counts.babies as f64;
        let double = division * counts.giants as f64 + special * diagonal * counts.diagonals as f64;
        if single < double { Hoisting::Single } else { Hoisting::Double }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::{ParamsLiteral, Secret};
    use crate::prime::ntt_primes_near;
    use crate::prime_set::PrimeSet;

    fn params(log_n: u32, limbs: usize, special: usize, bits: u32) -> Params {
        let mut primes = ntt_primes_near(1 << bits, log_n);
        let q: Vec<u64> = primes.by_ref().take(limbs).collect();
        Params::new(ParamsLiteral {
            name: "test".into(),
            log_n,
            levels: PrimeSet::prefixes(1..=limbs),
            q,
            p: ntt_primes_near((1 << 50) - 1, log_n).filter(|&p| p < 1 << 50).take(special).collect(),
            digit_limbs: special,
            log_scale: bits,
            secret: Secret::UniformTernary,
        })
        .unwrap()
    }

    #[test]
    fn bytes_are_those_of_the_period() {
        let narrow = params(15, 6, 2, 32);
        assert_eq!(bytes(&narrow, 3, 1 << 14, false), 4 << 15);
        assert_eq!(bytes(&narrow, 3, 1 << 12, false), 4 << 13);
        assert_eq!(bytes(&narrow, 3, 16, false), 4 << 10);
        let wide = params(15, 6, 2, 40);
        assert_eq!(bytes(&wide, 3, 1 << 12, false), 8 << 13);
        assert_eq!((log2_mask(&wide, 3), bytes(&wide, 3, 1 << 12, true)), (18, 4 << 13));
    }

    /// A convolution at the bottom of a chain with many special primes keeps to the chain; a map of
    /// few diagonals high up does not.
    #[test]
    fn many_diagonals_under_many_special_primes_are_multiplied_over_the_chain() {
        let params = params(15, 20, 5, 40);
        let conv = MapCounts { babies: 29, giants: 31, diagonals: 900, period: 1 << 12 };
        assert_eq!(Hoisting::cheaper(&params, 3, conv), Hoisting::Single);
        let sparse = MapCounts { babies: 8, giants: 3, diagonals: 31, period: 1 << 14 };
        assert_eq!(Hoisting::cheaper(&params, 19, sparse), Hoisting::Double);
    }
}
