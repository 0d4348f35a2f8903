//! Residues in as many bits as their prime has: what streams from memory, such as keys, is as short
//! as it can be.
//!
//! A block of 64 residues of `b` bits is `b` words: residue `i` is the bits from `i b` on, words
//! from their lowest bit on. Kernels read residues eight bytes at a time, wherever in a byte they
//! start; primes beyond 56 bits are therefore not packed.

pub use fhec_ir::packing::packed_bits;

use super::isa::Kind;
use super::{Isa, scalar};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Residues that are packed together.
pub const PACKED_BLOCK: usize = 64;

/// Words that must lie beyond packed blocks: kernels read whole vectors, of which they use as many
/// bytes as a residue has bits.
pub const PACKED_SLACK: usize = 8;

/// Packs blocks of residues: `words[k b ..][.. b]` are those from `64 k` on. A residue has at most
/// `bits` bits.
///
/// *Panics* unless `bits` are [`packed_bits`] of some prime, and there are as many words as whole
/// blocks take.
pub fn pack_into(words: &mut [u64], residues: &[u64], bits: u32) {
    check(words.len(), residues.len(), bits);
    for (words, residues) in words.chunks_exact_mut(bits as usize).zip(residues.chunks_exact(PACKED_BLOCK)) {
        let (mut buffer, mut held, mut next) = (0u128, 0, words.iter_mut());
        for &residue in residues {
            debug_assert!(bits == u64::BITS || residue >> bits == 0, "a residue exceeds {bits} bits");
            buffer |= u128::from(residue) << held;
            held += bits;
            if held >= u64::BITS
                && let Some(word) = next.next()
            {
                *word = buffer as u64;
                buffer >>= u64::BITS;
                held -= u64::BITS;
            }
        }
    }
}

/// Residues `first..first + out.len()` of those that [`pack_into`] packed, both numbers multiples
/// of eight.
///
/// *Panics* like it, and unless there are as many, with [`PACKED_SLACK`] words after them.
pub fn unpack_into(isa: Isa, out: &mut [u64], words: &[u64], bits: u32, first: usize) {
    check_bits(bits);
    assert!(out.len().is_multiple_of(8) && first.is_multiple_of(8), "residues by eight");
    let blocks = words.len().saturating_sub(PACKED_SLACK) / bits as usize;
    let end = first.checked_add(out.len());
    assert!(end.is_some_and(|end| end <= blocks * PACKED_BLOCK), "residues that there are");
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; bits and residues were checked
            // above.
            unsafe { avx512::unpack_into(out, words, bits, first) }
        }
        #[cfg(target_arch = "x86_64")]
        Kind::Avx2 if bits <= 56 => {
            // SAFETY: as above.
            unsafe { avx2::unpack_into(out, words, bits, first) }
        }
        _ => scalar::unpack_into(out, words, bits, first),
    }
}

/// Residue `index` of a packed block.
#[inline]
pub(super) fn packed(block: &[u64], index: usize, bits: u32) -> u64 {
    let at = index * bits as usize;
    let (word, shift) = (at / 64, at as u32 % 64);
    let low = block[word] >> shift;
    let whole = if shift + bits > u64::BITS { low | block[word + 1] << (u64::BITS - shift) } else { low };
    whole & u64::MAX >> (u64::BITS - bits)
}

fn check_bits(bits: u32) {
    assert!(bits > 0 && packed_bits(bits) == bits, "residues of {bits} bits are not packed");
}

fn check(words: usize, residues: usize, bits: u32) {
    check_bits(bits);
    assert_eq!(residues % PACKED_BLOCK, 0, "whole blocks");
    assert_eq!(
        words,
        residues / PACKED_BLOCK * bits as usize,
        "the words of {residues} residues of {bits} bits"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::Words;

    #[test]
    fn residues_are_the_bits_they_were_packed_in() {
        for bits in (1..=56).chain([64]) {
            for blocks in [0, 1, 3] {
                let bound = if bits == 64 { u64::MAX } else { 1 << bits };
                let residues = Words(u64::from(bits)).residues(PACKED_BLOCK * blocks, bound);
                let mut words = vec![u64::MAX; bits as usize * blocks];
                pack_into(&mut words, &residues, bits);
                let bit = |at: usize| words[at / 64] >> (at % 64) & 1;
                let width = bits as usize;
                for (i, &residue) in residues.iter().enumerate() {
                    let found: u64 = (0..width).map(|b| bit(i * width + b) << b).sum();
                    assert_eq!(found, residue, "{bits} bits, residue {i}");
                }
                words.extend([u64::MAX; PACKED_SLACK]);
                for isa in Isa::available() {
                    for (first, count) in
                        [(0, residues.len()), (8 * blocks, 24 * blocks), (56 * blocks, 8 * blocks)]
                    {
                        let mut back = vec![7; count];
                        unpack_into(isa, &mut back, &words, bits, first);
                        assert_eq!(back, residues[first..][..count], "{isa:?}, {bits} bits");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "residues that there are")]
    fn residues_beyond_the_last_are_refused() {
        unpack_into(Isa::detect(), &mut [0; 8], &[0; 40 + PACKED_SLACK], 40, 64);
    }

    #[test]
    #[should_panic(expected = "are not packed")]
    fn wide_residues_are_words() {
        pack_into(&mut [0; 60], &[0; 64], 60);
    }
}
