//! Vectors of four residues modulo a prime `q < 2^50`, held as doubles.
//!
//! Doubles carry integers below `2^53` exactly, and a fused multiply-add gives both halves of a
//! product: with `h = fl(yw)` the rest `yw - h` is exact. Lazy values are signed and bounded by
//! `4q`. (Method: van der Hoeven, Lecerf and Quintin, *Modular SIMD arithmetic in Mathemagix*,
//! 2016, section 3.)

use std::arch::x86_64::*;

use crate::kernels::Modulus;

/// Four doubles, each an integer.
pub(super) type V = __m256d;

/// Lanes per vector.
pub(super) const LANES: usize = 4;

/// Splits a length into whole vectors and a tail: the length of the former.
pub(super) const fn whole(len: usize) -> usize {
    len / LANES * LANES
}

/// `2^52`: the bits of `2^52 + x` are those of `2^52` with `x` in the low 52, for integers `0 <= x
/// < 2^52`.
const TWO_52: f64 = (1u64 << 52) as f64;

/// `1.5 * 2^52`: adding it rounds to the nearest integer what is below `2^51` in absolute value.
const ROUNDER: f64 = 1.5 * TWO_52;

/// A centred multiplier `|w| < q/2` and `fl(w / q)`.
#[derive(Clone, Copy)]
pub(super) struct Multiplier {
    pub(super) w: V,
    pub(super) quotient: V,
}

/// The words of a [`Multiplier`]: the bits of two doubles.
pub(super) fn encode(w: u64, m: &Modulus) -> [u64; 2] {
    let q = m.value();
    let centred = if w > q / 2 { w as f64 - q as f64 } else { w as f64 };
    [centred.to_bits(), (centred / q as f64).to_bits()]
}

/// Constants of one prime `q < 2^50` in all lanes.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) zero: V,
    pub(super) q: V,
    /// `fl(1 / q)`.
    pub(super) reciprocal: V,
    rounder: V,
    two_52: V,
}

impl Field {
    /// The constants of `m`, which must be below `2^50`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn new(m: &Modulus) -> Self {
        debug_assert!(m.ifma());
        let q = m.value() as f64;
        Field {
            zero: _mm256_setzero_pd(),
            q: _mm256_set1_pd(q),
            reciprocal: _mm256_set1_pd(1.0 / q),
            rounder: _mm256_set1_pd(ROUNDER),
            two_52: _mm256_set1_pd(TWO_52),
        }
    }

    /// `fl(a b + 1.5 * 2^52) - 1.5 * 2^52`: the integer nearest to `ab`, given `|ab| < 2^51`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn round_product(&self, a: V, b: V) -> V {
        _mm256_sub_pd(_mm256_fmadd_pd(a, b, self.rounder), self.rounder)
    }

    /// `y w mod q` for `|y| <= Bq`, `B <= 4`, in absolute value at most `(1/2 + B/16) q`.
    ///
    /// `|yw / q| <= B/2 * 2^50 <= 2^51`, and the stored `w / q` is off by `2^-53` of itself, so the
    /// quotient is off by at most `1/2 + B/16`. Both differences below are integers under `2^53`,
    /// hence exact.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn mul(&self, y: V, m: Multiplier) -> V {
        let quotient = self.round_product(y, m.quotient);
        self.remainder(y, m.w, quotient)
    }

    /// `a b - quotient * q`, given that it is below `2^52` in absolute value.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn remainder(&self, a: V, b: V, quotient: V) -> V {
        let high = _mm256_mul_pd(a, b);
        let low = _mm256_fmsub_pd(a, b, high);
        _mm256_add_pd(_mm256_fnmadd_pd(quotient, self.q, high), low)
    }

    /// `x mod q` in absolute value at most `q/2` and a hair, for `|x| < 2^53` with `|x / q| <
    /// 2^51`.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn reduce_lazy(&self, x: V) -> V {
        _mm256_fnmadd_pd(self.round_product(x, self.reciprocal), self.q, x)
    }

    /// The residue, in `[0, q)`, of `|x| < q`. (A negative zero is zero, so signs are compared, not
    /// read.)
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn canonical(&self, x: V) -> V {
        let negative = _mm256_cmp_pd::<_CMP_LT_OQ>(x, self.zero);
        _mm256_add_pd(x, _mm256_and_pd(negative, self.q))
    }

    /// The doubles of four words below `2^52` at `p`.
    ///
    /// # Safety
    ///
    /// `p` must be valid for reading four words.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn load_words(&self, p: *const u64) -> V {
        // SAFETY: the caller's promise.
        self.words(unsafe { load(p) })
    }

    /// The four words below `2^52` in `words` as numbers.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn words(&self, words: V) -> V {
        _mm256_sub_pd(_mm256_or_pd(words, self.two_52), self.two_52)
    }

    /// Writes the four integers `0 <= x < 2^52` as words at `p`.
    ///
    /// # Safety
    ///
    /// `p` must be valid for writing four words.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn store_words(&self, p: *mut u64, x: V) {
        // SAFETY: the caller's promise.
        unsafe { store(p, _mm256_xor_pd(_mm256_add_pd(x, self.two_52), self.two_52)) }
    }
}

/// The bits of one word as a double, in all lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat_bits(bits: u64) -> V {
    _mm256_set1_pd(f64::from_bits(bits))
}

/// Four doubles at `p`.
///
/// # Safety
///
/// `p` must be valid for reading four words.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn load(p: *const u64) -> V {
    // SAFETY: the caller's promise; the load asks for no alignment.
    unsafe { _mm256_loadu_pd(p.cast()) }
}

/// Writes four doubles at `p`.
///
/// # Safety
///
/// `p` must be valid for writing four words.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn store(p: *mut u64, x: V) {
    // SAFETY: the caller's promise; the store asks for no alignment.
    unsafe { _mm256_storeu_pd(p.cast(), x) }
}

/// Rows to columns, 4 by 4.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transpose(x: [V; 4]) -> [V; 4] {
    let (a, b) = (_mm256_unpacklo_pd(x[0], x[1]), _mm256_unpackhi_pd(x[0], x[1]));
    let (c, d) = (_mm256_unpacklo_pd(x[2], x[3]), _mm256_unpackhi_pd(x[2], x[3]));
    [
        _mm256_permute2f128_pd::<0x20>(a, c),
        _mm256_permute2f128_pd::<0x20>(b, d),
        _mm256_permute2f128_pd::<0x31>(a, c),
        _mm256_permute2f128_pd::<0x31>(b, d),
    ]
}
