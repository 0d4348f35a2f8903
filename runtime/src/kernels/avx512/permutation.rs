//! Permutations; see [`crate::kernels::permutation`] for what each computes.

use std::arch::x86_64::*;

use super::elementwise::add;
use super::vector::{LANES, V, load, splat, store, whole};
use crate::kernels::permutation::{BLOCK, Permutation, Turn, reverse_octal, split};
use crate::kernels::{Modulus, scalar};

/// One block of 64: `put(word of the block, vector)` for the eight vectors of the result, given `g`
/// modulo 8, of `get(word of the source block)`. All is got before anything is put; words are
/// multiples of eight below 64.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
fn permute_block<const G: usize>(get: impl Fn(usize) -> V, turn: &Turn, put: impl Fn(usize, V)) {
    // Plain loops: `array::from_fn` is compiled without these features, and costs calls where it is
    // not inlined.
    let zero = _mm512_setzero_si512();
    let (mut rows, mut turned1, mut turned2) = ([zero; 8], [zero; 8], [zero; 8]);
    // SAFETY: an array of eight bytes.
    let lanes = unsafe { _mm512_cvtepu8_epi64(_mm_loadu_si64(turn.lanes.as_ptr())) };
    for row in 0..8 {
        rows[row] = get(LANES * reverse_octal((G * row) & 7));
    }
    // Every lane turns by its own amount, digit by digit; lanes change places with the first.
    for row in 0..8 {
        turned1[row] = _mm512_permutex2var_epi64(rows[row], lanes, rows[(row + 1) & 7]);
    }
    for row in 0..8 {
        turned2[row] = _mm512_mask_blend_epi64(turn.masks[0], turned1[row], turned1[(row + 2) & 7]);
    }
    for row in 0..8 {
        let x = _mm512_mask_blend_epi64(turn.masks[1], turned2[row], turned2[(row + 4) & 7]);
        put(LANES * reverse_octal(row), x);
    }
}

/// [`permute_block`] for any `g` modulo 8.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn permute_block_any(g: usize, get: impl Fn(usize) -> V, turn: &Turn, put: impl Fn(usize, V)) {
    match g {
        1 => permute_block::<1>(get, turn, put),
        3 => permute_block::<3>(get, turn, put),
        5 => permute_block::<5>(get, turn, put),
        _ => permute_block::<7>(get, turn, put),
    }
}

/// `put(vector of out, vector of the permuted a)` for every vector of the blocks `blocks`, given
/// `g` modulo 8.
///
/// # Safety
///
/// AVX-512 F; `out` has 64 words per block, `a` the degree of the permutation, and `blocks` are of
/// it.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn permute<const G: usize>(
    out: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    blocks: &[u32],
    put: impl Fn(*mut u64, V),
) {
    for (out, &entry) in out.chunks_exact_mut(BLOCK).zip(blocks) {
        let (source, carry) = split(entry);
        let (block, out) = (&a[source..][..BLOCK], out.as_mut_ptr());
        // SAFETY: both blocks have 64 words.
        unsafe {
            permute_block::<G>(
                |word| load(block.as_ptr().add(word)),
                &permutation.turns[carry],
                |word, x| put(out.add(word), x),
            )
        }
    }
}

/// [`permute`] for any permutation.
///
/// # Safety
///
/// As for [`permute`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn permute_any(
    out: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    blocks: &[u32],
    put: impl Fn(*mut u64, V),
) {
    // SAFETY: the caller's promise.
    unsafe {
        match permutation.multiplier {
            1 => permute::<1>(out, a, permutation, blocks, put),
            3 => permute::<3>(out, a, permutation, blocks, put),
            5 => permute::<5>(out, a, permutation, blocks, put),
            _ => permute::<7>(out, a, permutation, blocks, put),
        }
    }
}

/// # Safety
///
/// AVX-512 F; `out` has 64 words per block, `a` the degree of the permutation, and `blocks` are of
/// it.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn permute_into(
    out: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    blocks: &[u32],
) {
    // SAFETY: the caller's promise; vectors are written where `permute` says.
    unsafe { permute_any(out, a, permutation, blocks, |out, x| store(out, x)) }
}

/// Turns blocks in their places: every block of `a` holds the source of one of `blocks`, to which
/// the source's block of `addend` is added.
///
/// # Safety
///
/// AVX-512 F; `a` has 64 words per block, `addend` the degree of the permutation, and `blocks` are
/// of it.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) unsafe fn turn_blocks(
    a: &mut [u64],
    addend: Option<&[u64]>,
    permutation: &Permutation,
    blocks: &[u32],
    m: &Modulus,
) {
    let (multiplier, q) = (permutation.multiplier, splat(m.value()));
    for (block, &entry) in a.chunks_exact_mut(BLOCK).zip(blocks) {
        let (source, carry) = split(entry);
        let (turn, block) = (&permutation.turns[carry], block.as_mut_ptr());
        // SAFETY: all blocks have 64 words, and a block is read before it is written.
        unsafe {
            let put = |word: usize, x| store(block.add(word), x);
            match addend {
                Some(addend) => {
                    let addend = addend[source..][..BLOCK].as_ptr();
                    let get = |word: usize| add(load(block.add(word)), load(addend.add(word)), q);
                    permute_block_any(multiplier, get, turn, put);
                }
                None => permute_block_any(multiplier, |word| load(block.add(word)), turn, put),
            }
        }
    }
}

/// # Safety
///
/// AVX-512 F; both slices have the degree of the permutation.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn permute_add_assign(
    sum: &mut [u64],
    a: &[u64],
    permutation: &Permutation,
    m: &Modulus,
) {
    let q = splat(m.value());
    // SAFETY: the caller's promise; vectors are read and written where `permute` says.
    unsafe {
        permute_any(sum, a, permutation, &permutation.blocks, |sum, x| store(sum, add(load(sum), x, q)))
    }
}

/// Gathers; indices are checked before they are used.
///
/// # Safety
///
/// AVX-512 F; `out` and `index` of equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn gather_into(out: &mut [u64], a: &[u64], index: &[u32]) {
    let len = index.len();
    let bound = splat(a.len() as u64);
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len, and lanes whose index is not below the length of `a` are not
        // gathered.
        unsafe {
            let indices = _mm512_cvtepu32_epi64(_mm256_loadu_si256(index.as_ptr().add(i).cast()));
            let valid = _mm512_cmplt_epu64_mask(indices, bound);
            assert_eq!(valid, 0xff, "an index is not below {}", a.len());
            let values = _mm512_mask_i64gather_epi64::<8>(bound, valid, indices, a.as_ptr().cast());
            store(out.as_mut_ptr().add(i), values);
        }
    }
    scalar::gather_into(&mut out[whole(len)..], a, &index[whole(len)..]);
}
