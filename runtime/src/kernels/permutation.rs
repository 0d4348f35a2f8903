//! Automorphisms `X -> X^g` as permutations of evaluations, block by block, and general gathers:
//! the safe face.

use super::isa::Kind;
use super::{Isa, Modulus, debug_assert_canonical, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Evaluations per block.
pub const BLOCK: usize = 64;

/// The three bits of `x`, reversed.
#[inline]
pub(super) const fn reverse_octal(x: usize) -> usize {
    ((x & 1) << 2) | (x & 2) | ((x >> 2) & 1)
}

/// The number of a place in a block: what its six bits contribute to the exponent, `8 rev(row) +
/// rev(column)`. Its own inverse.
const fn number(place: usize) -> usize {
    8 * reverse_octal(place >> 3) + reverse_octal(place & 7)
}

/// How the eight vectors of eight of an output block are made of those of its source, for one
/// carry.
///
/// Rows go by their numbers here. Output row `R` takes in lane `c` from source row `g (R +
/// turn(c))`, modulo 8: every lane turns the rows, taken in the order `g R`, by its own amount, one
/// binary digit of it after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Per lane, its source lane, plus 8 where the amount is odd.
    pub(super) lanes: [u8; 8],
    /// The lanes whose amount has digit 2, and those whose amount has digit 4.
    pub(super) masks: [u8; 2],
}

/// `X -> X^g` of evaluations: evaluation `i` becomes the old one at index
/// [`source(i)`](Self::source).
///
/// The exponent of place `p` of block `B` is `2 k + 1` with `k = rev(B) + 2^(log2 N - 6) number(p)`
/// ([`evaluation_exponent`]): the block gives the low digits, the place the high six. `X -> X^g`
/// takes `k` to `g k + (g - 1) / 2`. So the low digits, the block, depend on the block alone: all
/// 64 evaluations of a block come from one block, at the places with the numbers `g number(p) +
/// carry`, modulo 64, where the carry is what the low digits leave.
///
/// [`evaluation_exponent`]: super::evaluation_exponent
#[derive(Clone, Debug)]
pub struct Permutation {
    /// `g` modulo 8.
    pub(super) multiplier: usize,
    /// `64 source block + carry` of every block; source blocks are below their number.
    pub(super) blocks: Vec<u32>,
    /// By carry, the source place of every place, below 64.
    pub(super) places: Box<[[u8; BLOCK]; BLOCK]>,
    /// By carry, the same for vectors of eight.
    pub(super) turns: Box<[Turn; BLOCK]>,
}

impl Permutation {
    /// The permutation of `X -> X^element` in the ring of degree `2^log_n`.
    ///
    /// # Panics
    /// If `element` is even, or the degree outside `2^6..=2^31`.
    pub fn new(log_n: u32, element: u64) -> Self {
        assert!(element % 2 == 1, "X -> X^{element} is no automorphism");
        assert!((6..32).contains(&log_n), "a ring of degree 2^{log_n} has no blocks");
        let low = log_n - 6;
        let blocks = (0..1usize << low).map(|block| {
            // Modulo 2^64, of which 2^log_n is a divisor.
            let digits = super::ntt::bit_reverse(block, low) as u64;
            let image = element.wrapping_mul(digits).wrapping_add(element / 2);
            let source = super::ntt::bit_reverse((image & ((1 << low) - 1)) as usize, low);
            (source as u32) << 6 | (image >> low) as u32 & 63
        });
        let element = element as usize & 63;
        let place = |carry: usize, place: usize| number((element * number(place) + carry) & 63);
        let turn = |carry: usize| {
            let (mut lanes, mut masks) = ([0; 8], [0; 2]);
            for (lane, entry) in lanes.iter_mut().enumerate() {
                let image = element * reverse_octal(lane) + carry;
                // g is its own inverse modulo 8.
                let amount = (element * (image >> 3)) & 7;
                *entry = (reverse_octal(image & 7) | (amount & 1) << 3) as u8;
                masks[0] |= ((amount >> 1 & 1) << lane) as u8;
                masks[1] |= ((amount >> 2) << lane) as u8;
            }
            Turn { lanes, masks }
        };
        Permutation {
            multiplier: element & 7,
            blocks: blocks.collect(),
            places: Box::new(std::array::from_fn(|carry| std::array::from_fn(|p| place(carry, p) as u8))),
            turns: Box::new(std::array::from_fn(turn)),
        }
    }

    /// Number of evaluations.
    pub fn degree(&self) -> usize {
        BLOCK * self.blocks.len()
    }

    /// Where evaluation `index` comes from.
    ///
    /// *Panics* if the index is not below the degree.
    pub fn source(&self, index: usize) -> usize {
        let (source, carry) = split(self.blocks[index / BLOCK]);
        source + usize::from(self.places[carry][index % BLOCK])
    }
}

/// Index of the first evaluation of the source block, and the carry, of an entry of
/// [`Permutation::blocks`].
#[inline]
pub(super) fn split(entry: u32) -> (usize, usize) {
    (entry as usize & !63, entry as usize & 63)
}

/// `out[i] ← a[source(i)]`: an automorphism in evaluation order.
///
/// *Panics* unless both slices have the degree of the permutation.
pub fn permute_into(isa: Isa, out: &mut [u64], a: &[u64], permutation: &Permutation) {
    assert_eq!(out.len(), permutation.degree(), "a permutation of as many evaluations");
    permute_blocks_into(isa, out, a, permutation, 0);
}

/// [`permute_into`] for the evaluations from block `first` on, of 64 each, as many as `out` takes.
///
/// *Panics* unless `out` takes whole blocks that there are, and `a` has the degree of the
/// permutation.
pub fn permute_blocks_into(isa: Isa, out: &mut [u64], a: &[u64], permutation: &Permutation, first: usize) {
    assert_eq!(a.len(), permutation.degree(), "a permutation of as many evaluations");
    assert_eq!(out.len() % BLOCK, 0, "whole blocks");
    let blocks = &permutation.blocks[first..][..out.len() / BLOCK];
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths were checked above.
            unsafe { avx512::permute_into(out, a, permutation, blocks) }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => {
            // SAFETY: as above.
            unsafe { avx2::permute_into(out, a, permutation, blocks) }
        }
        _ => scalar::permute_into(out, a, permutation, blocks),
    }
}

/// `sum[i] ← sum[i] + a[source(i)] mod q`.
///
/// *Panics* unless both slices have the degree of the permutation.
pub fn permute_add_assign(isa: Isa, sum: &mut [u64], a: &[u64], permutation: &Permutation, m: &Modulus) {
    assert_eq!(a.len(), permutation.degree(), "a permutation of as many evaluations");
    assert_eq!(sum.len(), permutation.degree(), "a permutation of as many evaluations");
    debug_assert_canonical(sum, m);
    debug_assert_canonical(a, m);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths were checked above.
            unsafe { avx512::permute_add_assign(sum, a, permutation, m) }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => {
            // SAFETY: as above.
            unsafe { avx2::permute_add_assign(sum, a, permutation, m) }
        }
        _ => scalar::permute_add_assign(sum, a, permutation, m),
    }
}

/// `out[i] ← a[index[i]]`.
///
/// *Panics* if an index is not below `a.len()`; `out` is then unspecified.
pub fn gather_into(isa: Isa, out: &mut [u64], a: &[u64], index: &[u32]) {
    assert_eq!(out.len(), index.len(), "one index per output");
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths were checked above.
            unsafe { avx512::gather_into(out, a, index) }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 => {
            // SAFETY: as above.
            unsafe { avx2::gather_into(out, a, index) }
        }
        _ => scalar::gather_into(out, a, index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{PRIME_BITS, Words, ntt_prime};
    use crate::kernels::{Buffer, MAX_LOG_N, MIN_LOG_N, evaluation_exponent};

    /// `X -> X^element` by the definition: the new value at `psi^e` is the old one at `psi^(e
    /// element)`.
    fn index_table(log_n: u32, element: u64) -> Vec<u32> {
        let exponents: Vec<u64> = (0..1 << log_n).map(|i| evaluation_exponent(log_n, i)).collect();
        let mut position = vec![0u32; 1 << log_n];
        (0..).zip(&exponents).for_each(|(i, &e)| position[e as usize / 2] = i);
        let mask = (2u64 << log_n) - 1;
        exponents.iter().map(|e| position[(e.wrapping_mul(element) & mask) as usize / 2]).collect()
    }

    /// The identity, conjugation, rotations both ways, all residues modulo 64, some at random.
    fn elements(log_n: u32) -> Vec<u64> {
        let mask = (2u64 << log_n) - 1;
        let power = |steps: u64| (0..steps).fold(1u64, |x, _| (5 * x) & mask);
        let mut words = Words(u64::from(log_n));
        let random = (0..8).map(|_| words.word() & mask | 1).collect();
        let rotations = (0..10).chain([31, 64, 255]).map(power).collect();
        let residues = (1..64).step_by(2).map(|x| (x + 64 * (x * x + 3)) & mask).collect();
        [vec![mask], rotations, residues, random].concat()
    }

    #[test]
    fn automorphisms_are_their_index_tables_in_every_set() {
        let m = ntt_prime(61, MAX_LOG_N, 0);
        for log_n in MIN_LOG_N..=MAX_LOG_N {
            let mut words = Words(9);
            let (a, b) = (words.residues(1 << log_n, m.value()), words.residues(1 << log_n, m.value()));
            for element in elements(log_n) {
                let (index, permutation) = (index_table(log_n, element), Permutation::new(log_n, element));
                assert!((0..1 << log_n).all(|i| permutation.source(i) == index[i] as usize));
                let expected: Vec<u64> = index.iter().map(|&i| a[i as usize]).collect();
                let expected_sum: Vec<u64> = b.iter().zip(&expected).map(|(&x, &y)| m.add(x, y)).collect();
                for isa in Isa::available() {
                    let mut out = Buffer::zeroed(1 << log_n);
                    permute_into(isa, &mut out, &a, &permutation);
                    assert!(out[..] == expected[..], "{isa:?}, N = 2^{log_n}, X^{element}");
                    let mut sum = b.clone();
                    permute_add_assign(isa, &mut sum, &a, &permutation, &m);
                    assert!(sum[..] == expected_sum[..], "{isa:?}, N = 2^{log_n}, X^{element}, sum");
                }
            }
        }
    }

    #[test]
    fn sums_are_residues_for_every_prime() {
        for bits in PRIME_BITS {
            let (m, permutation) = (ntt_prime(bits, 10, 0), Permutation::new(10, 25));
            let mut words = Words(u64::from(bits));
            let (a, b) = (words.residues(1 << 10, m.value()), words.residues(1 << 10, m.value()));
            for isa in Isa::available() {
                let mut sum = b.clone();
                permute_add_assign(isa, &mut sum, &a, &permutation, &m);
                assert!((0..1 << 10).all(|i| sum[i] == m.add(b[i], a[permutation.source(i)])), "{isa:?}");
            }
        }
    }

    #[test]
    fn ranges_of_blocks_are_parts_of_the_whole() {
        let permutation = Permutation::new(11, 125);
        let a = Words(1).residues(1 << 11, 1 << 61);
        for isa in Isa::available() {
            let mut whole = Buffer::zeroed(1 << 11);
            permute_into(isa, &mut whole, &a, &permutation);
            for (first, count) in [(0, 0), (0, 1), (7, 3), (31, 1), (32, 0)] {
                let mut out = vec![0; BLOCK * count];
                permute_blocks_into(isa, &mut out, &a, &permutation, first);
                assert!(out == whole[BLOCK * first..][..BLOCK * count], "{isa:?}, {count} from {first}");
            }
        }
    }

    #[test]
    #[should_panic(expected = "as many evaluations")]
    fn the_length_is_checked() {
        permute_into(Isa::detect(), &mut [0; 1024], &[0; 512], &Permutation::new(10, 5));
    }

    #[test]
    #[should_panic(expected = "no automorphism")]
    fn even_elements_are_refused() {
        Permutation::new(10, 4);
    }

    #[test]
    fn gathers_take_any_index_and_length() {
        for isa in Isa::available() {
            for len in [0, 1, 3, 7, 8, 9, 17, 64, 1003] {
                let mut words = Words(9 + len as u64);
                let a = words.residues(len, 1 << 61);
                let index: Vec<u32> = (0..len).map(|_| (words.word() % len.max(1) as u64) as u32).collect();
                let mut out = Buffer::zeroed(len);
                gather_into(isa, &mut out, &a, &index);
                assert!((0..len).all(|i| out[i] == a[index[i] as usize]));
            }
        }
    }

    #[test]
    fn an_index_out_of_range_panics_in_every_set() {
        for isa in Isa::available() {
            for (position, index) in [(0, 64), (9, u32::MAX), (66, 64), (5, 1 << 31)] {
                let result = std::panic::catch_unwind(|| {
                    let mut table = vec![0u32; 67];
                    table[position] = index;
                    gather_into(isa, &mut [0; 67], &[0; 64], &table);
                });
                assert!(result.is_err(), "{} accepted index {index}", isa.name());
            }
        }
    }
}
