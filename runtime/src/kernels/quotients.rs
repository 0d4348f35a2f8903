//! The quotients of a basis conversion: the safe face.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::isa::Kind;
use super::{Isa, Tiles, scalar};

/// One source of [`rounded_quotients`]: `y / s` is `(y >> shift) * reciprocal`, with `y >> shift`
/// below `2^52`.
#[derive(Clone, Copy, Debug)]
pub struct Reciprocal {
    shift: u32,
    reciprocal: f64,
}

impl Reciprocal {
    /// That of a source prime.
    pub fn new(prime: u64) -> Self {
        let shift = (u64::BITS - prime.leading_zeros()).saturating_sub(52);
        Reciprocal { shift, reciprocal: (1u64 << shift) as f64 / prime as f64 }
    }

    /// Bits that are not used, and what the others are multiplied with.
    pub(super) fn parts(self) -> (u32, f64) {
        (self.shift, self.reciprocal)
    }
}

/// The last source of some of `tiles` becomes the quotients of the others: `floor(sum_i y_i / s_i +
/// 1/2)` of residues `y_i` modulo the primes `s_i`, in double precision: plain operations in a
/// fixed order, the same on every machine.
///
/// *Panics* unless `words` are whole tiles with a reciprocal for every source but the last, and at
/// most 2^15 of them.
pub fn rounded_quotients(isa: Isa, tiles: &Tiles, words: &mut [u64], reciprocals: &[Reciprocal]) {
    assert_eq!(reciprocals.len() + 1, tiles.sources, "a reciprocal for every source");
    assert!(words.len().is_multiple_of(tiles.tile_words()), "whole tiles");
    assert!(reciprocals.len() <= 1 << 15, "quotients are at most the number of sources");
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths were checked above.
            unsafe { avx512::rounded_quotients(words, tiles.columns, reciprocals) }
        }
        _ => scalar::rounded_quotients(words, tiles.columns, reciprocals),
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;

    use super::*;
    use crate::kernels::testing::{PRIME_BITS, Words, ntt_prime};

    /// Against exact integers: `floor(sum y_i / s_i + 1/2)`, but next to a half, where double
    /// precision may round either way.
    #[test]
    fn quotients_are_rounded_in_every_set() {
        let primes: Vec<u64> = PRIME_BITS.iter().map(|&bits| ntt_prime(bits, 11, 0).value()).collect();
        for count in 1..=primes.len() {
            let primes = &primes[..count];
            let mut words = Words(count as u64);
            let residues: Vec<_> = primes.iter().map(|&s| words.residues(1 << 10, s)).collect();
            let tiles = Tiles::new(10, count + 1);
            let mut all = vec![0; tiles.words()];
            let places = tiles.split(&mut all);
            places.into_iter().zip(&residues).for_each(|(mut place, y)| place.copy_from_slice(y));
            let reciprocals: Vec<Reciprocal> = primes.iter().map(|&s| Reciprocal::new(s)).collect();
            let product: BigUint = primes.iter().map(|&s| BigUint::from(s)).product();
            let mut first = None;
            for isa in Isa::available() {
                let mut all = all.clone();
                rounded_quotients(isa, &tiles, &mut all, &reciprocals);
                let out = tiles.split(&mut all).pop().unwrap().elements();
                for (i, &found) in out.iter().enumerate() {
                    let terms = primes.iter().zip(&residues).map(|(&s, y)| (&product / s) * y[i]);
                    // Twice the sum, over twice the product.
                    let sum = terms.sum::<BigUint>() * 2u8 + &product;
                    let (quotient, remainder) = (&sum / (&product * 2u8), &sum % (&product * 2u8));
                    let edge = &product >> 30;
                    let near = remainder < edge || &remainder + &edge > &product * 2u8;
                    let exact = BigUint::from(found) == quotient;
                    assert!(exact || near, "{isa:?}, {count} sources, {i}: {found}, not {quotient}");
                }
                assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "{isa:?}, {count} sources");
            }
        }
    }
}
