//! Vectors of eight residues modulo a prime `q`, with 52-bit products for `q < 2^50` and 64-bit
//! ones beyond.
//!
//! The 52-bit multiplier reads the low 52 bits of each lane and adds to a 64-bit accumulator, so
//! lazy values are words modulo `2^52`: bits 52 to 63 may hold anything, and are cleared only
//! before a comparison ([`Field::canonical`]).
//!
//! There is no multiplier for 64-bit words: the high half of a product is put together from four of
//! 32 bits. Whatever is generic over `W` works on 64-bit words where `W` is true, with 2^64 in
//! place of 2^52.

use std::arch::x86_64::*;

use crate::kernels::Modulus;

/// Eight lanes of 64 bits.
pub(super) type V = __m512i;

/// Lanes per vector.
pub(super) const LANES: usize = 8;

/// Splits a length into whole vectors and a tail: the length of the former.
pub(super) const fn whole(len: usize) -> usize {
    len / LANES * LANES
}

/// A multiplier `w < q` and its companion `floor(w * 2^52 / q)`, or `2^64`, in all lanes or lane by
/// lane.
#[derive(Clone, Copy)]
pub(super) struct Multiplier {
    pub(super) w: V,
    pub(super) companion: V,
}

/// The words of a [`Multiplier`].
pub(super) fn encode(w: u64, m: &Modulus) -> [u64; 2] {
    [w, ((u128::from(w) << word_bits(m)) / u128::from(m.value())) as u64]
}

/// Bits of the words that products of residues of `m` are made of.
pub(super) const fn word_bits(m: &Modulus) -> u32 {
    if m.ifma() { 52 } else { 64 }
}

/// Constants of one prime `q < 2^50` in all lanes, or, with `W`, of any from there to `2^61`.
#[derive(Clone, Copy)]
pub(super) struct Field<const W: bool> {
    pub(super) zero: V,
    /// `2^52 - 1`, or all ones.
    pub(super) mask: V,
    pub(super) q: V,
    /// `-q`, both as an addend and, modulo the word, as a factor.
    pub(super) minus_q: V,
    /// `floor(2^52 / q)`, or of `2^64`.
    pub(super) barrett: V,
}

impl<const W: bool> Field<W> {
    /// The constants of `m`, which must have the range.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn new(m: &Modulus) -> Self {
        debug_assert!(W != m.ifma());
        Field {
            zero: _mm512_setzero_si512(),
            mask: splat(u64::MAX >> (64 - word_bits(m))),
            q: splat(m.value()),
            minus_q: splat(m.value().wrapping_neg()),
            barrett: splat(m.reciprocal(word_bits(m))),
        }
    }

    /// `offset + (y * w mod q)`, the product in `[0, 2q)`, for any word `y`: Shoup's product.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn mul_shoup(&self, offset: V, y: V, m: Multiplier) -> V {
        let quotient = add_high::<W>(self.zero, y, m.companion);
        let product = add_low::<W>(offset, y, m.w);
        add_low::<W>(product, quotient, self.minus_q)
    }

    /// `x mod q + k q`, in `[kq, (k + 2)q)`, for any word `x`, given `minus_k = -k`: Barrett's
    /// reduction.
    ///
    /// The quotient estimate is short by less than `x / 2^52 + 1 < 2` (or `2^64`); starting it at
    /// `-k` adds `k q` for nothing.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn reduce_lazy(&self, minus_k: V, x: V) -> V {
        let quotient = add_high::<W>(minus_k, x, self.barrett);
        add_low::<W>(x, quotient, self.minus_q)
    }

    /// A word below `2q` to its residue.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn canonical(&self, x: V) -> V {
        conditional_subtract(if W { x } else { _mm512_and_si512(x, self.mask) }, self.q)
    }

    /// Any word to its residue.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn reduce(&self, x: V) -> V {
        self.canonical(self.reduce_lazy(self.zero, x))
    }
}

/// `sum + floor(a b / 2^52)` of 52-bit words, or, with `W`, of 64-bit ones over `2^64`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn add_high<const W: bool>(sum: V, a: V, b: V) -> V {
    if !W {
        return _mm512_madd52hi_epu64(sum, a, b);
    }
    let (a1, b1) = (_mm512_srli_epi64::<32>(a), _mm512_srli_epi64::<32>(b));
    // Neither sum overflows: a product is at most (2^32 - 1)^2.
    let middle = _mm512_add_epi64(_mm512_mul_epu32(a1, b), _mm512_srli_epi64::<32>(_mm512_mul_epu32(a, b)));
    let low = _mm512_and_si512(middle, splat(u64::MAX >> 32));
    let carry = _mm512_srli_epi64::<32>(_mm512_add_epi64(_mm512_mul_epu32(a, b1), low));
    let high = _mm512_add_epi64(_mm512_mul_epu32(a1, b1), _mm512_srli_epi64::<32>(middle));
    _mm512_add_epi64(_mm512_add_epi64(sum, high), carry)
}

/// `sum + (a b mod 2^52)` of 52-bit words, or, with `W`, of 64-bit ones modulo `2^64`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn add_low<const W: bool>(sum: V, a: V, b: V) -> V {
    if W { _mm512_add_epi64(sum, _mm512_mullo_epi64(a, b)) } else { _mm512_madd52lo_epu64(sum, a, b) }
}

/// `x` in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(x: u64) -> V {
    _mm512_set1_epi64(x as i64)
}

/// `x - m` if `x >= m`, else `x`, as 64-bit words: the wrapped difference is the larger one exactly
/// when `x < m`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn conditional_subtract(x: V, m: V) -> V {
    _mm512_min_epu64(x, _mm512_sub_epi64(x, m))
}

/// The eight words at `p`.
///
/// # Safety
///
/// `p` must be valid for reading eight words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn load(p: *const u64) -> V {
    // SAFETY: the caller's promise; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(p.cast()) }
}

/// Writes eight words at `p`.
///
/// # Safety
///
/// `p` must be valid for writing eight words.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn store(p: *mut u64, x: V) {
    // SAFETY: the caller's promise; the store asks for no alignment.
    unsafe { _mm512_storeu_si512(p.cast(), x) }
}

/// Rows to columns.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn transpose(x: &mut [V; 8]) {
    // Pairs of rows: a[2k] has the even columns of rows 2k and 2k + 1, a[2k + 1] the odd ones.
    let a: [V; 8] = [
        _mm512_unpacklo_epi64(x[0], x[1]),
        _mm512_unpackhi_epi64(x[0], x[1]),
        _mm512_unpacklo_epi64(x[2], x[3]),
        _mm512_unpackhi_epi64(x[2], x[3]),
        _mm512_unpacklo_epi64(x[4], x[5]),
        _mm512_unpackhi_epi64(x[4], x[5]),
        _mm512_unpacklo_epi64(x[6], x[7]),
        _mm512_unpackhi_epi64(x[6], x[7]),
    ];
    // Four rows: 128-bit pieces 0 and 2 (columns c and c + 4), or 1 and 3 (columns c + 2 and c +
    // 6).
    let even = |upper, lower| _mm512_shuffle_i64x2::<0x88>(upper, lower);
    let odd = |upper, lower| _mm512_shuffle_i64x2::<0xdd>(upper, lower);
    let (b04, b26, b15, b37) = (even(a[0], a[2]), odd(a[0], a[2]), even(a[1], a[3]), odd(a[1], a[3]));
    let (c04, c26, c15, c37) = (even(a[4], a[6]), odd(a[4], a[6]), even(a[5], a[7]), odd(a[5], a[7]));
    *x = [
        even(b04, c04),
        even(b15, c15),
        even(b26, c26),
        even(b37, c37),
        odd(b04, c04),
        odd(b15, c15),
        odd(b26, c26),
        odd(b37, c37),
    ];
}
