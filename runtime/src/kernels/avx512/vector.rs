//! Vectors of eight residues modulo a prime `q < 2^50`, with 52-bit products.
//!
//! The multiplier reads the low 52 bits of each lane and adds to a 64-bit accumulator, so lazy values are words modulo
//! `2^52`: bits 52 to 63 may hold anything, and are cleared only before a comparison ([`Field::canonical`]).

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

/// A multiplier `w < q` and its companion `floor(w * 2^52 / q)`, in all lanes or lane by lane.
#[derive(Clone, Copy)]
pub(super) struct Multiplier {
    pub(super) w: V,
    pub(super) companion: V,
}

/// The words of a [`Multiplier`].
pub(super) fn encode(w: u64, m: &Modulus) -> [u64; 2] {
    [w, ((u128::from(w) << 52) / u128::from(m.value())) as u64]
}

/// Constants of one prime `q < 2^50` in all lanes.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) zero: V,
    /// `2^52 - 1`.
    pub(super) mask: V,
    pub(super) q: V,
    /// `-q`, both as an addend and, modulo `2^52`, as a factor.
    pub(super) minus_q: V,
    /// `floor(2^52 / q)`.
    pub(super) barrett: V,
}

impl Field {
    /// The constants of `m`, which must have the 52-bit range.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn new(m: &Modulus) -> Self {
        debug_assert!(m.ifma());
        Field {
            zero: _mm512_setzero_si512(),
            mask: splat((1 << 52) - 1),
            q: splat(m.value()),
            minus_q: splat(m.value().wrapping_neg()),
            barrett: splat((1 << 52) / m.value()),
        }
    }

    /// `offset + (y * w mod q)`, the product in `[0, 2q)`, for any 52-bit `y`: Shoup's product.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn mul_shoup(&self, offset: V, y: V, m: Multiplier) -> V {
        let quotient = _mm512_madd52hi_epu64(self.zero, y, m.companion);
        let product = _mm512_madd52lo_epu64(offset, y, m.w);
        _mm512_madd52lo_epu64(product, quotient, self.minus_q)
    }

    /// `x mod q + k q`, in `[kq, (k + 2)q)`, for any 52-bit `x`, given `minus_k = -k`: Barrett's reduction.
    ///
    /// The quotient estimate is short by less than `x / 2^52 + 1 < 2`; starting it at `-k` adds `k q` for nothing.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn reduce_lazy(&self, minus_k: V, x: V) -> V {
        let quotient = _mm512_madd52hi_epu64(minus_k, x, self.barrett);
        _mm512_madd52lo_epu64(x, quotient, self.minus_q)
    }

    /// A word below `2q` to its residue.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn canonical(&self, x: V) -> V {
        conditional_subtract(_mm512_and_si512(x, self.mask), self.q)
    }

    /// Any 52-bit word to its residue.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    pub(super) fn reduce(&self, x: V) -> V {
        self.canonical(self.reduce_lazy(self.zero, x))
    }
}

/// `x` in all lanes.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn splat(x: u64) -> V {
    _mm512_set1_epi64(x as i64)
}

/// `x - m` if `x >= m`, else `x`, as 64-bit words: the wrapped difference is the larger one exactly when `x < m`.
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
    // Four rows: 128-bit pieces 0 and 2 (columns c and c + 4), or 1 and 3 (columns c + 2 and c + 6).
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
