//! See [`crate::kernels::quotients`].

use std::arch::x86_64::*;

use super::vector::{LANES, load, splat, store, whole};
use crate::kernels::quotients::Reciprocal;
use crate::kernels::scalar;

/// # Safety
///
/// AVX-512 F; residues as long as `out`.
#[target_feature(enable = "avx512f")]
pub(in crate::kernels) unsafe fn rounded_quotients(
    out: &mut [u64],
    residues: &[&[u64]],
    reciprocals: &[Reciprocal],
) {
    let one_ulp = _mm512_set1_pd(scalar::ONE_ULP);
    let exponent = splat(scalar::ONE_ULP.to_bits());
    let low = splat(0xffff);
    let body = whole(out.len());
    for i in (0..body).step_by(LANES) {
        let mut sum = _mm512_setzero_pd();
        for (residues, reciprocal) in residues.iter().zip(reciprocals) {
            let (shift, reciprocal) = reciprocal.parts();
            // SAFETY: `i` is a multiple of eight below the common length cut to one.
            let y = unsafe { load(residues.as_ptr().add(i)) };
            let y = _mm512_or_si512(_mm512_srl_epi64(y, _mm_cvtsi32_si128(shift as i32)), exponent);
            let y = _mm512_sub_pd(_mm512_castsi512_pd(y), one_ulp);
            // Not fused: the scalar code rounds the product, too.
            sum = _mm512_add_pd(sum, _mm512_mul_pd(y, _mm512_set1_pd(reciprocal)));
        }
        let rounded = _mm512_castpd_si512(_mm512_add_pd(sum, one_ulp));
        // SAFETY: as above.
        unsafe { store(out.as_mut_ptr().add(i), _mm512_and_si512(rounded, low)) };
    }
    scalar::rounded_quotients(body, out, residues, reciprocals);
}
