//! Basis conversions in tiles; see [`crate::kernels::tiles`].

use std::arch::x86_64::*;
use std::ops::Range;

use super::accumulate::{Sum, terms_at_once};
use super::elementwise::Montgomery;
use super::vector::{LANES, V, load, splat, store};
use crate::kernels::quotients::Reciprocal;
use crate::kernels::tiles::Tiles;
use crate::kernels::{Modulus, scalar};

/// Vectors worked on at a time: enough independent sums to hide the multiplier's latency.
const BATCH: usize = Tiles::COLUMNS / LANES;

/// Whether [`convert_tile`] takes sources of so many bits.
pub(in crate::kernels) fn converts_tiles(source_bits: &[u32], m: &Modulus) -> bool {
    let most = source_bits.iter().copied().max().unwrap_or(1);
    m.ifma() && most <= 52 && source_bits.len() <= terms_at_once(most, m)
}

/// The conversion of one tile, `[row][column]`, in words below `2^52` that are not canonical yet. Meanwhile it asks for the words `ahead` of the tile.
///
/// # Safety
///
/// AVX-512 F, DQ and IFMA; a tile of as many sources as factors, residues of primes with [`converts_tiles`], and `out` as long as one of them.
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
            // SAFETY: every source of the row, and the quotients after them, have a whole batch of elements here.
            unsafe {
                let p = row.as_mut_ptr().add(column);
                let mut sums = [_mm512_setzero_pd(); BATCH];
                for (source, reciprocal) in reciprocals.iter().enumerate() {
                    let (shift, reciprocal) = reciprocal.parts();
                    let (shift, reciprocal) = (_mm_cvtsi32_si128(shift as i32), _mm512_set1_pd(reciprocal));
                    for v in 0..BATCH {
                        let y: V = load(p.add(source * columns + LANES * v));
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
