//! Sums of products with one reduction per sixteen terms.

use crate::kernels::packing::{PACKED_BLOCK, packed};
use crate::kernels::{KeyLimb, Modulus};

/// Products below `2^122` whose sum is reduced at once. Sixteen stay below `2^126`, and below
/// `2^64 * R` for either `R` of Montgomery form: with `R = 2^52` one factor is below `2^50`, so
/// products are below `2^111` and sums below `2^115`.
const CHUNK: usize = 16;

/// Ranges of term indices, each reduced at once.
fn chunks(terms: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..terms).step_by(CHUNK).map(move |start| start..terms.min(start + CHUNK))
}

/// See [`crate::kernels::key_inner_product`].
pub(in crate::kernels) fn key_inner_product(
    out0: &mut [u64],
    out1: &mut [u64],
    digits: &[&[u64]],
    key: &KeyLimb<'_>,
    m: &Modulus,
) {
    out0.fill(0);
    out1.fill(0);
    for chunk in chunks(digits.len()) {
        for i in 0..out0.len() {
            let (mut sum0, mut sum1) = (0, 0);
            for d in chunk.clone() {
                let block = (i / PACKED_BLOCK * key.digits + key.digit(d)) * 2 * key.block_words();
                let (half0, half1) = key.words[block..].split_at(key.block_words());
                let x = u128::from(digits[d][i]);
                sum0 += x * u128::from(packed(half0, i % PACKED_BLOCK, key.bits));
                sum1 += x * u128::from(packed(half1, i % PACKED_BLOCK, key.bits));
            }
            out0[i] = m.add(out0[i], m.reduce_montgomery(sum0));
            out1[i] = m.add(out1[i], m.reduce_montgomery(sum1));
        }
    }
}

/// The elements from `start` on of [`crate::kernels::pair_products`].
pub(in crate::kernels) fn pair_products(
    start: usize,
    out0: &mut [u64],
    out1: &mut [u64],
    factors: &[&[u64]],
    operands0: &[&[u64]],
    operands1: &[&[u64]],
    accumulate: bool,
    m: &Modulus,
) {
    if !accumulate {
        out0[start..].fill(0);
        out1[start..].fill(0);
    }
    for chunk in chunks(factors.len()) {
        for i in start..out0.len() {
            let (mut sum0, mut sum1) = (0, 0);
            for t in chunk.clone() {
                let x = u128::from(factors[t][i]);
                sum0 += x * u128::from(operands0[t][i]);
                sum1 += x * u128::from(operands1[t][i]);
            }
            out0[i] = m.add(out0[i], m.reduce_montgomery(sum0));
            out1[i] = m.add(out1[i], m.reduce_montgomery(sum1));
        }
    }
}

/// See [`crate::kernels::tile_products`].
pub(in crate::kernels) fn tile_products(
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
    if !accumulate {
        out0.fill(0);
        out1.fill(0);
    }
    for chunk in chunks(columns.len()) {
        for i in 0..len {
            let value = ((i / 8) >> log_repeat) * 8 + i % 8;
            let (mut sum0, mut sum1) = (0, 0);
            for t in chunk.clone() {
                let (x, column) = (u128::from(factors[t * stride + value]), 2 * columns[t] as usize);
                sum0 += x * u128::from(operands[column * len + i]);
                sum1 += x * u128::from(operands[(column + 1) * len + i]);
            }
            out0[i] = m.add(out0[i], m.reduce_montgomery(sum0));
            out1[i] = m.add(out1[i], m.reduce_montgomery(sum1));
        }
    }
}

/// The elements from `start` on of [`crate::kernels::basis_convert`].
pub(in crate::kernels) fn basis_convert(
    start: usize,
    out: &mut [u64],
    sources: &[&[u64]],
    factors: &[u64],
    m: &Modulus,
) {
    out[start..].fill(0);
    for chunk in chunks(sources.len()) {
        for i in start..out.len() {
            let sum = chunk.clone().map(|s| u128::from(sources[s][i]) * u128::from(factors[s])).sum();
            out[i] = m.add(out[i], m.reduce_montgomery(sum));
        }
    }
}
