//! Sums of products with 104-bit accumulators, or 128-bit ones for primes beyond `2^50`, and one
//! Montgomery reduction per chunk of terms.

use std::arch::x86_64::*;
use std::ops::Range;

use super::elementwise::Montgomery;
use super::vector::{
    LANES, V, add_high, add_low, conditional_subtract, load, splat, store, whole, word_bits,
};
use crate::kernels::{Modulus, scalar};

/// Vectors of output worked on at a time, enough independent accumulators to hide the multiplier's
/// latency.
const BATCH: usize = 2;

/// The same for a basis conversion, which has one sum per output.
const CONVERTED: usize = 4;

/// How many products of a word below `2^bits` and a residue of `m` can be reduced at once: with the
/// carries from the low halves and `q` more, the sum of the high halves must stay below `2^52`.
pub(super) fn terms_at_once(bits: u32, m: &Modulus) -> usize {
    let high_half = |bits: u32| ((u128::from(m.value()) << bits) >> word_bits(m)) as u64 + 2;
    if !m.ifma() {
        // The sum of the high halves and q stay below 2^64.
        return ((u64::MAX - m.value()) / high_half(bits)) as usize;
    }
    // A word above 2^52 makes two products, of its low 52 bits and of the rest.
    let high = high_half(bits.min(52)) + if bits > 52 { high_half(bits - 52) } else { 0 };
    // The low halves, below 2^52 each, are added up in 64 bits.
    (((1 << 52) - m.value()) / high).min(1 << 11) as usize
}

/// Ranges of at most `size` terms; one, empty, if there are none.
pub(super) fn chunks(terms: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..terms.max(1)).step_by(size).map(move |start| start..terms.min(start + size))
}

/// A sum of products: low and high halves, each exact in 64 bits.
#[derive(Clone, Copy)]
pub(super) struct Sum {
    pub(super) low: V,
    pub(super) high: V,
}

impl Sum {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn add_product<const W: bool>(&mut self, a: V, b: V) {
        let low = add_low::<W>(self.low, a, b);
        self.high = add_high::<W>(self.high, a, b);
        if W {
            let carry = _mm512_cmplt_epu64_mask(low, self.low);
            self.high = _mm512_mask_add_epi64(self.high, carry, self.high, splat(1));
        }
        self.low = low;
    }

    /// The residue of the sum times `2^-52` or `2^-64`, as a word of as many bits.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn word<const W: bool>(self, m: &Montgomery<W>) -> V {
        let carry = if W { m.field.zero } else { _mm512_srli_epi64::<52>(self.low) };
        m.reduce(self.low, _mm512_add_epi64(self.high, carry))
    }

    /// The residue of the sum times `2^-52` or `2^-64`, plus the residues at `out` if `add`;
    /// written to `out`.
    ///
    /// # Safety
    ///
    /// `out` must be valid for eight words.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) unsafe fn reduce_into<const W: bool>(self, out: *mut u64, add: bool, m: &Montgomery<W>) {
        let mut residue = m.field.reduce(self.word(m));
        // SAFETY: the caller's promise.
        unsafe {
            if add {
                residue = conditional_subtract(_mm512_add_epi64(residue, load(out)), m.field.q);
            }
            store(out, residue);
        }
    }
}

/// See [`crate::kernels::pair_products`].
///
/// # Safety
///
/// AVX-512 F, DQ and IFMA; all slices of equal lengths, as many operands of each half as factors.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn pair_products(
    out0: &mut [u64],
    out1: &mut [u64],
    factors: &[&[u64]],
    operands0: &[&[u64]],
    operands1: &[&[u64]],
    accumulate: bool,
    m: &Modulus,
) {
    let body = whole(out0.len());
    let batches = body / (BATCH * LANES) * (BATCH * LANES);
    for chunk in chunks(factors.len(), terms_at_once(m.bits(), m)) {
        let add = accumulate || chunk.start > 0;
        let pairs = [&operands0[chunk.clone()], &operands1[chunk.clone()]];
        let operands = Operands { factors: &factors[chunk], pairs };
        let out = [out0.as_mut_ptr(), out1.as_mut_ptr()];
        // SAFETY: the ranges end at or before the common length, and their lengths are multiples of
        // the batch.
        unsafe {
            if m.ifma() {
                operands.accumulate::<false, BATCH>(out, 0..batches, add, m);
                operands.accumulate::<false, 1>(out, batches..body, add, m);
            } else {
                operands.accumulate::<true, 1>(out, 0..body, add, m);
            }
        }
    }
    scalar::pair_products(body, out0, out1, factors, operands0, operands1, accumulate, m);
}

/// Terms of a sum of products that are reduced at once.
struct Operands<'a> {
    factors: &'a [&'a [u64]],
    /// One slice per half and term.
    pairs: [&'a [&'a [u64]]; 2],
}

impl Operands<'_> {
    /// The elements of `range`, `VECTORS` vectors at a time.
    ///
    /// # Safety
    ///
    /// `range` must lie inside all operands and outputs, its length be a multiple of `8 * VECTORS`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn accumulate<const W: bool, const VECTORS: usize>(
        &self,
        out: [*mut u64; 2],
        range: Range<usize>,
        add: bool,
        m: &Modulus,
    ) {
        let montgomery = Montgomery::<W>::new(m);
        let zero = montgomery.field.zero;
        for i in range.step_by(LANES * VECTORS) {
            let mut sums = [[Sum { low: zero, high: zero }; VECTORS]; 2];
            for (t, factor) in self.factors.iter().enumerate() {
                for v in 0..VECTORS {
                    let at = i + LANES * v;
                    // SAFETY: at + LANES <= range.end.
                    unsafe {
                        let x = load(factor.as_ptr().add(at));
                        let y0 = load(self.pairs[0].get_unchecked(t).as_ptr().add(at));
                        let y1 = load(self.pairs[1].get_unchecked(t).as_ptr().add(at));
                        sums[0][v].add_product::<W>(x, y0);
                        sums[1][v].add_product::<W>(x, y1);
                    }
                }
            }
            for half in 0..2 {
                for v in 0..VECTORS {
                    // SAFETY: as above.
                    unsafe { sums[half][v].reduce_into(out[half].add(i + LANES * v), add, &montgomery) }
                }
            }
        }
    }
}

/// See [`crate::kernels::tile_products`].
///
/// # Safety
///
/// AVX-512 F, DQ and IFMA; outputs of one length, a multiple of `8 * 2^log_repeat`; all columns
/// inside `operands`, and a factor at every stride inside `factors`.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn tile_products(
    out0: &mut [u64],
    out1: &mut [u64],
    factors: &[u64],
    stride: usize,
    log_repeat: u32,
    operands: &[u64],
    columns: &[u32],
    accumulate: bool,
    m: &Modulus,
) {
    let len = out0.len();
    for chunk in chunks(columns.len(), terms_at_once(m.bits(), m)) {
        let tile = Tile {
            factors: factors.as_ptr().wrapping_add(chunk.start * stride),
            stride,
            log_repeat,
            operands: operands.as_ptr(),
            len,
            columns: &columns[chunk.clone()],
            add: accumulate || chunk.start > 0,
        };
        let out = [out0.as_mut_ptr(), out1.as_mut_ptr()];
        let batches = len / (BATCH * LANES) * (BATCH * LANES);
        // SAFETY: the caller's promise; the ranges end at or before the length and are whole
        // numbers of batches. With repetition neighbouring vectors of an even start share a factor.
        unsafe {
            if !m.ifma() {
                tile.accumulate::<true, 1, 1>(out, 0..len, m);
                continue;
            }
            if log_repeat == 0 {
                tile.accumulate::<false, BATCH, BATCH>(out, 0..batches, m);
            } else {
                tile.accumulate::<false, BATCH, 1>(out, 0..batches, m);
            }
            tile.accumulate::<false, 1, 1>(out, batches..len, m);
        }
    }
}

/// Terms of a tile that are reduced at once.
struct Tile<'a> {
    factors: *const u64,
    stride: usize,
    log_repeat: u32,
    operands: *const u64,
    len: usize,
    columns: &'a [u32],
    add: bool,
}

impl Tile<'_> {
    /// The elements of `range`, `VECTORS` vectors at a time, with as many different `VALUES` of a
    /// factor.
    ///
    /// # Safety
    ///
    /// `range` must lie inside the tile, its length be a multiple of `8 * VECTORS`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    unsafe fn accumulate<const W: bool, const VECTORS: usize, const VALUES: usize>(
        &self,
        out: [*mut u64; 2],
        range: Range<usize>,
        m: &Modulus,
    ) {
        let montgomery = Montgomery::<W>::new(m);
        let zero = montgomery.field.zero;
        for i in range.step_by(LANES * VECTORS) {
            let mut sums = [[Sum { low: zero, high: zero }; VECTORS]; 2];
            let value = ((i / LANES) >> self.log_repeat) * LANES;
            for (t, &column) in self.columns.iter().enumerate() {
                // SAFETY: factors and columns reach as far as the tile does.
                unsafe {
                    let factor = self.factors.add(t * self.stride + value);
                    let operand = self.operands.add(2 * column as usize * self.len + i);
                    let mut x = [zero; VECTORS];
                    for v in 0..VECTORS {
                        x[v] = if v < VALUES { load(factor.add(LANES * v)) } else { x[0] };
                    }
                    for half in 0..2 {
                        for v in 0..VECTORS {
                            sums[half][v]
                                .add_product::<W>(x[v], load(operand.add(half * self.len + LANES * v)));
                        }
                    }
                }
            }
            for half in 0..2 {
                for v in 0..VECTORS {
                    // SAFETY: as above.
                    unsafe { sums[half][v].reduce_into(out[half].add(i + LANES * v), self.add, &montgomery) }
                }
            }
        }
    }
}

/// See [`crate::kernels::basis_convert`].
///
/// # Safety
///
/// AVX-512 F, DQ and IFMA; all slices of equal lengths, as many factors as sources.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn basis_convert(
    out: &mut [u64],
    sources: &[&[u64]],
    source_bits: &[u32],
    factors: &[u64],
    m: &Modulus,
) {
    let most = source_bits.iter().copied().max().unwrap_or(1);
    let body = whole(out.len());
    let batches = body / (CONVERTED * LANES) * (CONVERTED * LANES);
    for chunk in chunks(sources.len(), terms_at_once(most, m)) {
        let add = chunk.start > 0;
        let sources = (&sources[chunk.clone()], &source_bits[chunk.clone()]);
        let factors = &factors[chunk];
        let p = out.as_mut_ptr();
        // SAFETY: the ranges end at or before the common length, and their lengths are multiples of
        // the batch.
        unsafe {
            if !m.ifma() {
                convert::<true, CONVERTED, false>(p, sources, factors, 0..batches, add, m);
                convert::<true, 1, false>(p, sources, factors, batches..body, add, m);
            } else if most <= 52 {
                convert::<false, CONVERTED, false>(p, sources, factors, 0..batches, add, m);
                convert::<false, 1, false>(p, sources, factors, batches..body, add, m);
            } else {
                convert::<false, CONVERTED, true>(p, sources, factors, 0..batches, add, m);
                convert::<false, 1, true>(p, sources, factors, batches..body, add, m);
            }
        }
    }
    scalar::basis_convert(body, out, sources, factors, m);
}

/// The elements of `range`, `VECTORS` vectors at a time; with `SPLIT` sources of more bits are
/// split at bit 52.
///
/// # Safety
///
/// `range` must lie inside all sources and the output, its length be a multiple of `8 * VECTORS`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn convert<const W: bool, const VECTORS: usize, const SPLIT: bool>(
    out: *mut u64,
    (sources, bits): (&[&[u64]], &[u32]),
    factors: &[u64],
    range: Range<usize>,
    add: bool,
    m: &Modulus,
) {
    let montgomery = Montgomery::<W>::new(m);
    let zero = montgomery.field.zero;
    for i in range.step_by(LANES * VECTORS) {
        let mut sums = [Sum { low: zero, high: zero }; VECTORS];
        for ((source, &bits), &factor) in sources.iter().zip(bits).zip(factors) {
            let split = SPLIT && bits > 52;
            let low_factor = splat(factor);
            let high_factor = if split { splat(m.to_montgomery(factor)) } else { zero };
            for v in 0..VECTORS {
                // SAFETY: i + LANES * (v + 1) <= range.end.
                let x = unsafe { load(source.as_ptr().add(i + LANES * v)) };
                sums[v].add_product::<W>(x, low_factor);
                if split {
                    sums[v].add_product::<W>(_mm512_srli_epi64::<52>(x), high_factor);
                }
            }
        }
        for v in 0..VECTORS {
            // SAFETY: as above.
            unsafe { sums[v].reduce_into(out.add(i + LANES * v), add, &montgomery) }
        }
    }
}
