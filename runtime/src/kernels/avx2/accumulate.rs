//! Sums of products in double precision: exact products reduced one by one, and the sum of a few at
//! once.

use std::arch::x86_64::_mm256_add_pd;

use super::elementwise::{mul, multiplier};
use super::packing::Unpack;
use super::vector::{Field, LANES, Multiplier, whole};
use crate::kernels::packing::PACKED_BLOCK;
use crate::kernels::{KeyLimb, Modulus, scalar};

/// Terms below `q` in absolute value whose sum, with a residue, stays below `2^53`.
const TERMS_AT_ONCE: usize = 7;

/// See [`crate::kernels::key_inner_product`].
///
/// # Safety
///
/// AVX2 and FMA; outputs and digits of one length, a multiple of `PACKED_BLOCK`; a key of `2
/// key.digits` times that many residues, packed in [`KeyLimb::bits`], with the digits that
/// [`KeyLimb::digit`] names, and the slack after them; `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn key_inner_product(
    out0: &mut [u64],
    out1: &mut [u64],
    digits: &[&[u64]],
    key: &KeyLimb<'_>,
    m: &Modulus,
) {
    let field = Field::new(m);
    // The sums carry the factor 2^52 of the key's form.
    let unscale = multiplier(m.from_montgomery(1), m);
    let unpack = Unpack::new(key.bits);
    let of_digit: Vec<usize> = (0..digits.len()).map(|d| key.digit(d) * 2 * key.block_words()).collect();
    for i in (0..out0.len()).step_by(LANES) {
        // SAFETY: i + LANES <= the common length, which blocks and vectors divide.
        unsafe {
            let row = key.words.as_ptr().add(i / PACKED_BLOCK * key.digits * 2 * key.block_words());
            let (mut sum0, mut sum1) = (field.zero, field.zero);
            for (d, digit) in digits.iter().enumerate() {
                if d > 0 && d.is_multiple_of(TERMS_AT_ONCE) {
                    (sum0, sum1) = (field.reduce_lazy(sum0), field.reduce_lazy(sum1));
                }
                let x = field.load_words(digit.as_ptr().add(i));
                let half0 = row.add(of_digit[d]);
                let halves = [half0, half0.add(key.block_words())];
                let [y0, y1] = halves.map(|half| field.words(unpack.load(half, i % PACKED_BLOCK)));
                sum0 = _mm256_add_pd(sum0, mul(x, y0, &field));
                sum1 = _mm256_add_pd(sum1, mul(x, y1, &field));
            }
            for (out, sum) in [(out0.as_mut_ptr(), sum0), (out1.as_mut_ptr(), sum1)] {
                field.store_words(out.add(i), field.canonical(field.mul(field.reduce_lazy(sum), unscale)));
            }
        }
    }
}

/// See [`crate::kernels::pair_products`].
///
/// # Safety
///
/// AVX2 and FMA; all slices of equal lengths, as many operands of each half as factors, `q < 2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn pair_products(
    out0: &mut [u64],
    out1: &mut [u64],
    factors: &[&[u64]],
    operands0: &[&[u64]],
    operands1: &[&[u64]],
    accumulate: bool,
    m: &Modulus,
) {
    let field = Field::new(m);
    // The sums carry the factor 2^52 of the operands' form, and so must what they are added to.
    let (scale, unscale) = (multiplier(m.to_montgomery(1), m), multiplier(m.from_montgomery(1), m));
    let body = whole(out0.len());
    for i in (0..body).step_by(LANES) {
        // SAFETY: i + LANES <= the common length.
        unsafe {
            let (p0, p1) = (out0.as_mut_ptr().add(i), out1.as_mut_ptr().add(i));
            let (mut sum0, mut sum1) = (field.zero, field.zero);
            if accumulate {
                sum0 = field.mul(field.load_words(p0), scale);
                sum1 = field.mul(field.load_words(p1), scale);
            }
            for (t, ((factor, y0), y1)) in factors.iter().zip(operands0).zip(operands1).enumerate() {
                if t > 0 && t.is_multiple_of(TERMS_AT_ONCE) {
                    (sum0, sum1) = (field.reduce_lazy(sum0), field.reduce_lazy(sum1));
                }
                let x = field.load_words(factor.as_ptr().add(i));
                sum0 = _mm256_add_pd(sum0, mul(x, field.load_words(y0.as_ptr().add(i)), &field));
                sum1 = _mm256_add_pd(sum1, mul(x, field.load_words(y1.as_ptr().add(i)), &field));
            }
            for (p, sum) in [(p0, sum0), (p1, sum1)] {
                field.store_words(p, field.canonical(field.mul(field.reduce_lazy(sum), unscale)));
            }
        }
    }
    scalar::pair_products(body, out0, out1, factors, operands0, operands1, accumulate, m);
}

/// See [`crate::kernels::tile_products`].
///
/// # Safety
///
/// AVX2 and FMA; `q < 2^50`; outputs of one length, a multiple of `8 * 2^log_repeat`; all columns
/// inside `operands`, and a factor at every stride inside `factors`.
#[target_feature(enable = "avx2,fma")]
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
    let field = Field::new(m);
    let (scale, unscale) = (multiplier(m.to_montgomery(1), m), multiplier(m.from_montgomery(1), m));
    let len = out0.len();
    for i in (0..len).step_by(LANES) {
        let value = ((i / 8) >> log_repeat) * 8 + i % 8;
        // SAFETY: i + LANES <= the length; factors and columns reach as far as the tile does.
        unsafe {
            let (p0, p1) = (out0.as_mut_ptr().add(i), out1.as_mut_ptr().add(i));
            let (mut sum0, mut sum1) = (field.zero, field.zero);
            if accumulate {
                sum0 = field.mul(field.load_words(p0), scale);
                sum1 = field.mul(field.load_words(p1), scale);
            }
            for (t, &column) in columns.iter().enumerate() {
                if t > 0 && t.is_multiple_of(TERMS_AT_ONCE) {
                    (sum0, sum1) = (field.reduce_lazy(sum0), field.reduce_lazy(sum1));
                }
                let operand = operands.as_ptr().add(2 * column as usize * len + i);
                let x = field.load_words(factors.as_ptr().add(t * stride + value));
                sum0 = _mm256_add_pd(sum0, mul(x, field.load_words(operand), &field));
                sum1 = _mm256_add_pd(sum1, mul(x, field.load_words(operand.add(len)), &field));
            }
            for (p, sum) in [(p0, sum0), (p1, sum1)] {
                field.store_words(p, field.canonical(field.mul(field.reduce_lazy(sum), unscale)));
            }
        }
    }
}

/// See [`crate::kernels::basis_convert`], for sources below `2^52`.
///
/// # Safety
///
/// AVX2 and FMA; all slices of equal lengths, as many factors as sources, target prime below
/// `2^50`.
#[target_feature(enable = "avx2,fma")]
pub(in crate::kernels) unsafe fn basis_convert(
    out: &mut [u64],
    sources: &[&[u64]],
    factors: &[u64],
    m: &Modulus,
) {
    let field = Field::new(m);
    let multipliers: Vec<Multiplier> = factors.iter().map(|&f| multiplier(m.from_montgomery(f), m)).collect();
    let body = whole(out.len());
    for i in (0..body).step_by(LANES) {
        // SAFETY: i + LANES <= the common length.
        unsafe {
            let mut sum = field.zero;
            for (s, (source, &multiplier)) in sources.iter().zip(&multipliers).enumerate() {
                if s > 0 && s.is_multiple_of(TERMS_AT_ONCE) {
                    sum = field.reduce_lazy(sum);
                }
                sum = _mm256_add_pd(sum, field.mul(field.load_words(source.as_ptr().add(i)), multiplier));
            }
            field.store_words(out.as_mut_ptr().add(i), field.canonical(field.reduce_lazy(sum)));
        }
    }
    scalar::basis_convert(body, out, sources, factors, m);
}
