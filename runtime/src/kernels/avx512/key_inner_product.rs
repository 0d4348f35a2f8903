//! The inner product of digits with a packed switching key, of all evaluations or of those that a
//! rotation brings to a range.

use std::arch::x86_64::*;

use super::accumulate::{Sum, chunks, terms_at_once};
use super::elementwise::Montgomery;
use super::packing::Unpack;
use super::permutation::turn_blocks;
use super::vector::{LANES, load};
use crate::kernels::packing::PACKED_BLOCK;
use crate::kernels::permutation::{BLOCK, split};
use crate::kernels::{KeyLimb, Modulus, RotatedProduct};

/// How many bytes ahead a switching key is asked for, which streams from memory, at least: whole
/// rows, where digits may be passed over.
const PREFETCHED_BYTES: usize = 8 << 10;

/// Bytes of a cache line.
const LINE: usize = 64;

/// See [`crate::kernels::key_inner_product`].
///
/// # Safety
///
/// AVX-512 F, BW, DQ, IFMA and VBMI; outputs and digits of one length, a multiple of
/// `PACKED_BLOCK`; a key of `2 key.digits` times that many residues, packed in [`KeyLimb::bits`],
/// and 64 bytes more, with the digits that [`KeyLimb::digit`] names.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512ifma,avx512vbmi")]
pub(in crate::kernels) unsafe fn key_inner_product(
    out0: &mut [u64],
    out1: &mut [u64],
    digits: &[&[u64]],
    key: &KeyLimb<'_>,
    m: &Modulus,
) {
    // SAFETY: the caller's promise.
    unsafe { inner_product([out0, out1], digits, key, |block| block, m) }
}

/// See [`crate::kernels::rotated_inner_product`]. The sums of a block's source are written where
/// the block belongs, and turned there.
///
/// # Safety
///
/// AVX-512 F, BW, DQ, IFMA and VBMI; digits and addend of the permutation's degree, a key of `2
/// key.digits` times that many residues, packed in [`KeyLimb::bits`], and 64 bytes more, with the
/// digits that [`KeyLimb::digit`] names; outputs of one length, as many whole blocks as the
/// permutation has from `first` on, or fewer.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512ifma,avx512vbmi")]
pub(in crate::kernels) unsafe fn rotated_inner_product(
    [out0, out1]: [&mut [u64]; 2],
    product: &RotatedProduct<'_>,
    first: usize,
    m: &Modulus,
) {
    let permutation = product.permutation;
    let blocks = &permutation.blocks[first..];
    let Some(last) = blocks.len().checked_sub(1) else { return };
    // What is asked for ahead goes on behind the outputs, where the next range begins: it waits in
    // the second cache.
    let source = |block: usize| split(blocks[block.min(last)]).0 / BLOCK;
    // SAFETY: the caller's promise; sources are blocks of the permutation.
    unsafe {
        inner_product([&mut *out0, &mut *out1], product.digits, &product.key, source, m);
        turn_blocks(out0, product.addend, permutation, blocks, m);
        turn_blocks(out1, None, permutation, blocks, m);
    }
}

/// The sums of block `source(i)` in block `i` of the outputs.
///
/// # Safety
///
/// AVX-512 F, BW, DQ, IFMA and VBMI; outputs of one length, a multiple of `PACKED_BLOCK`. For every
/// block `i` of them, all digits and the key have a block `source(i)`; the key is packed in
/// [`KeyLimb::bits`], has the digits that [`KeyLimb::digit`] names and 64 bytes more. Blocks that
/// `source` names for others are asked for ahead only, and need not exist.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512ifma,avx512vbmi")]
unsafe fn inner_product(
    [out0, out1]: [&mut [u64]; 2],
    digits: &[&[u64]],
    key: &KeyLimb<'_>,
    source: impl Fn(usize) -> usize + Copy,
    m: &Modulus,
) {
    // Between absent digits: each chunk is a row of the key's.
    let (count, mut start, mut passed) = (digits.len(), 0, 0);
    let ends = key.absent.iter().map(|run| {
        let end = run.start - passed;
        passed += run.len();
        end.min(count)
    });
    let runs = ends.chain([count]).filter_map(|end| {
        let run = start..end;
        start = end;
        (!run.is_empty()).then_some(run)
    });
    let none = (count == 0).then_some(0..0);
    let runs = runs.chain(none);
    let at_once = terms_at_once(m.bits(), m);
    let all =
        runs.flat_map(|run| chunks(run.len(), at_once).map(move |c| c.start + run.start..c.end + run.start));
    for chunk in all {
        let half = size_of::<u64>() * key.block_words();
        let terms = Terms {
            factors: &digits[chunk.clone()],
            key: key.words.as_ptr().cast::<u8>().wrapping_add(2 * half * key.digit(chunk.start)),
            half,
            row: 2 * half * key.digits,
            unpack: Unpack::new(key.bits),
            add: chunk.start > 0,
        };
        let (out, blocks) = ([out0.as_mut_ptr(), out1.as_mut_ptr()], out0.len() / PACKED_BLOCK);
        // SAFETY: the caller's promise.
        unsafe {
            if m.ifma() {
                terms.accumulate::<false, 4>(out, blocks, source, m);
            } else {
                terms.accumulate::<true, 2>(out, blocks, source, m);
            }
        }
    }
}

/// Terms that are reduced at once.
struct Terms<'a> {
    factors: &'a [&'a [u64]],
    /// The first block of the first term.
    key: *const u8,
    /// Bytes of a block of one half of one digit.
    half: usize,
    /// Bytes of the blocks of all digits.
    row: usize,
    unpack: Unpack,
    /// Whether they are added to what the outputs hold.
    add: bool,
}

impl Terms<'_> {
    /// `blocks` blocks, `VECTORS` vectors at a time: enough independent sums to hide the
    /// multiplier's latency.
    ///
    /// # Safety
    ///
    /// The outputs must have so many blocks, and factors and key those that `source` names for
    /// them, the key with the digits of the factors.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512ifma,avx512vbmi")]
    unsafe fn accumulate<const W: bool, const VECTORS: usize>(
        &self,
        out: [*mut u64; 2],
        blocks: usize,
        source: impl Fn(usize) -> usize,
        m: &Modulus,
    ) {
        let (montgomery, unpack, half) = (Montgomery::<W>::new(m), self.unpack, self.half);
        let zero = montgomery.field.zero;
        // A term's part of what is asked for.
        let share = 2 * half * VECTORS * LANES / PACKED_BLOCK;
        let distance = PREFETCHED_BYTES.div_ceil(self.row.max(1));
        for block in 0..blocks {
            let mut ahead = self.key.wrapping_add(source(block + distance) * self.row);
            let source_block = source(block);
            for group in 0..PACKED_BLOCK / LANES / VECTORS {
                let part = group * LANES * VECTORS;
                let (at, source_at) = (block * PACKED_BLOCK + part, source_block * PACKED_BLOCK + part);
                let mut key =
                    self.key.wrapping_add(source_block * self.row + group * VECTORS * unpack.stride);
                let mut sums = [[Sum { low: zero, high: zero }; VECTORS]; 2];
                for factor in self.factors {
                    // Every line about once: asking is not free.
                    for line in 0..share.div_ceil(LINE) {
                        _mm_prefetch::<_MM_HINT_T0>(ahead.wrapping_add(line * LINE).cast());
                    }
                    ahead = ahead.wrapping_add(share);
                    for v in 0..VECTORS {
                        let p = key.wrapping_add(v * unpack.stride);
                        // SAFETY: block and group are inside the factors and the key's rows, by the
                        // caller's promise.
                        unsafe {
                            let x = load(factor.as_ptr().add(source_at + LANES * v));
                            sums[0][v].add_product::<W>(x, unpack.load(p));
                            sums[1][v].add_product::<W>(x, unpack.load(p.wrapping_add(half)));
                        }
                    }
                    key = key.wrapping_add(2 * half);
                }
                for (sums, out) in sums.into_iter().zip(out) {
                    for (v, sum) in sums.into_iter().enumerate() {
                        // SAFETY: as above.
                        unsafe { sum.reduce_into(out.add(at + LANES * v), self.add, &montgomery) }
                    }
                }
            }
        }
    }
}
