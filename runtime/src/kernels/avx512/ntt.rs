//! What both directions of the transform share.

use super::vector::{Multiplier, encode, load, splat};
use crate::kernels::Modulus;
use crate::kernels::ntt::NttRoots;
use crate::kernels::vector_tables::VectorTables;

/// Tables with Shoup pairs for words of the prime's size.
pub(in crate::kernels) fn tables(m: &Modulus, roots: &NttRoots) -> VectorTables {
    VectorTables::new(m, roots, radices(roots.log_n()), |w| encode(w, m))
}

/// Strided passes by degree, chosen by measurement. The first has eight streams where there is a
/// choice: sixteen a power of two apart overflow the twelve ways of a first-level cache. Sixteen
/// are fast only over less than a page, in the last of them.
pub(super) fn radices(log_n: u32) -> &'static [u32] {
    match log_n {
        10 => &[4],
        11 => &[3, 2],
        12 => &[3, 3],
        13 => &[3, 4],
        14 => &[3, 3, 2],
        15 => &[3, 2, 4],
        16 => &[3, 3, 4],
        17 => &[3, 3, 2, 3],
        _ => unreachable!("the degree was checked when the roots were made"),
    }
}

/// Headroom of a word over a prime, `q < 2^(52 - S)` or `q < 2^(64 - S)`, so words hold values
/// below `2^S q`.
///
/// More headroom means fewer reductions; beyond `S = 6` nothing is left to save.
pub(super) const fn headroom(m: &Modulus) -> u32 {
    match if m.ifma() { 52 } else { 64 } - m.bits() {
        s @ 2..=4 => s,
        5 => 4,
        _ => 6,
    }
}

/// Where a pass finds the multipliers of a radix-`2^r` butterfly network, numbered level by level.
pub(super) trait Multipliers: Copy {
    /// Multiplier `k`.
    ///
    /// # Safety
    ///
    /// The record must have it, and the processor AVX-512.
    unsafe fn get(self, k: usize) -> Multiplier;
}

/// Pairs of words, each for all lanes.
#[derive(Clone, Copy)]
pub(super) struct Broadcast(pub(super) *const u64);

impl Multipliers for Broadcast {
    #[inline(always)]
    unsafe fn get(self, k: usize) -> Multiplier {
        // SAFETY: the caller's promise: words 2k and 2k + 1 are in the record.
        unsafe { Multiplier { w: splat(*self.0.add(2 * k)), companion: splat(*self.0.add(2 * k + 1)) } }
    }
}

/// Pairs of vectors.
#[derive(Clone, Copy)]
pub(super) struct PerLane(pub(super) *const u64);

impl Multipliers for PerLane {
    #[inline(always)]
    unsafe fn get(self, k: usize) -> Multiplier {
        // SAFETY: the caller's promise: words 16k to 16k + 15 are in the record.
        unsafe { Multiplier { w: load(self.0.add(16 * k)), companion: load(self.0.add(16 * k + 8)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::tiles::log_rows;
    use crate::kernels::{MAX_LOG_N, MIN_LOG_N};

    #[test]
    fn tiles_are_laid_out_for_the_first_pass() {
        for log_n in MIN_LOG_N..=MAX_LOG_N {
            assert_eq!(radices(log_n)[0], log_rows(log_n), "N = 2^{log_n}");
            assert_eq!(radices(log_n).iter().sum::<u32>(), log_n - 6, "N = 2^{log_n}");
        }
    }
}
