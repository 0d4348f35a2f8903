//! Basis conversions in tiles; see [`crate::kernels::tiles`].

use std::arch::x86_64::*;
use std::ops::Range;

use super::accumulate::{Sum, terms_at_once};
use super::elementwise::Montgomery;
use super::vector::{LANES, load, splat, store};
use crate::kernels::Modulus;
use crate::kernels::tiles::Tiles;

/// Vectors worked on at a time: enough independent sums to hide the multiplier's latency.
pub(super) const BATCH: usize = Tiles::COLUMNS / LANES;

/// Whether [`convert_tile`] takes sources of so many bits.
pub(in crate::kernels) fn converts_tiles(source_bits: &[u32], m: &Modulus) -> bool {
    let most = source_bits.iter().copied().max().unwrap_or(1);
    m.ifma() && most <= 52 && source_bits.len() <= terms_at_once(most, m)
}

/// The conversion of one tile, `[row][column]`, in words below `2^52` that are not canonical yet.
/// Meanwhile it asks for the words `ahead` of the tile.
///
/// # Safety
///
/// AVX-512 F, DQ and IFMA; a tile of as many sources as factors, residues of primes with
/// [`converts_tiles`], and `out` as long as one of them.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn convert_tile(
    out: &mut [u64],
    tile: &[u64],
    columns: usize,
    factors: &[u64],
    ahead: Range<usize>,
    m: &Modulus,
) {
    let montgomery = Montgomery::<false>::new(m);
    let zero = montgomery.field.zero;
    let mut asked = tile.as_ptr().wrapping_add(ahead.start);
    let asks = ahead.len() / LANES * Tiles::COLUMNS / out.len();
    let mut to = out.as_mut_ptr();
    for row in tile.chunks_exact(factors.len() * columns) {
        for column in (0..columns).step_by(Tiles::COLUMNS) {
            for _ in 0..asks {
                _mm_prefetch::<_MM_HINT_T0>(asked.cast());
                asked = asked.wrapping_add(LANES);
            }
            let mut from = row.as_ptr().wrapping_add(column);
            let mut sums = [Sum { low: zero, high: zero }; BATCH];
            for &factor in factors {
                let factor = splat(factor);
                for v in 0..BATCH {
                    // SAFETY: every source has a whole batch of elements here.
                    let x = unsafe { load(from.add(LANES * v)) };
                    sums[v].add_product::<false>(x, factor);
                }
                from = from.wrapping_add(columns);
            }
            for v in 0..BATCH {
                // SAFETY: the output has as many batches as the tile has of each source.
                unsafe { store(to.add(LANES * v), sums[v].word(&montgomery)) }
            }
            to = to.wrapping_add(Tiles::COLUMNS);
        }
    }
}
