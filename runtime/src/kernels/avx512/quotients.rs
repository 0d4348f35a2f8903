//! Quotients of basis conversions; see [`crate::kernels::rounded_quotients`].

use std::arch::x86_64::*;

use super::tiles::BATCH;
use super::vector::{LANES, load, splat, store};
use crate::kernels::quotients::Reciprocal;
use crate::kernels::{Tiles, scalar};

/// The quotients of some tiles, into their last source.
///
/// # Safety
///
/// AVX-512 F; whole tiles of one source more than reciprocals.
#[target_feature(enable = "avx512f")]
pub(in crate::kernels) unsafe fn rounded_quotients(
    tiles: &mut [u64],
    columns: usize,
    reciprocals: &[Reciprocal],
) {
    let one_ulp = _mm512_set1_pd(scalar::ONE_ULP);
    let exponent = splat(scalar::ONE_ULP.to_bits());
    let low = splat(0xffff);
    for row in tiles.chunks_exact_mut((reciprocals.len() + 1) * columns) {
        for column in (0..columns).step_by(Tiles::COLUMNS) {
            // SAFETY: every source of the row, and the quotients after them, have a whole batch of
            // elements here.
            unsafe {
                let p = row.as_mut_ptr().add(column);
                let mut sums = [_mm512_setzero_pd(); BATCH];
                for (source, reciprocal) in reciprocals.iter().enumerate() {
                    let (shift, reciprocal) = reciprocal.parts();
                    let (shift, reciprocal) = (_mm_cvtsi32_si128(shift as i32), _mm512_set1_pd(reciprocal));
                    for v in 0..BATCH {
                        let y = load(p.add(source * columns + LANES * v));
                        let y = _mm512_or_si512(_mm512_srl_epi64(y, shift), exponent);
                        let y = _mm512_sub_pd(_mm512_castsi512_pd(y), one_ulp);
                        // Not fused: the scalar code rounds the product, too.
                        sums[v] = _mm512_add_pd(sums[v], _mm512_mul_pd(y, reciprocal));
                    }
                }
                for v in 0..BATCH {
                    let rounded = _mm512_castpd_si512(_mm512_add_pd(sums[v], one_ulp));
                    let to = p.add(reciprocals.len() * columns + LANES * v);
                    store(to, _mm512_and_si512(rounded, low));
                }
            }
        }
    }
}
