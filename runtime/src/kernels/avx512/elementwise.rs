//! Element-wise kernels; see [`crate::kernels::elementwise`] for what each computes.
//!
//! Sums and differences take any prime, and so do products with one factor in Montgomery form or
//! one for all. Other products and reductions take primes below `2^50` only;
//! [`crate::kernels::elementwise`] sends the others to the scalar code, as these functions do with
//! the elements after the last whole vector.

use std::arch::x86_64::*;

use super::vector::{
    Field, LANES, Multiplier, V, add_high, add_low, conditional_subtract, encode, load, splat, store, whole,
};
use crate::kernels::{Modulus, scalar};

/// `out[i] ← f(a[i])` for the whole vectors of `len` words; `out` may be `a`.
///
/// # Safety
///
/// The pointers must be valid for `len` words, the processor must have what `f` needs.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn map(out: *mut u64, a: *const u64, len: usize, f: impl Fn(V) -> V) {
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len.
        unsafe { store(out.add(i), f(load(a.add(i)))) }
    }
}

/// `out[i] ← f(a[i], b[i])` for the whole vectors of `len` words; `out` may be `a` or `b`.
///
/// # Safety
///
/// As for [`map`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn zip(out: *mut u64, a: *const u64, b: *const u64, len: usize, f: impl Fn(V, V) -> V) {
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len.
        unsafe { store(out.add(i), f(load(a.add(i)), load(b.add(i)))) }
    }
}

/// `acc[i] ← f(acc[i], a[i], b[i])` for the whole vectors of `len` words.
///
/// # Safety
///
/// As for [`map`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn zip_add(acc: *mut u64, a: *const u64, b: *const u64, len: usize, f: impl Fn(V, V, V) -> V) {
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len.
        unsafe { store(acc.add(i), f(load(acc.add(i)), load(a.add(i)), load(b.add(i)))) }
    }
}

/// `a + b mod q`.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn add(a: V, b: V, q: V) -> V {
    conditional_subtract(_mm512_add_epi64(a, b), q)
}

/// `a - b mod q`: when it wraps, adding `q` gives the smaller word.
#[inline]
#[target_feature(enable = "avx512f")]
fn sub(a: V, b: V, q: V) -> V {
    let difference = _mm512_sub_epi64(a, b);
    _mm512_min_epu64(difference, _mm512_add_epi64(difference, q))
}

/// Constants for products of two residues, `k` being the bits of `q`.
#[derive(Clone, Copy)]
struct Product {
    field: Field<false>,
    /// `52 - k`, a shift count.
    shift: __m128i,
    /// `floor(2^(k - 2 + 52) / q)`, below `2^51`.
    quotient: V,
    two_q: V,
}

impl Product {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn new(m: &Modulus) -> Self {
        let k = m.bits();
        Product {
            field: Field::new(m),
            shift: _mm_cvtsi64_si128(i64::from(52 - k)),
            quotient: splat(((1u128 << (k - 2 + 52)) / u128::from(m.value())) as u64),
            two_q: splat(2 * m.value()),
        }
    }

    /// `c + a * b mod q`.
    ///
    /// With both factors shifted up to 52 bits, by `52 - k` and by 2, the high half is `x =
    /// floor(ab / 2^(k - 2))`, below `2^52`. The quotient estimate from it is short of `ab / q` by
    /// less than `1/2 + 1 + 1`, so `c` plus the remainder is below `4q`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn mul_add(&self, c: V, a: V, b: V) -> V {
        let f = &self.field;
        let (high_a, high_b) = (_mm512_sll_epi64(a, self.shift), _mm512_slli_epi64::<2>(b));
        let x = _mm512_madd52hi_epu64(f.zero, high_a, high_b);
        let quotient = _mm512_madd52hi_epu64(f.zero, x, self.quotient);
        let sum = _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(c, a, b), quotient, f.minus_q);
        conditional_subtract(conditional_subtract(_mm512_and_si512(sum, f.mask), self.two_q), f.q)
    }
}

/// Constants for products with one factor in Montgomery form.
#[derive(Clone, Copy)]
pub(super) struct Montgomery<const W: bool> {
    pub(super) field: Field<W>,
    /// `q^-1` modulo the word.
    inverse: V,
}

impl<const W: bool> Montgomery<W> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn new(m: &Modulus) -> Self {
        Montgomery { field: Field::new(m), inverse: splat(m.inverse_mod_word()) }
    }

    /// `(high * 2^52 + low) * 2^-52 + q mod q`: in `(high, high + q]`, exact as a 64-bit word,
    /// given `high` below `2^64 - q` and `low` below `2^52` (its higher bits are not read). With
    /// `W`, of `2^64`.
    ///
    /// `low - u 2^52 = 0 mod q` for `u = floor(q (low q^-1 mod 2^52) / 2^52) < q`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn reduce(&self, low: V, high: V) -> V {
        let f = &self.field;
        let m = add_low::<W>(f.zero, low, self.inverse);
        let u = add_high::<W>(f.zero, m, f.q);
        _mm512_sub_epi64(_mm512_add_epi64(high, f.q), u)
    }

    /// `a * b * 2^-52 mod q`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    fn mul(&self, a: V, b: V) -> V {
        conditional_subtract(self.mul_lazy(a, b), self.field.q)
    }

    /// `a * b * 2^-52 mod q`, below `2q`, for `a` below `2^52` and a residue `b`; with `W` for `a`
    /// of any word.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn mul_lazy(&self, a: V, b: V) -> V {
        let f = &self.field;
        let (low, high) = (add_low::<W>(f.zero, a, b), add_high::<W>(f.zero, a, b));
        // high < q, so the reduction is below 2q.
        self.reduce(low, high)
    }
}

/// The multiplier of one residue.
#[inline]
#[target_feature(enable = "avx512f")]
fn multiplier(w: u64, m: &Modulus) -> Multiplier {
    let [w, companion] = encode(w, m);
    Multiplier { w: splat(w), companion: splat(companion) }
}

// SAFETY of the functions below: those with slices of one length pass valid pointers; `out` aliases
// an input only where it is the same pointer. The caller has found the instruction set.

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn add_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    let (q, len) = (splat(m.value()), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: equal lengths.
    unsafe { zip(p, p, b.as_ptr(), len, |x, y| add(x, y, q)) }
    scalar::add_assign(&mut a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn sub_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    let (q, len) = (splat(m.value()), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: equal lengths.
    unsafe { zip(p, p, b.as_ptr(), len, |x, y| sub(x, y, q)) }
    scalar::sub_assign(&mut a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn neg_assign(a: &mut [u64], m: &Modulus) {
    let (q, zero, len) = (splat(m.value()), splat(0), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: one slice.
    unsafe { map(p, p, len, |x| sub(zero, x, q)) }
    scalar::neg_assign(&mut a[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn add_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    let (q, len) = (splat(m.value()), a.len());
    // SAFETY: equal lengths.
    unsafe { zip(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, |x, y| add(x, y, q)) }
    scalar::add_into(&mut out[whole(len)..], &a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn sub_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    let (q, len) = (splat(m.value()), a.len());
    // SAFETY: equal lengths.
    unsafe { zip(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, |x, y| sub(x, y, q)) }
    scalar::sub_into(&mut out[whole(len)..], &a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn add_scalar_assign(a: &mut [u64], c: u64, m: &Modulus) {
    let (q, addend, len) = (splat(m.value()), splat(c), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: one slice.
    unsafe { map(p, p, len, |x| add(x, addend, q)) }
    scalar::add_scalar_assign(&mut a[whole(len)..], c, m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn mul_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    let (product, len) = (Product::new(m), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: equal lengths.
    unsafe { zip(p, p, b.as_ptr(), len, |x, y| product.mul_add(product.field.zero, x, y)) }
    scalar::mul_assign(&mut a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn mul_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    let (product, len) = (Product::new(m), a.len());
    // SAFETY: equal lengths.
    unsafe {
        zip(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, |x, y| product.mul_add(product.field.zero, x, y))
    }
    scalar::mul_into(&mut out[whole(len)..], &a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn mul_add_assign(acc: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    let (product, len) = (Product::new(m), a.len());
    // SAFETY: equal lengths.
    unsafe { zip_add(acc.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, |z, x, y| product.mul_add(z, x, y)) }
    scalar::mul_add_assign(&mut acc[whole(len)..], &a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn mul_scalar_assign(a: &mut [u64], w: u64, m: &Modulus) {
    // SAFETY: the caller's promise.
    unsafe {
        if m.ifma() { mul_scalar_assign_of::<false>(a, w, m) } else { mul_scalar_assign_of::<true>(a, w, m) }
    }
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; a prime of `W`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn mul_scalar_assign_of<const W: bool>(a: &mut [u64], w: u64, m: &Modulus) {
    let (field, factor, len) = (Field::<W>::new(m), multiplier(w, m), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: one slice.
    unsafe { map(p, p, len, |x| field.canonical(field.mul_shoup(field.zero, x, factor))) }
    scalar::mul_scalar_assign(&mut a[whole(len)..], w, m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn mul_montgomery_into(out: &mut [u64], a: &[u64], bm: &[u64], m: &Modulus) {
    // SAFETY: the caller's promise.
    unsafe {
        if m.ifma() {
            mul_montgomery_into_of::<false>(out, a, bm, m)
        } else {
            mul_montgomery_into_of::<true>(out, a, bm, m)
        }
    }
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths, a prime of `W`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn mul_montgomery_into_of<const W: bool>(out: &mut [u64], a: &[u64], bm: &[u64], m: &Modulus) {
    let (montgomery, len) = (Montgomery::<W>::new(m), a.len());
    // SAFETY: equal lengths.
    unsafe { zip(out.as_mut_ptr(), a.as_ptr(), bm.as_ptr(), len, |x, y| montgomery.mul(x, y)) }
    scalar::mul_montgomery_into(&mut out[whole(len)..], &a[whole(len)..], &bm[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn mul_montgomery_add_assign(
    acc: &mut [u64],
    a: &[u64],
    bm: &[u64],
    m: &Modulus,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if m.ifma() {
            mul_montgomery_add_assign_of::<false>(acc, a, bm, m)
        } else {
            mul_montgomery_add_assign_of::<true>(acc, a, bm, m)
        }
    }
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths, a prime of `W`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn mul_montgomery_add_assign_of<const W: bool>(acc: &mut [u64], a: &[u64], bm: &[u64], m: &Modulus) {
    let (montgomery, len) = (Montgomery::<W>::new(m), a.len());
    let q = montgomery.field.q;
    // SAFETY: equal lengths.
    unsafe {
        zip_add(acc.as_mut_ptr(), a.as_ptr(), bm.as_ptr(), len, |z, x, y| add(z, montgomery.mul(x, y), q))
    }
    scalar::mul_montgomery_add_assign(&mut acc[whole(len)..], &a[whole(len)..], &bm[whole(len)..], m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn sub_mul_scalar_into(
    out: &mut [u64],
    a: &[u64],
    b: &[u64],
    w: u64,
    m: &Modulus,
) {
    // SAFETY: the caller's promise.
    unsafe {
        if m.ifma() {
            sub_mul_scalar_into_of::<false>(out, a, b, w, m)
        } else {
            sub_mul_scalar_into_of::<true>(out, a, b, w, m)
        }
    }
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths, a prime of `W`.
#[inline]
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
unsafe fn sub_mul_scalar_into_of<const W: bool>(out: &mut [u64], a: &[u64], b: &[u64], w: u64, m: &Modulus) {
    let (field, factor, len) = (Field::<W>::new(m), multiplier(w, m), a.len());
    // SAFETY: equal lengths.
    unsafe {
        zip(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, |x, y| {
            let difference = _mm512_sub_epi64(_mm512_add_epi64(x, field.q), y);
            field.canonical(field.mul_shoup(field.zero, difference, factor))
        })
    }
    scalar::sub_mul_scalar_into(&mut out[whole(len)..], &a[whole(len)..], &b[whole(len)..], w, m);
}

/// # Safety
///
/// AVX-512 F, DQ and IFMA; equal lengths, target prime below `2^50` (the source prime may be any).
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn reduce_into(out: &mut [u64], a: &[u64], from: &Modulus, m: &Modulus) {
    let (field, len) = (Field::<false>::new(m), a.len());
    let (half, from_mod_q) = (splat(from.value() / 2), splat(m.reduce(from.value())));
    // x = high * 2^52 + low; the high part matters only for source primes above 2^52.
    let word = multiplier(m.reduce(1 << 52), m);
    let wide = from.bits() > 52;
    let f = |x: V| {
        let low = field.reduce_lazy(field.zero, x);
        let residue = if wide {
            let high = _mm512_srli_epi64::<52>(x);
            // Both below 2q, their sum below 2^52.
            field.reduce(_mm512_add_epi64(
                _mm512_and_si512(low, field.mask),
                _mm512_and_si512(field.mul_shoup(field.zero, high, word), field.mask),
            ))
        } else {
            field.canonical(low)
        };
        let above = _mm512_cmpgt_epu64_mask(x, half);
        sub(residue, _mm512_maskz_mov_epi64(above, from_mod_q), field.q)
    };
    // SAFETY: equal lengths.
    unsafe { map(out.as_mut_ptr(), a.as_ptr(), len, f) }
    scalar::reduce_into(&mut out[whole(len)..], &a[whole(len)..], from, m);
}

/// See [`crate::kernels::reduce_i32_into`].
///
/// # Safety
///
/// AVX-512 F, DQ and IFMA; `q < 2^50`, equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn reduce_i32_into(out: &mut [u64], a: &[i32], m: &Modulus) {
    let (field, len) = (Field::<false>::new(m), whole(a.len()));
    // A multiple of q of at least 2^31 makes every word positive, and keeps it below 2^52.
    let offset = splat((1u64 << 31).next_multiple_of(m.value()));
    for i in (0..len).step_by(LANES) {
        // SAFETY: i + LANES <= the common length.
        unsafe {
            let x = _mm512_cvtepi32_epi64(_mm256_loadu_si256(a.as_ptr().add(i).cast()));
            store(out.as_mut_ptr().add(i), field.reduce(_mm512_add_epi64(x, offset)));
        }
    }
    scalar::reduce_i32_into(&mut out[len..], &a[len..], m);
}

/// See [`crate::kernels::reduce_i64_into`].
///
/// # Safety
///
/// AVX-512 F, DQ and IFMA; `q < 2^50`, equal lengths.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(in crate::kernels) unsafe fn reduce_i64_into(out: &mut [u64], a: &[i64], m: &Modulus) {
    let (field, len) = (Field::<false>::new(m), whole(a.len()));
    let word = multiplier(m.reduce(1 << 52), m);
    for i in (0..len).step_by(LANES) {
        // SAFETY: i + LANES <= the common length.
        unsafe {
            let x = load(a.as_ptr().add(i).cast());
            let size = _mm512_abs_epi64(x);
            let low = field.reduce_lazy(field.zero, _mm512_and_si512(size, field.mask));
            let high = field.mul_shoup(field.zero, _mm512_srli_epi64::<52>(size), word);
            // Both below 2q, their sum below 2^52.
            let residue = field.reduce(_mm512_add_epi64(
                _mm512_and_si512(low, field.mask),
                _mm512_and_si512(high, field.mask),
            ));
            let negative = _mm512_cmplt_epi64_mask(x, field.zero);
            let negated = sub(field.zero, residue, field.q);
            store(out.as_mut_ptr().add(i), _mm512_mask_mov_epi64(residue, negative, negated));
        }
    }
    scalar::reduce_i64_into(&mut out[len..], &a[len..], m);
}
