//! The negacyclic number-theoretic transform: the safe face, and the order of its output.

use std::sync::OnceLock;

use super::isa::Kind;
use super::tiles::{SourceTiles, log_rows};
#[cfg(target_arch = "x86_64")]
use super::vector_tables::VectorTables;
use super::{Isa, KernelError, Modulus, debug_assert_canonical, mul_scalar_assign, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// log2 of the smallest ring degree with a transform.
pub const MIN_LOG_N: u32 = 10;

/// log2 of the largest ring degree with a transform.
pub const MAX_LOG_N: u32 = 17;

/// The transform of `Z_q[X]/(X^N + 1)`: twiddle factors for one prime and one degree.
///
/// [`forward`](Self::forward) takes coefficients in natural order to the values at the odd powers
/// of `psi`, a primitive `2N`-th root of unity, in *evaluation order*: slot `i` holds the value at
/// `psi^evaluation_exponent(log_n, i)`. The order is that of the fastest kernel and is the same for
/// every instruction set and prime.
///
/// Tables are made at first use, once per arithmetic (`16 N` bytes for scalar arithmetic, `4 N` for
/// vectors).
#[derive(Debug)]
pub struct NttTable {
    modulus: Modulus,
    roots: NttRoots,
    scalar: OnceLock<scalar::Tables>,
    #[cfg(target_arch = "x86_64")]
    avx2: OnceLock<VectorTables>,
    #[cfg(target_arch = "x86_64")]
    avx512: OnceLock<VectorTables>,
}

impl NttTable {
    /// Prepares the transform of degree `2^log_n` modulo `modulus`.
    ///
    /// *Errors*: the degree is outside `2^10..=2^17`, or the prime is not 1 modulo `2N`.
    pub fn new(modulus: Modulus, log_n: u32) -> Result<Self, KernelError> {
        if !(MIN_LOG_N..=MAX_LOG_N).contains(&log_n) {
            return Err(KernelError::RingDegree { log_n });
        }
        let roots = NttRoots::new(&modulus, log_n)?;
        Ok(NttTable {
            modulus,
            roots,
            scalar: OnceLock::new(),
            #[cfg(target_arch = "x86_64")]
            avx2: OnceLock::new(),
            #[cfg(target_arch = "x86_64")]
            avx512: OnceLock::new(),
        })
    }

    /// The prime.
    pub fn modulus(&self) -> &Modulus {
        &self.modulus
    }

    /// log2 of the ring degree.
    pub fn log_n(&self) -> u32 {
        self.roots.log_n
    }

    /// `psi`: the primitive `2N`-th root of unity that [`evaluation_exponent`] speaks of.
    ///
    /// It is `g^((q - 1) / 2N)` for the smallest `g` that makes it primitive.
    pub fn root(&self) -> u64 {
        self.roots.psi
    }

    /// `a ← NTT(a)`: coefficients to values.
    ///
    /// *Panics* if `a` does not have `N` elements.
    pub fn forward(&self, isa: Isa, a: &mut [u64]) {
        self.check(a);
        let m = &self.modulus;
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => {
                // SAFETY: the value of `isa` was made by detection; length and prime are those of
                // the tables.
                unsafe { avx512::forward(self.avx512(), a, m) }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 if m.ifma() => {
                // SAFETY: as above.
                unsafe { avx2::forward(self.avx2(), a, m) }
            }
            _ => self.scalar().forward(a, m),
        }
    }

    /// `a ← NTT^-1(a)`: values to coefficients, the exact inverse of [`forward`](Self::forward).
    ///
    /// *Panics* if `a` does not have `N` elements.
    pub fn inverse(&self, isa: Isa, a: &mut [u64]) {
        self.check(a);
        let m = &self.modulus;
        match isa.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => {
                // SAFETY: the value of `isa` was made by detection; length and prime are those of
                // the tables.
                unsafe { avx512::inverse(self.avx512(), a, m) }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 if m.ifma() => {
                // SAFETY: as above.
                unsafe { avx2::inverse(self.avx2(), a, m) }
            }
            _ => self.scalar().inverse(a, m),
        }
    }

    /// `out ← NTT^-1(a)`: [`inverse`](Self::inverse) of a copy, which AVX-512 code need not make.
    ///
    /// *Panics* if one of them does not have `N` elements.
    pub fn inverse_into(&self, isa: Isa, out: &mut [u64], a: &[u64]) {
        #[cfg(target_arch = "x86_64")]
        if let Kind::Avx512 = isa.0 {
            self.check(a);
            assert_eq!(out.len(), a.len(), "a transform of this degree makes that many residues");
            // SAFETY: the value of `isa` was made by detection; lengths and prime are those of the
            // tables.
            return unsafe { avx512::inverse_into(self.avx512(), out, a, &self.modulus) };
        }
        out.copy_from_slice(a);
        self.inverse(isa, out);
    }

    /// `out ← factor NTT^-1(a)`, a source of a basis conversion. `scratch` is overwritten.
    ///
    /// *Panics* if one of them does not have `N` elements.
    pub fn inverse_into_tiles(
        &self,
        isa: Isa,
        out: &mut SourceTiles<'_>,
        scratch: &mut [u64],
        a: &[u64],
        factor: u64,
    ) {
        self.check(a);
        let m = &self.modulus;
        assert!(out.len() == a.len() && scratch.len() == a.len(), "places for that many residues");
        debug_assert_canonical(&[factor], m);
        #[cfg(target_arch = "x86_64")]
        if let Kind::Avx512 = isa.0 {
            // SAFETY: the value of `isa` was made by detection; lengths were checked above, and the
            // prime is that of the tables.
            return unsafe { avx512::inverse_into_tiles(self.avx512(), out, scratch, a, factor, m) };
        }
        self.inverse_into(isa, scratch, a);
        mul_scalar_assign(isa, scratch, factor, m);
        out.copy_from_slice(scratch);
    }

    /// The first pass of [`Self::forward`]; [`Self::other_passes`] of the same instruction set does
    /// the rest. In between words are not canonical, and mean something to it alone; sets that have
    /// no passes leave coefficients.
    ///
    /// *Panics* if `a` does not have `N` elements.
    pub fn first_pass(&self, isa: Isa, a: &mut [u64]) {
        self.check(a);
        #[cfg(target_arch = "x86_64")]
        if let Kind::Avx512 = isa.0 {
            // SAFETY: the value of `isa` was made by detection; length and prime are those of the
            // tables.
            unsafe { avx512::first_pass(self.avx512(), a, &self.modulus) }
        }
    }

    /// [`Self::first_pass`] on some columns: those of `tile`, `[stream][column]`, become those of
    /// `a` from `column` on in each stream. With AVX-512 they need not be canonical: words below
    /// `2^52` do, or any for primes beyond `2^50`.
    pub(super) fn first_pass_on_tile(&self, isa: Isa, a: &mut [u64], tile: &[u64], column: usize) {
        let streams = 1 << log_rows(self.log_n());
        let (stride, columns) = (a.len() / streams, tile.len() / streams);
        assert_eq!(a.len(), self.roots.degree(), "a transform of this degree makes that many residues");
        assert!(columns.is_multiple_of(16) && columns * streams == tile.len(), "whole vectors of streams");
        assert!(column + columns <= stride, "columns of a stream");
        #[cfg(target_arch = "x86_64")]
        if let Kind::Avx512 = isa.0 {
            // SAFETY: the value of `isa` was made by detection; lengths were checked above, and the
            // prime is that of the tables.
            return unsafe { avx512::first_pass_on_tile(self.avx512(), a, tile, column, &self.modulus) };
        }
        for (to, from) in a.chunks_exact_mut(stride).zip(tile.chunks_exact(columns)) {
            to[column..][..columns].copy_from_slice(from);
        }
    }

    /// What [`Self::forward`] does after [`Self::first_pass`].
    ///
    /// *Panics* if `a` does not have `N` elements.
    pub fn other_passes(&self, isa: Isa, a: &mut [u64]) {
        #[cfg(target_arch = "x86_64")]
        if let Kind::Avx512 = isa.0 {
            assert_eq!(a.len(), self.roots.degree(), "a transform of this degree makes that many residues");
            // SAFETY: the value of `isa` was made by detection; the length was checked, and the
            // prime is that of the tables.
            return unsafe { avx512::other_passes(self.avx512(), a, &self.modulus) };
        }
        self.forward(isa, a);
    }

    fn check(&self, a: &[u64]) {
        assert_eq!(a.len(), self.roots.degree(), "a transform of this degree takes that many residues");
        debug_assert_canonical(a, &self.modulus);
    }

    #[cfg(target_arch = "x86_64")]
    fn avx512(&self) -> &VectorTables {
        self.avx512.get_or_init(|| avx512::tables(&self.modulus, &self.roots))
    }

    #[cfg(target_arch = "x86_64")]
    fn avx2(&self) -> &VectorTables {
        self.avx2.get_or_init(|| avx2::tables(&self.modulus, &self.roots))
    }

    fn scalar(&self) -> &scalar::Tables {
        self.scalar.get_or_init(|| scalar::Tables::new(&self.modulus, &self.roots))
    }
}

/// The exponent `e`, odd and below `2N`, such that slot `index` of a transform holds `a(psi^e)`.
///
/// It is `2 * bitrev(j) + 1`, where `j` is `index` with its two low octal digits swapped:
/// bit-reversed order, with every block of 64 read as an 8 by 8 matrix and transposed.
///
/// *Panics* if the index is not below `2^log_n`.
pub fn evaluation_exponent(log_n: u32, index: usize) -> u64 {
    assert!(index >> log_n == 0, "slot {index} of a transform of degree 2^{log_n}");
    2 * bit_reverse(swap_octal_digits(index), log_n) as u64 + 1
}

/// `index` with its two low octal digits swapped.
pub(super) const fn swap_octal_digits(index: usize) -> usize {
    (index & !0o77) | ((index & 0o7) << 3) | ((index >> 3) & 0o7)
}

/// Transposes every block of 64 elements as an 8 by 8 matrix; its own inverse.
pub(super) fn transpose_octal_blocks(a: &mut [u64]) {
    for block in a.chunks_exact_mut(64) {
        for row in 0..8 {
            for column in 0..row {
                block.swap(8 * row + column, 8 * column + row);
            }
        }
    }
}

/// The low `bits` bits of `x`, reversed.
pub(super) const fn bit_reverse(x: usize, bits: u32) -> usize {
    if bits == 0 { 0 } else { x.reverse_bits() >> (usize::BITS - bits) }
}

/// A primitive `2N`-th root of unity and what is made of it.
#[derive(Clone, Debug)]
pub(super) struct NttRoots {
    modulus: Modulus,
    log_n: u32,
    psi: u64,
    /// `psi^i` for `i < 256` and `psi^(256 i)`: any power is one product of the two.
    low_powers: Vec<u64>,
    high_powers: Vec<u64>,
}

impl NttRoots {
    fn new(m: &Modulus, log_n: u32) -> Result<Self, KernelError> {
        let order = 2u64 << log_n;
        if m.value() % order != 1 {
            return Err(KernelError::NoRootOfUnity { modulus: m.value(), log_n });
        }
        // psi has order 2N exactly when psi^N = -1; half of all g give one.
        let psi = (2..m.value())
            .map(|g| m.pow(g, (m.value() - 1) / order))
            .find(|&psi| m.pow(psi, order / 2) == m.value() - 1)
            .expect("a prime that is 1 modulo 2N has primitive 2N-th roots of unity");
        let powers = |base: u64, count: usize| -> Vec<u64> {
            std::iter::successors(Some(1), |&x| Some(m.mul(x, base))).take(count).collect()
        };
        Ok(NttRoots {
            modulus: *m,
            log_n,
            psi,
            low_powers: powers(psi, 256),
            high_powers: powers(m.pow(psi, 256), order as usize / 256),
        })
    }

    /// log2 of `N`.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn log_n(&self) -> u32 {
        self.log_n
    }

    /// `N`.
    pub(super) fn degree(&self) -> usize {
        1 << self.log_n
    }

    /// `psi^exponent`, any sign.
    pub(super) fn power(&self, exponent: i64) -> u64 {
        let e = exponent.rem_euclid(2 << self.log_n) as usize;
        self.modulus.mul(self.low_powers[e & 255], self.high_powers[e >> 8])
    }

    /// `psi^bitrev(index)`: with `index = m + i`, `i < m`, the forward multiplier of block `i`
    /// among `m` blocks.
    pub(super) fn twiddle(&self, index: usize) -> u64 {
        self.power(bit_reverse(index, self.log_n) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{PRIME_BITS, Words, ntt_prime};
    use crate::kernels::{Buffer, Tiles, mul_assign};

    fn table(bits: u32, log_n: u32) -> NttTable {
        NttTable::new(ntt_prime(bits, log_n, 0), log_n).unwrap()
    }

    /// `a(psi^e)` for the exponent of a slot, by Horner's rule.
    fn evaluate(table: &NttTable, a: &[u64], slot: usize) -> u64 {
        let m = table.modulus();
        let x = m.pow(table.root(), evaluation_exponent(table.log_n(), slot));
        a.iter().rev().fold(0, |value, &c| m.add(m.mul(value, x), c))
    }

    /// `a * b mod (X^N + 1, q)` by the definition.
    fn schoolbook(a: &[u64], b: &[u64], m: &Modulus) -> Vec<u64> {
        let n = a.len();
        let mut product = vec![0u64; n];
        for (i, &x) in a.iter().enumerate().filter(|(_, x)| **x != 0) {
            for (j, &y) in b.iter().enumerate() {
                let term = (u128::from(x) * u128::from(y) % u128::from(m.value())) as u64;
                let k = (i + j) % n;
                product[k] = if i + j < n { m.add(product[k], term) } else { m.sub(product[k], term) };
            }
        }
        product
    }

    #[test]
    fn refuses_degrees_and_primes_without_a_transform() {
        let m = ntt_prime(50, 10, 0);
        for log_n in [0, 9, 18, 63] {
            assert_eq!(NttTable::new(m, log_n).unwrap_err(), KernelError::RingDegree { log_n });
        }
        let odd_one = Modulus::new((1 << 61) - 1).unwrap();
        let error = KernelError::NoRootOfUnity { modulus: odd_one.value(), log_n: 10 };
        assert_eq!(NttTable::new(odd_one, 10).unwrap_err(), error);
    }

    #[test]
    fn the_order_visits_every_odd_exponent_once() {
        for log_n in [MIN_LOG_N, 13, MAX_LOG_N] {
            let mut exponents: Vec<_> = (0..1 << log_n).map(|i| evaluation_exponent(log_n, i)).collect();
            exponents.sort_unstable();
            assert!(exponents.iter().enumerate().all(|(i, &e)| e == 2 * i as u64 + 1));
        }
        // Slots 0 and 1 of the first block are rows 0 and 1 of its transpose: elements 0 and 8.
        assert_eq!(evaluation_exponent(10, 0), 1);
        assert_eq!(evaluation_exponent(10, 1), 2 * (1 << 6) + 1);
        assert_eq!(evaluation_exponent(10, 8), 2 * (1 << 9) + 1);
    }

    #[test]
    fn forward_is_naive_evaluation_at_every_slot() {
        for bits in PRIME_BITS {
            let table = table(bits, 10);
            let a = Words(u64::from(bits)).residues(1 << 10, table.modulus().value());
            let expected: Vec<_> = (0..1 << 10).map(|slot| evaluate(&table, &a, slot)).collect();
            for isa in Isa::available() {
                let mut values = a.clone();
                table.forward(isa, &mut values);
                assert!(values[..] == expected[..], "{isa:?}, {bits} bits");
            }
        }
    }

    #[test]
    fn forward_is_naive_evaluation_at_random_slots_of_every_degree() {
        for log_n in MIN_LOG_N..=MAX_LOG_N {
            for bits in PRIME_BITS {
                let table = table(bits, log_n);
                let mut words = Words(u64::from(log_n * 100 + bits));
                let a = words.residues(1 << log_n, table.modulus().value());
                let slots: Vec<_> = (0..3).map(|_| words.word() as usize % (1 << log_n)).collect();
                let expected: Vec<_> = slots.iter().map(|&slot| evaluate(&table, &a, slot)).collect();
                for isa in Isa::available() {
                    let mut values = a.clone();
                    table.forward(isa, &mut values);
                    let found: Vec<_> = slots.iter().map(|&slot| values[slot]).collect();
                    assert_eq!(found, expected, "{isa:?}, N = 2^{log_n}, {bits} bits");
                }
            }
        }
    }

    #[test]
    fn products_of_values_are_negacyclic_products() {
        let log_n = 10;
        for bits in PRIME_BITS {
            let table = table(bits, log_n);
            let m = table.modulus();
            let mut words = Words(77 + u64::from(bits));
            let (a, b) = (words.residues(1 << log_n, m.value()), words.residues(1 << log_n, m.value()));
            let expected = schoolbook(&a, &b, m);
            for isa in Isa::available() {
                let (mut x, mut y) = (a.clone(), b.clone());
                table.forward(isa, &mut x);
                table.forward(isa, &mut y);
                mul_assign(isa, &mut x, &y, m);
                table.inverse(isa, &mut x);
                assert!(x[..] == expected[..], "{isa:?}, {bits} bits");
            }
        }
    }

    #[test]
    fn products_by_sparse_polynomials_at_every_degree() {
        for log_n in MIN_LOG_N..=MAX_LOG_N {
            for bits in [46, 50, 61] {
                let table = table(bits, log_n);
                let m = table.modulus();
                let mut words = Words(u64::from(log_n + bits));
                let b = words.residues(1 << log_n, m.value());
                let mut a = Buffer::zeroed(1 << log_n);
                for position in [0, 1, (1 << log_n) - 1, words.word() as usize % (1 << log_n)] {
                    a[position] = words.word() % m.value();
                }
                let expected = schoolbook(&a, &b, m);
                for isa in Isa::available() {
                    let (mut x, mut y) = (a.clone(), b.clone());
                    table.forward(isa, &mut x);
                    table.forward(isa, &mut y);
                    mul_assign(isa, &mut x, &y, m);
                    table.inverse(isa, &mut x);
                    assert!(x[..] == expected[..], "{isa:?}, N = 2^{log_n}, {bits} bits");
                }
            }
        }
    }

    #[test]
    fn every_set_agrees_with_scalar_bit_for_bit() {
        for log_n in MIN_LOG_N..=MAX_LOG_N {
            for bits in PRIME_BITS {
                let table = table(bits, log_n);
                let q = table.modulus().value();
                let mut words = Words(u64::from(log_n) << 8 | u64::from(bits));
                let mut alternating = Buffer::zeroed(1 << log_n);
                alternating.iter_mut().step_by(2).for_each(|x| *x = q - 1);
                let constant = |value| Buffer::from(vec![value; 1 << log_n]);
                for a in [words.residues(1 << log_n, q), alternating, constant(0), constant(q - 1)] {
                    let (mut values, mut coefficients) = (a.clone(), a.clone());
                    table.forward(Isa::SCALAR, &mut values);
                    table.inverse(Isa::SCALAR, &mut coefficients);
                    for isa in Isa::available() {
                        let mut x = a.clone();
                        table.forward(isa, &mut x);
                        assert!(x == values, "{isa:?} forward, N = 2^{log_n}, {bits} bits");
                        let mut y = a.clone();
                        table.first_pass(isa, &mut y);
                        table.other_passes(isa, &mut y);
                        assert!(y == values, "{isa:?} forward by passes, N = 2^{log_n}, {bits} bits");
                        table.inverse(isa, &mut x);
                        assert!(x == a, "{isa:?} round trip, N = 2^{log_n}, {bits} bits");
                        table.inverse(isa, &mut x);
                        assert!(x == coefficients, "{isa:?} inverse, N = 2^{log_n}, {bits} bits");
                        x.fill(q);
                        table.inverse_into(isa, &mut x, &a);
                        assert!(x == coefficients, "{isa:?} inverse apart, N = 2^{log_n}, {bits} bits");
                        let factor = words.word() % q;
                        for sources in [1, 5, 40] {
                            let tiles = Tiles::new(log_n, sources);
                            let mut all = Buffer::zeroed(tiles.words());
                            let out = tiles.split(&mut all).pop();
                            table.inverse_into_tiles(isa, &mut out.unwrap(), &mut x, &a, factor);
                            let expected = coefficients.iter().map(|&c| table.modulus().mul(c, factor));
                            let mut same = Buffer::zeroed(tiles.words());
                            let expected: Vec<u64> = expected.collect();
                            tiles.split(&mut same).pop().unwrap().copy_from_slice(&expected);
                            assert!(all == same, "{isa:?} inverse into tiles, N = 2^{log_n}, {bits} bits");
                        }
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "that many residues")]
    fn the_length_is_checked() {
        table(31, 10).forward(Isa::SCALAR, &mut [0; 512]);
    }
}
