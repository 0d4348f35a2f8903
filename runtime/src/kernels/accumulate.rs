//! Sums of products, reduced once: the safe face.

use std::ops::Range;

use super::isa::Kind;
use super::packing::{PACKED_BLOCK, PACKED_SLACK, packed_bits};
use super::{Isa, Modulus, debug_assert_canonical, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// One limb of a switching key.
///
/// It is in Montgomery form and lies as it is read, `[block][digit][half][word]`, blocks packed:
/// one stream from memory, where two per digit, a power of two apart, would throw each other out of
/// the first cache.
#[derive(Clone, Debug)]
pub struct KeyLimb<'k> {
    /// Both halves of all digits, and [`PACKED_SLACK`] more words.
    pub words: &'k [u64],
    /// Bits of a residue there: [`packed_bits`](super::packed_bits) of the prime's.
    pub bits: u32,
    /// How many digits it has.
    pub digits: usize,
    /// Digits that are passed over: runs of them that do not overlap, in ascending order.
    pub absent: &'k [Range<usize>],
}

impl KeyLimb<'_> {
    /// Words of a block of one half of one digit.
    #[inline]
    pub(super) fn block_words(&self) -> usize {
        self.bits as usize
    }

    /// The key's digit that belongs to operand number `index`.
    #[inline]
    pub(super) fn digit(&self, index: usize) -> usize {
        let passed =
            |digit: usize, run: &Range<usize>| if digit < run.start { digit } else { digit + run.len() };
        self.absent.iter().fold(index, passed)
    }

    /// Words of a block of all digits.
    #[inline]
    pub(super) fn row_words(&self) -> Option<usize> {
        self.digits.checked_mul(2 * self.block_words())
    }

    /// Panics unless it is one of `len` evaluations modulo the prime, for so many digits.
    pub(super) fn check(&self, len: usize, digits: usize, m: &Modulus) {
        let mut from = 0;
        for run in self.absent {
            let ascending = from <= run.start && run.start <= run.end && run.end <= self.digits;
            assert!(ascending, "digits of the key that are passed over");
            from = run.end;
        }
        let needed = digits.checked_sub(1).map_or(0, |last| self.digit(last) + 1);
        assert!(needed <= self.digits, "a key of {} digits for {needed}", self.digits);
        assert_eq!(self.bits, packed_bits(m.bits()), "the bits of a key");
        let rows = self.row_words().and_then(|row| row.checked_mul(len / PACKED_BLOCK));
        let words = rows.and_then(|words| words.checked_add(PACKED_SLACK));
        assert_eq!(Some(self.words.len()), words, "the length of a key");
    }
}

/// `out_h ← Σ_d digits[d] * key_(d, h) mod q` for both halves `h`: key switching's inner product.
///
/// The digits are plain residues: those of the key's that are not absent, from the first on.
/// Products are accumulated without reduction, so the cost per digit is two multiplications and the
/// reads.
///
/// *Panics* if lengths do not fit; they are multiples of [`PACKED_BLOCK`].
pub fn key_inner_product(
    isa: Isa,
    out0: &mut [u64],
    out1: &mut [u64],
    digits: &[&[u64]],
    key: KeyLimb<'_>,
    m: &Modulus,
) {
    let len = out0.len();
    assert!(
        out1.len() == len && len.is_multiple_of(PACKED_BLOCK),
        "outputs of {len} and {} words",
        out1.len()
    );
    assert!(digits.iter().all(|digit| digit.len() == len), "digits of other lengths than the outputs");
    key.check(len, digits.len(), m);
    for digit in digits {
        debug_assert_canonical(digit, m);
    }
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths and counts were checked
            // above.
            unsafe { avx512::key_inner_product(out0, out1, digits, &key, m) }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 if m.ifma() => {
            // SAFETY: as above.
            unsafe { avx2::key_inner_product(out0, out1, digits, &key, m) }
        }
        _ => scalar::key_inner_product(out0, out1, digits, &key, m),
    }
}

/// `out0 ← [out0 +] Σ_t factors[t] * operands0[t] mod q`, and likewise `out1` with `operands1`.
///
/// The factors are plain residues, the operands in Montgomery form. With `accumulate` the sums are
/// added to what the outputs hold, otherwise they replace it. Products are accumulated without
/// reduction.
pub fn pair_products(
    isa: Isa,
    out0: &mut [u64],
    out1: &mut [u64],
    factors: &[&[u64]],
    operands0: &[&[u64]],
    operands1: &[&[u64]],
    accumulate: bool,
    m: &Modulus,
) {
    let len = out0.len();
    assert_eq!(out1.len(), len, "outputs of different lengths");
    assert!(factors.len() == operands0.len() && factors.len() == operands1.len(), "one pair per factor");
    for operand in factors.iter().chain(operands0).chain(operands1) {
        assert_eq!(operand.len(), len, "operands of different lengths");
        debug_assert_canonical(operand, m);
    }
    if accumulate {
        debug_assert_canonical(out0, m);
        debug_assert_canonical(out1, m);
    }
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths and counts were checked
            // above.
            unsafe { avx512::pair_products(out0, out1, factors, operands0, operands1, accumulate, m) }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 if m.ifma() => {
            // SAFETY: as above.
            unsafe { avx2::pair_products(out0, out1, factors, operands0, operands1, accumulate, m) }
        }
        _ => scalar::pair_products(0, out0, out1, factors, operands0, operands1, accumulate, m),
    }
}

/// Sums of products on a tile: `out_h ← [out_h +] Σ_t factors_t * operands_(columns[t], h) mod q`
/// for both halves `h`.
///
/// `operands` holds, column by column, two halves of `out0.len()` residues each, in Montgomery
/// form; the tile is small enough to stay in the first or second cache while many rows of terms
/// read it. Factor `t` starts at `factors[t * stride]` and is plain. Its values repeat: with
/// `log_repeat` r, `2^r` neighbouring groups of eight elements are multiplied by the same eight
/// values, as the evaluations of a polynomial in `X^(2^r)` are in evaluation order. So element `i`
/// takes value `8 (i / 8 / 2^r) + i mod 8`.
///
/// *Panics* if lengths do not fit; the length of the tile is a multiple of eight.
pub fn tile_products(
    isa: Isa,
    out0: &mut [u64],
    out1: &mut [u64],
    (factors, stride, log_repeat): (&[u64], usize, u32),
    (operands, columns): (&[u64], &[u32]),
    accumulate: bool,
    m: &Modulus,
) {
    let len = out0.len();
    assert_eq!(out1.len(), len, "outputs of different lengths");
    assert!(len.is_multiple_of(8), "a tile of {len} residues");
    assert!(
        columns.iter().all(|&c| (c as usize + 1) * 2 * len <= operands.len()),
        "a column outside the operands"
    );
    let values = ((len / 8) >> log_repeat) * 8;
    assert!(values << log_repeat == len, "a tile of {len} residues, values repeated 2^{log_repeat} times");
    if let Some(last) = columns.len().checked_sub(1) {
        let end = last.checked_mul(stride).and_then(|start| start.checked_add(values));
        assert!(end.is_some_and(|end| end <= factors.len()), "one factor per term");
    }
    debug_assert_canonical(operands, m);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; lengths, columns and strides were
            // checked above.
            unsafe {
                avx512::tile_products(
                    out0, out1, factors, stride, log_repeat, operands, columns, accumulate, m,
                )
            }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 if m.ifma() => {
            // SAFETY: as above.
            unsafe {
                avx2::tile_products(out0, out1, factors, stride, log_repeat, operands, columns, accumulate, m)
            }
        }
        _ => scalar::tile_products(out0, out1, factors, stride, log_repeat, operands, columns, accumulate, m),
    }
}

/// `out ← Σ_i sources[i] * factors[i] mod m`: one target prime of a fast basis conversion.
///
/// `factors` are in Montgomery form of `m`. The sources are residues of any primes, canonical for
/// those: words below `2^source_bits[i]`, where `source_bits[i] <= 61` is [`Modulus::bits`] of the
/// source's prime, or more. Up to 52 bits a source costs one product; above, kernels with 52-bit
/// multipliers take two.
pub fn basis_convert(
    isa: Isa,
    out: &mut [u64],
    sources: &[&[u64]],
    source_bits: &[u32],
    factors: &[u64],
    m: &Modulus,
) {
    assert!(source_bits.iter().all(|&bits| bits <= 61), "source residues of {source_bits:?} bits");
    assert!(
        sources.len() == factors.len() && sources.len() == source_bits.len(),
        "one factor and size per source"
    );
    for (source, bits) in sources.iter().zip(source_bits) {
        assert_eq!(source.len(), out.len(), "operands of different lengths");
        debug_assert!(source.iter().all(|&x| x >> bits == 0), "a source residue exceeds {bits} bits");
    }
    debug_assert_canonical(factors, m);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths and counts were checked
            // above.
            unsafe { avx512::basis_convert(out, sources, source_bits, factors, m) }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 if m.ifma() && source_bits.iter().all(|&bits| bits <= 52) => {
            // SAFETY: as above.
            unsafe { avx2::basis_convert(out, sources, factors, m) }
        }
        _ => scalar::basis_convert(0, out, sources, factors, m),
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::*;
    use crate::kernels::testing::{PRIME_BITS, Words, ntt_prime};
    use crate::kernels::{Buffer, pack_into};

    fn slices(buffers: &[Buffer]) -> Vec<&[u64]> {
        buffers.iter().map(|b| &b[..]).collect()
    }

    /// `initial + Σ a_i * b_i mod q` at one position, in big integers.
    fn exact(initial: u64, a: &[Buffer], b: &[u64], position: usize, q: u64) -> u64 {
        let sum =
            a.iter().zip(b).fold(BigUint::from(initial), |sum, (x, &y)| sum + BigUint::from(x[position]) * y);
        u64::try_from(sum % q).unwrap()
    }

    #[test]
    fn pair_products_against_big_integers() {
        for isa in Isa::available() {
            for bits in PRIME_BITS {
                let m = ntt_prime(bits, 10, 0);
                let q = m.value();
                for (len, terms) in [(0, 2), (5, 1), (8, 2), (27, 5), (64, 0), (61, 8), (16, 40), (8, 300)] {
                    let mut words = Words(1 + bits as u64 + ((len as u64) << 20));
                    let mut draw = || (0..terms).map(|_| words.residues(len, q)).collect::<Vec<_>>();
                    let (digits, mut keys) = (draw(), [draw(), draw()]);
                    if terms == 300 {
                        // The largest sums there are.
                        keys.iter_mut().flatten().for_each(|k| k.fill(q - 1));
                    }
                    let plain = |half: usize, i: usize| -> Vec<u64> {
                        keys[half].iter().map(|k| m.from_montgomery(k[i])).collect()
                    };
                    for accumulate in [false, true] {
                        let initial = [words.residues(len, q), words.residues(len, q)];
                        let [mut out0, mut out1] = initial.clone();
                        pair_products(
                            isa,
                            &mut out0,
                            &mut out1,
                            &slices(&digits),
                            &slices(&keys[0]),
                            &slices(&keys[1]),
                            accumulate,
                            &m,
                        );
                        for i in 0..len {
                            for (half, out) in [&out0, &out1].into_iter().enumerate() {
                                let start = if accumulate { initial[half][i] } else { 0 };
                                assert_eq!(
                                    out[i],
                                    exact(start, &digits, &plain(half, i), i, q),
                                    "{isa:?} {q}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[allow(clippy::single_range_in_vec_init, reason = "digits are passed over in runs, sometimes in one")]
    fn key_inner_products_against_big_integers() {
        for isa in Isa::available() {
            for bits in PRIME_BITS {
                let m = ntt_prime(bits, 10, 0);
                let q = m.value();
                for (len, terms, key_digits, absent) in [
                    (0, 2, 2, &[] as &[Range<usize>]),
                    (64, 0, 3, &[]),
                    (64, 0, 3, &[1..2, 2..3]),
                    (64, 1, 1, &[1..1]),
                    (64, 1, 3, &[0..2]),
                    (192, 5, 7, &[]),
                    (192, 5, 9, &[2..5]),
                    (128, 5, 9, &[5..8]),
                    (192, 5, 12, &[0..1, 2..5, 8..9]),
                    (64, 4, 9, &[1..2, 2..4, 6..7]),
                    (128, 40, 40, &[]),
                    (128, 40, 61, &[17..38]),
                    (128, 40, 64, &[2..3, 19..40, 41..42, 63..64]),
                    (64, 300, 300, &[]),
                ] {
                    let mut words = Words(3 + bits as u64 + ((len as u64) << 20));
                    let digits: Vec<_> = (0..terms).map(|_| words.residues(len, q)).collect();
                    // [block][digit][half][element]
                    let mut key = words.residues(2 * key_digits * len, q);
                    if terms == 300 {
                        // The largest sums there are.
                        key.fill(q - 1);
                    }
                    let mut outs = [words.residues(len, q), words.residues(len, q)];
                    let [out0, out1] = &mut outs;
                    let width = packed_bits(bits);
                    let mut packed = vec![0; key.len() / PACKED_BLOCK * width as usize];
                    pack_into(&mut packed, &key, width);
                    packed.extend([u64::MAX; PACKED_SLACK]);
                    let limb = KeyLimb { words: &packed, bits: width, digits: key_digits, absent };
                    key_inner_product(isa, out0, out1, &slices(&digits), limb, &m);
                    for i in 0..len {
                        for (half, out) in outs.iter().enumerate() {
                            let of_digit = |d: usize| {
                                let there = |d: &usize| !absent.iter().any(|run| run.contains(d));
                                let d = (0..key_digits).filter(there).nth(d).unwrap();
                                let block = i / PACKED_BLOCK * key_digits + d;
                                m.from_montgomery(key[(2 * block + half) * PACKED_BLOCK + i % PACKED_BLOCK])
                            };
                            let plain: Vec<u64> = (0..terms).map(of_digit).collect();
                            assert_eq!(out[i], exact(0, &digits, &plain, i, q), "{isa:?} {q} {len} {terms}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn tile_products_against_big_integers() {
        for isa in Isa::available() {
            for bits in PRIME_BITS {
                let m = ntt_prime(bits, 10, 0);
                let q = m.value();
                for (len, terms, log_repeat) in [
                    (8, 1, 0),
                    (64, 5, 0),
                    (48, 3, 1),
                    (64, 29, 2),
                    (64, 7, 3),
                    (24, 300, 0),
                    (128, 0, 3),
                    (0, 2, 0),
                ] {
                    let mut words = Words(u64::from(bits) << 16 | (len as u64) << 4 | u64::from(log_repeat));
                    let (width, values) = (terms / 2 + 1, len >> log_repeat);
                    let stride = values + 8;
                    let mut operands = words.residues(2 * width * len, q);
                    if terms == 300 {
                        // The largest sums there are.
                        operands.fill(q - 1);
                    }
                    let factors = words.residues(stride * terms, q);
                    let columns: Vec<u32> =
                        (0..terms).map(|_| (words.word() % width as u64) as u32).collect();
                    for accumulate in [false, true] {
                        let initial = [words.residues(len, q), words.residues(len, q)];
                        let [mut out0, mut out1] = initial.clone();
                        let (factors, operands) =
                            ((&factors[..], stride, log_repeat), (&operands[..], &columns[..]));
                        tile_products(isa, &mut out0, &mut out1, factors, operands, accumulate, &m);
                        for i in 0..len {
                            for (half, out) in [&out0, &out1].into_iter().enumerate() {
                                let start = BigUint::from(if accumulate { initial[half][i] } else { 0 });
                                let sum = columns.iter().enumerate().fold(start, |sum, (t, &column)| {
                                    let value = factors.0[t * stride + ((i / 8) >> log_repeat) * 8 + i % 8];
                                    let operand = operands.0[(2 * column as usize + half) * len + i];
                                    sum + BigUint::from(value) * m.from_montgomery(operand)
                                });
                                assert_eq!(
                                    out[i],
                                    u64::try_from(sum % q).unwrap(),
                                    "{isa:?} {q} {len} {terms}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn basis_conversion_against_big_integers() {
        for isa in Isa::available() {
            for bits in PRIME_BITS {
                let m = ntt_prime(bits, 10, 0);
                for source_bits in [31, 50, 52, 53, 60, 61] {
                    for (len, terms) in [(3, 1), (40, 5), (40, 6), (513, 3), (24, 33), (8, 64)] {
                        let mut words = Words(u64::from(bits) << 8 | u64::from(source_bits));
                        // All of one size, and one in three of it among smaller ones.
                        let small = |i: usize| (len + terms) % 2 == 0 && i % 3 != 1;
                        let size = |i: usize| if small(i) { 31 } else { source_bits };
                        let sizes: Vec<u32> = (0..terms).map(size).collect();
                        let sources: Vec<_> =
                            sizes.iter().map(|&bits| words.residues(len, 1 << bits)).collect();
                        let factors = words.residues(terms, m.value());
                        let plain: Vec<_> = factors.iter().map(|&f| m.from_montgomery(f)).collect();
                        let mut out = Buffer::zeroed(len);
                        basis_convert(isa, &mut out, &slices(&sources), &sizes, &factors, &m);
                        for i in 0..len {
                            assert_eq!(
                                out[i],
                                exact(0, &sources, &plain, i, m.value()),
                                "{isa:?} {bits} {source_bits}"
                            );
                        }
                    }
                }
            }
        }
    }
}
