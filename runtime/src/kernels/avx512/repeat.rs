//! See [`crate::kernels::repeat`].

use std::arch::x86_64::*;

use super::vector::{LANES, store};
use crate::kernels::repeat::rows_and_columns;

/// # Safety
///
/// AVX-512 F; `log_repeat` at most 6; `out` of whole blocks of 64, and `values` as many as they
/// have.
#[target_feature(enable = "avx512f")]
pub(in crate::kernels) unsafe fn repeat_into(out: &mut [u64], values: &[u64], log_repeat: u32) {
    let (r, e) = rows_and_columns(log_repeat);
    let columns = LANES >> e;
    let some = ((1u32 << columns) - 1) as __mmask8;
    let lanes = _mm512_srl_epi64(_mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7), _mm_cvtsi32_si128(e as i32));
    let (out, rows) = (out.as_mut_ptr(), (out.len() / LANES) >> r);
    for row in 0..rows {
        // SAFETY: `rows` times 2^r times eight words make up `out`, and `rows` times `columns` make
        // up `values`, the only ones that the mask lets through.
        unsafe {
            let x = _mm512_maskz_loadu_epi64(some, values.as_ptr().add(row * columns).cast());
            let x = _mm512_permutexvar_epi64(lanes, x);
            let to = out.add((row << r) * LANES);
            for copy in 0..1 << r {
                store(to.add(copy * LANES), x);
            }
        }
    }
}
