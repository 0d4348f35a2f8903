//! Residues in as many bits as their primes have.

use rayon::prelude::*;

use super::frame::{Kind, check_length};
use crate::error::FormatError;
use crate::ring::{Basis, Context, Domain, Poly};

/// Bytes of the packed limbs of these primes.
pub(crate) fn packed_len(context: &Context, primes: &[usize]) -> usize {
    primes.iter().map(|&prime| context.ring_degree() / 8 * context.modulus(prime).bits() as usize).sum()
}

/// Prime of every limb of `copies` polynomials over `basis`.
pub(crate) fn primes(context: &Context, basis: Basis, copies: usize) -> Vec<usize> {
    (0..copies).flat_map(|_| (0..basis.limbs()).map(|limb| context.prime(basis, limb))).collect()
}

/// Packs limbs, `[limb][coefficient]` with the given primes.
pub(crate) fn pack(context: &Context, primes: &[usize], words: &[u64]) -> Vec<u8> {
    let limbs: Vec<Vec<u8>> = primes
        .par_iter()
        .zip(words.par_chunks_exact(context.ring_degree()))
        .map(|(&prime, words)| {
            let bits = context.modulus(prime).bits();
            let mut out = Vec::with_capacity(packed_len(context, &[prime]));
            let (mut buffer, mut held) = (0u128, 0);
            for &word in words {
                buffer |= u128::from(word) << held;
                held += bits;
                while held >= 32 {
                    out.extend_from_slice(&(buffer as u32).to_le_bytes());
                    buffer >>= 32;
                    held -= 32;
                }
            }
            // N is a multiple of 8: what is left are whole bytes.
            out.extend_from_slice(&buffer.to_le_bytes()[..held as usize / 8]);
            out
        })
        .collect();
    limbs.concat()
}

/// Unpacks what [`pack`] made into `words`, refusing residues out of range. The length has been
/// checked.
pub(crate) fn unpack(
    context: &Context,
    kind: Kind,
    primes: &[usize],
    bytes: &[u8],
    words: &mut [u64],
) -> Result<(), FormatError> {
    let mut rest = bytes;
    let limbs: Vec<(usize, &[u8])> = primes
        .iter()
        .map(|&prime| {
            let (limb, tail) = rest.split_at(packed_len(context, &[prime]));
            rest = tail;
            (prime, limb)
        })
        .collect();
    limbs.into_par_iter().zip(words.par_chunks_exact_mut(context.ring_degree())).try_for_each(
        |((prime, bytes), words)| {
            let (q, bits) = (context.modulus(prime).value(), context.modulus(prime).bits());
            if unpack_limb(bytes, bits, words) < q {
                return Ok(());
            }
            Err(FormatError::Residue { object: kind.name(), prime: q })
        },
    )
}

/// Splits `bytes` into words of `bits` bits each; returns the largest.
fn unpack_limb(bytes: &[u8], bits: u32, words: &mut [u64]) -> u64 {
    let mask = u64::MAX >> (64 - bits);
    let mut largest = 0;
    // Up to 57 bits lie within eight bytes, wherever in a byte they start. The last ones have no
    // eight bytes left.
    let wide = if bits <= 57 { bytes.len().saturating_sub(7) * 8 / bits as usize } else { 0 };
    let (fast, slow) = words.split_at_mut(wide.min(words.len()));
    for (index, word) in fast.iter_mut().enumerate() {
        let at = index * bits as usize;
        let eight: &[u8; 8] = bytes[at / 8..].first_chunk().expect("seven more bytes than words");
        *word = u64::from_le_bytes(*eight) >> (at % 8) & mask;
        largest = largest.max(*word);
    }
    let at = fast.len() * bits as usize;
    let mut next = bytes[at / 8..].iter();
    let (mut buffer, mut held) = (0u128, 0);
    let inside = (at % 8) as u32;
    if inside > 0 {
        buffer = u128::from(*next.next().expect("the length was checked")) >> inside;
        held = 8 - inside;
    }
    for word in slow {
        while held < bits {
            buffer |= u128::from(*next.next().expect("the length was checked")) << held;
            held += 8;
        }
        *word = buffer as u64 & mask;
        buffer >>= bits;
        held -= bits;
        largest = largest.max(*word);
    }
    largest
}

pub(crate) fn unpack_polys(
    context: &Context,
    kind: Kind,
    basis: Basis,
    count: usize,
    body: &[u8],
) -> Result<Vec<Poly>, FormatError> {
    let primes = primes(context, basis, 1);
    let len = packed_len(context, &primes);
    check_length(kind, len * count, body.len())?;
    body.chunks_exact(len)
        .map(|bytes| {
            let mut poly = Poly::zero(context, basis, Domain::Evaluation);
            unpack(context, kind, &primes, bytes, poly.data_mut())?;
            Ok(poly)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_every_width_are_the_bits_they_were() {
        for bits in 1..=64u32 {
            for count in [0, 8, 16, 64] {
                let bytes: Vec<u8> =
                    (0..count * bits as usize / 8).map(|i| (i * i * 31 + i * 7 + 200) as u8).collect();
                let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
                let expected: Vec<u64> = (0..count)
                    .map(|i| (0..bits as usize).map(|b| bit(i * bits as usize + b) << b).sum())
                    .collect();
                let mut words = vec![0; count];
                let largest = unpack_limb(&bytes, bits, &mut words);
                assert_eq!(words, expected, "{bits} bits");
                assert_eq!(largest, expected.iter().copied().max().unwrap_or(0));
            }
        }
    }
}
