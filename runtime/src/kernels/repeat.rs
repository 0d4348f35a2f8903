//! Evaluations of a polynomial in `X^c`, which repeat within every block: the safe face.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::isa::Kind;
use super::permutation::BLOCK;
use super::{Isa, scalar};

/// log2 of how often a value stands in a block of 64 at most: in all of it.
pub const MAX_LOG_REPEAT: u32 = BLOCK.trailing_zeros();

/// `out[64 b + 8 row + column] ← values[d b + (8 >> e) (row >> r) + (column >> e)]`, where `d = 64
/// >> log_repeat` values make a block, rows repeat `2^r` times, up to eight, and columns `2^e`
/// times beyond that: `r + e = log_repeat`.
///
/// So do the evaluations of a polynomial in `X^c`, `c = 2^log_repeat`, in the order of
/// [`evaluation_exponent`]; for greater powers blocks repeat besides.
///
/// *Panics* if `log_repeat` is above [`MAX_LOG_REPEAT`], or `values` are not those of the blocks of
/// `out`.
///
/// [`evaluation_exponent`]: super::evaluation_exponent
pub fn repeat_into(isa: Isa, out: &mut [u64], values: &[u64], log_repeat: u32) {
    assert!(log_repeat <= MAX_LOG_REPEAT, "a value stands in one block");
    assert!(
        out.len().is_multiple_of(BLOCK) && values.len() == out.len() >> log_repeat,
        "the values of whole blocks"
    );
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths were checked above.
            unsafe { avx512::repeat_into(out, values, log_repeat) }
        }
        _ => scalar::repeat_into(out, values, log_repeat),
    }
}

/// How often rows of eight repeat, and columns: `(r, e)` of [`repeat_into`].
pub(super) fn rows_and_columns(log_repeat: u32) -> (u32, u32) {
    (log_repeat.min(3), log_repeat.saturating_sub(3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Words;

    #[test]
    fn values_repeat_as_defined_in_every_set() {
        for log_repeat in 0..=MAX_LOG_REPEAT {
            for blocks in [0, 1, 2, 8] {
                let len = blocks * BLOCK;
                let values = Words(7).residues(len >> log_repeat, u64::MAX);
                let (r, e) = rows_and_columns(log_repeat);
                let expected: Vec<u64> = (0..len)
                    .map(|i| {
                        let (block, row, column) = (i / 64, i / 8 % 8, i % 8);
                        values[(64 >> log_repeat) * block + (8 >> e) * (row >> r) + (column >> e)]
                    })
                    .collect();
                for isa in Isa::available() {
                    let mut out = vec![1; len];
                    repeat_into(isa, &mut out, &values, log_repeat);
                    assert!(out == expected, "{isa:?}, {blocks} blocks, 2^{log_repeat} times");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "the values of whole blocks")]
    fn lengths_are_checked() {
        repeat_into(Isa::detect(), &mut [0; 128], &[0; 33], 2);
    }
}
