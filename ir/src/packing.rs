//! Bits that residues take where they are packed, in keys and in matrices of bootstraps: decided
//! here, so that passes that plan memory know what the runtime does.

use crate::params::Params;

/// Bits that a residue modulo a prime of `bits` bits takes: as many, up to 56, which lie within
/// eight bytes wherever in a byte they start, or a word.
pub const fn packed_bits(bits: u32) -> u32 {
    if bits <= 56 { bits } else { u64::BITS }
}

/// Bits of one residue for each of the first `limbs` chain primes and of the special primes.
pub fn residue_bits(params: &Params, limbs: usize) -> usize {
    params.q()[..limbs].iter().chain(params.p()).map(|&prime| prime_bits(prime)).sum()
}

/// Bits of one residue modulo `prime`.
pub fn prime_bits(prime: u64) -> usize {
    packed_bits(u64::BITS - prime.leading_zeros()) as usize
}
