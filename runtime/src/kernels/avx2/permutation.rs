//! Permutations by gathers; see [`crate::kernels::permutation`] for what each computes.
//!
//! Shuffling registers as AVX-512 does would take four times the instructions here, with lanes that
//! cross halves.

use std::arch::x86_64::*;

use super::elementwise::{add, splat};
use super::vector::{LANES, load, store, whole};
use crate::kernels::permutation::{BLOCK, Permutation, split};
use crate::kernels::{Modulus, scalar};

/// `put(vector of out, vector of the permuted a)` for every vector of the blocks `blocks`.
///
/// # Safety
///
/// AVX2; `out` has 64 words per block, `a` the degree of the permutation, and `blocks` are of it.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn permute(
    out: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    blocks: &[u32],
    put: impl Fn(*mut u64, __m256d),
) {
    for (out, &entry) in out.chunks_exact_mut(BLOCK).zip(blocks) {
        let (source, carry) = split(entry);
        let block = &a[source..][..BLOCK];
        let places = &permutation.places[carry];
        for (out, places) in out.chunks_exact_mut(LANES).zip(places.chunks_exact(LANES)) {
            // SAFETY: places are below 64, the length of the block; both chunks have four elements.
            unsafe {
                let places = _mm_loadu_si32(places.as_ptr().cast());
                let values = _mm256_i64gather_pd::<8>(block.as_ptr().cast(), _mm256_cvtepu8_epi64(places));
                put(out.as_mut_ptr(), values);
            }
        }
    }
}

/// # Safety
///
/// AVX2 and FMA; `out` has 64 words per block, `a` the degree of the permutation, and `blocks` are
/// of it.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn permute_into(
    out: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    blocks: &[u32],
) {
    // SAFETY: the caller's promise; vectors are written where `permute` says.
    unsafe { permute(out, a, permutation, blocks, |out, x| store(out, x)) }
}

/// # Safety
///
/// AVX2 and FMA; both slices have the degree of the permutation.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn permute_add_assign(
    sum: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    m: &Modulus,
) {
    let q = splat(m.value());
    let put = |sum: *mut u64, x| {
        // SAFETY: vectors are read and written where `permute` says.
        unsafe {
            let total = add(_mm256_castpd_si256(load(sum)), _mm256_castpd_si256(x), q);
            store(sum, _mm256_castsi256_pd(total));
        }
    };
    // SAFETY: the caller's promise.
    unsafe { permute(sum, a, permutation, &permutation.blocks, put) }
}

/// Gathers; indices are checked before they are used.
///
/// # Safety
///
/// AVX2; `out` and `index` of equal lengths.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn gather_into(out: &mut [u64], a: &[u64], index: &[u32]) {
    let len = index.len();
    let bound = splat(a.len() as u64);
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len; all four indices are below the length of `a` when they are
        // used.
        unsafe {
            let indices = _mm256_cvtepu32_epi64(_mm_loadu_si128(index.as_ptr().add(i).cast()));
            let valid = _mm256_castsi256_pd(_mm256_cmpgt_epi64(bound, indices));
            assert_eq!(_mm256_movemask_pd(valid), 0b1111, "an index is not below {}", a.len());
            store(out.as_mut_ptr().add(i), _mm256_i64gather_pd::<8>(a.as_ptr().cast(), indices));
        }
    }
    scalar::gather_into(&mut out[whole(len)..], a, &index[whole(len)..]);
}
