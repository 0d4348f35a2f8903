//! Element-wise kernels; see [`crate::kernels::elementwise`] for what each computes.
//!
//! Sums and differences work on words and take any prime. What multiplies works on doubles and
//! takes primes below `2^50` only; [`crate::kernels::elementwise`] sends the others to the scalar
//! code, as these functions do with the elements after the last whole vector.

use std::arch::x86_64::*;

use super::vector::{Field, LANES, Multiplier, V, encode, load, splat_bits, store, whole};
use crate::kernels::{Modulus, scalar};

/// Four words.
type Words = __m256i;

/// `out[i] ← f(a[i])` for the whole vectors of `len` words; `out` may be `a`.
///
/// # Safety
///
/// The pointers must be valid for `len` words, the processor must have what `f` needs.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn map(out: *mut u64, a: *const u64, len: usize, f: impl Fn(Words) -> Words) {
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len.
        unsafe { store(out.add(i), _mm256_castsi256_pd(f(_mm256_castpd_si256(load(a.add(i)))))) }
    }
}

/// `out[i] ← f(a[i], b[i])` for the whole vectors of `len` words; `out` may be `a` or `b`.
///
/// # Safety
///
/// As for [`map`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn zip(out: *mut u64, a: *const u64, b: *const u64, len: usize, f: impl Fn(Words, Words) -> Words) {
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len.
        unsafe {
            let (x, y) = (_mm256_castpd_si256(load(a.add(i))), _mm256_castpd_si256(load(b.add(i))));
            store(out.add(i), _mm256_castsi256_pd(f(x, y)));
        }
    }
}

/// [`map`] on residues as doubles; `f` gives residues.
///
/// # Safety
///
/// As for [`map`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn map_residues(out: *mut u64, a: *const u64, len: usize, field: &Field, f: impl Fn(V) -> V) {
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len.
        unsafe { field.store_words(out.add(i), f(field.load_words(a.add(i)))) }
    }
}

/// [`zip`] on residues as doubles; `f` gives residues.
///
/// # Safety
///
/// As for [`map`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn zip_residues(
    out: *mut u64,
    a: *const u64,
    b: *const u64,
    len: usize,
    field: &Field,
    f: impl Fn(V, V) -> V,
) {
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len.
        unsafe { field.store_words(out.add(i), f(field.load_words(a.add(i)), field.load_words(b.add(i)))) }
    }
}

/// `acc[i] ← acc[i] + f(a[i], b[i])`, reduced, on residues as doubles; `f` gives values below `q`
/// in absolute value.
///
/// # Safety
///
/// As for [`map`].
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn zip_add_residues(
    acc: *mut u64,
    a: *const u64,
    b: *const u64,
    len: usize,
    field: &Field,
    f: impl Fn(V, V) -> V,
) {
    for i in (0..whole(len)).step_by(LANES) {
        // SAFETY: i + LANES <= len.
        unsafe {
            let term = f(field.load_words(a.add(i)), field.load_words(b.add(i)));
            let sum = _mm256_add_pd(field.load_words(acc.add(i)), term);
            field.store_words(acc.add(i), field.canonical(field.reduce_lazy(sum)));
        }
    }
}

/// `w` in all lanes.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn splat(w: u64) -> Words {
    _mm256_set1_epi64x(w as i64)
}

/// `x + q` where `x` is negative, else `x`.
#[inline]
#[target_feature(enable = "avx2")]
fn wrap(x: Words, q: Words) -> Words {
    _mm256_add_epi64(x, _mm256_and_si256(_mm256_cmpgt_epi64(_mm256_setzero_si256(), x), q))
}

/// `a + b mod q`.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn add(a: Words, b: Words, q: Words) -> Words {
    wrap(_mm256_sub_epi64(_mm256_add_epi64(a, b), q), q)
}

/// `a - b mod q`.
#[inline]
#[target_feature(enable = "avx2")]
fn sub(a: Words, b: Words, q: Words) -> Words {
    wrap(_mm256_sub_epi64(a, b), q)
}

/// `a b mod q`, below `q` in absolute value, for residues: the quotient `fl(fl(ab) / q)` is off by
/// less than `3 * 2^-53 * 2^50` before it is rounded.
#[inline]
#[target_feature(enable = "avx2,fma")]
pub(super) fn mul(a: V, b: V, field: &Field) -> V {
    let quotient = field.round_product(_mm256_mul_pd(a, b), field.reciprocal);
    field.remainder(a, b, quotient)
}

/// The multiplier of one residue.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn multiplier(w: u64, m: &Modulus) -> Multiplier {
    let [w, quotient] = encode(w, m);
    Multiplier { w: splat_bits(w), quotient: splat_bits(quotient) }
}

// SAFETY of the functions below: those with slices of one length pass valid pointers; `out` aliases
// an input only where it is the same pointer. The caller has found the instruction set.

/// # Safety
///
/// AVX2 and FMA; equal lengths.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn add_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    let (q, len) = (splat(m.value()), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: equal lengths.
    unsafe { zip(p, p, b.as_ptr(), len, |x, y| add(x, y, q)) }
    scalar::add_assign(&mut a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn sub_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    let (q, len) = (splat(m.value()), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: equal lengths.
    unsafe { zip(p, p, b.as_ptr(), len, |x, y| sub(x, y, q)) }
    scalar::sub_assign(&mut a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn neg_assign(a: &mut [u64], m: &Modulus) {
    let (q, zero, len) = (splat(m.value()), splat(0), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: one slice.
    unsafe { map(p, p, len, |x| sub(zero, x, q)) }
    scalar::neg_assign(&mut a[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn add_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    let (q, len) = (splat(m.value()), a.len());
    // SAFETY: equal lengths.
    unsafe { zip(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, |x, y| add(x, y, q)) }
    scalar::add_into(&mut out[whole(len)..], &a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn sub_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    let (q, len) = (splat(m.value()), a.len());
    // SAFETY: equal lengths.
    unsafe { zip(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, |x, y| sub(x, y, q)) }
    scalar::sub_into(&mut out[whole(len)..], &a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn add_scalar_assign(a: &mut [u64], c: u64, m: &Modulus) {
    let (q, addend, len) = (splat(m.value()), splat(c), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: one slice.
    unsafe { map(p, p, len, |x| add(x, addend, q)) }
    scalar::add_scalar_assign(&mut a[whole(len)..], c, m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn mul_assign(a: &mut [u64], b: &[u64], m: &Modulus) {
    let (field, len) = (Field::new(m), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: equal lengths.
    unsafe { zip_residues(p, p, b.as_ptr(), len, &field, |x, y| field.canonical(mul(x, y, &field))) }
    scalar::mul_assign(&mut a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn mul_into(out: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    let (field, len) = (Field::new(m), a.len());
    // SAFETY: equal lengths.
    unsafe {
        zip_residues(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, &field, |x, y| {
            field.canonical(mul(x, y, &field))
        })
    }
    scalar::mul_into(&mut out[whole(len)..], &a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn mul_add_assign(acc: &mut [u64], a: &[u64], b: &[u64], m: &Modulus) {
    let (field, len) = (Field::new(m), a.len());
    // SAFETY: equal lengths.
    unsafe {
        zip_add_residues(acc.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, &field, |x, y| mul(x, y, &field))
    }
    scalar::mul_add_assign(&mut acc[whole(len)..], &a[whole(len)..], &b[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA; `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn mul_scalar_assign(a: &mut [u64], w: u64, m: &Modulus) {
    let (field, factor, len) = (Field::new(m), multiplier(w, m), a.len());
    let p = a.as_mut_ptr();
    // SAFETY: one slice.
    unsafe { map_residues(p, p, len, &field, |x| field.canonical(field.mul(x, factor))) }
    scalar::mul_scalar_assign(&mut a[whole(len)..], w, m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn mul_montgomery_into(out: &mut [u64], a: &[u64], bm: &[u64], m: &Modulus) {
    let (field, unscale, len) = (Field::new(m), multiplier(m.from_montgomery(1), m), a.len());
    // SAFETY: equal lengths.
    unsafe {
        zip_residues(out.as_mut_ptr(), a.as_ptr(), bm.as_ptr(), len, &field, |x, y| {
            field.canonical(field.mul(mul(x, y, &field), unscale))
        })
    }
    scalar::mul_montgomery_into(&mut out[whole(len)..], &a[whole(len)..], &bm[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn mul_montgomery_add_assign(
    acc: &mut [u64],
    a: &[u64],
    bm: &[u64],
    m: &Modulus,
) {
    let (field, unscale, len) = (Field::new(m), multiplier(m.from_montgomery(1), m), a.len());
    // SAFETY: equal lengths.
    unsafe {
        zip_add_residues(acc.as_mut_ptr(), a.as_ptr(), bm.as_ptr(), len, &field, |x, y| {
            field.mul(mul(x, y, &field), unscale)
        })
    }
    scalar::mul_montgomery_add_assign(&mut acc[whole(len)..], &a[whole(len)..], &bm[whole(len)..], m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths, `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn sub_mul_scalar_into(
    out: &mut [u64],
    a: &[u64],
    b: &[u64],
    w: u64,
    m: &Modulus,
) {
    let (field, factor, len) = (Field::new(m), multiplier(w, m), a.len());
    // SAFETY: equal lengths.
    unsafe {
        zip_residues(out.as_mut_ptr(), a.as_ptr(), b.as_ptr(), len, &field, |x, y| {
            field.canonical(field.mul(_mm256_sub_pd(x, y), factor))
        })
    }
    scalar::sub_mul_scalar_into(&mut out[whole(len)..], &a[whole(len)..], &b[whole(len)..], w, m);
}

/// # Safety
///
/// AVX2 and FMA; equal lengths, both primes below `2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn reduce_into(out: &mut [u64], a: &[u64], from: &Modulus, m: &Modulus) {
    let (field, len) = (Field::new(m), a.len());
    let (half, source) = (_mm256_set1_pd((from.value() / 2) as f64), _mm256_set1_pd(from.value() as f64));
    let f = |x: V| {
        let above = _mm256_cmp_pd::<_CMP_GT_OQ>(x, half);
        field.canonical(field.reduce_lazy(_mm256_sub_pd(x, _mm256_and_pd(above, source))))
    };
    // SAFETY: equal lengths.
    unsafe { map_residues(out.as_mut_ptr(), a.as_ptr(), len, &field, f) }
    scalar::reduce_into(&mut out[whole(len)..], &a[whole(len)..], from, m);
}

/// See [`crate::kernels::reduce_i32_into`].
///
/// # Safety
///
/// AVX2 and FMA; `q < 2^50`, equal lengths.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn reduce_i32_into(out: &mut [u64], a: &[i32], m: &Modulus) {
    let (field, len) = (Field::new(m), whole(a.len()));
    for i in (0..len).step_by(LANES) {
        // SAFETY: i + LANES <= the common length.
        unsafe {
            let x = _mm256_cvtepi32_pd(_mm_loadu_si128(a.as_ptr().add(i).cast()));
            field.store_words(out.as_mut_ptr().add(i), field.canonical(field.reduce_lazy(x)));
        }
    }
    scalar::reduce_i32_into(&mut out[len..], &a[len..], m);
}
