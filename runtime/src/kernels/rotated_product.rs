//! The inner product with a switching key, rotated, some evaluations at a time: the safe face.

#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::isa::Kind;
use super::packing::{PACKED_BLOCK, PACKED_SLACK};
use super::permutation::{BLOCK, split};
use super::{Isa, KeyLimb, Modulus, Permutation, add_assign, debug_assert_canonical, key_inner_product};

// A block of a permutation is one of a key.
const _: () = assert!(BLOCK == PACKED_BLOCK);

/// A ciphertext's lifted digits and the key of a rotation, modulo one prime: `X(sum of digits * key + (addend, 0))` is the rotated ciphertext
/// before the division by `P`, for the automorphism `X`.
#[derive(Clone, Debug)]
pub struct RotatedProduct<'a> {
    /// The digits, of the permutation's degree.
    pub digits: &'a [&'a [u64]],
    /// The key, for as many evaluations.
    pub key: KeyLimb<'a>,
    /// `P c_0`; `None` modulo a special prime, where it is zero.
    pub addend: Option<&'a [u64]>,
    /// `X`.
    pub permutation: &'a Permutation,
}

/// `outs ← product`, evaluations from block `first` on, of 64 each, as many as the outputs take.
///
/// What rotations are multiplied with can so be multiplied while they are in the first caches.
///
/// *Panics* unless the outputs take whole blocks that there are, as many, and everything else has the degree of the permutation.
pub fn rotated_inner_product(
    isa: Isa,
    [out0, out1]: [&mut [u64]; 2],
    product: &RotatedProduct<'_>,
    first: usize,
    m: &Modulus,
) {
    let (degree, len) = (product.permutation.degree(), out0.len());
    assert_eq!(out1.len(), len, "outputs of different lengths");
    let end = first.checked_mul(BLOCK).and_then(|start| start.checked_add(len));
    assert!(len.is_multiple_of(BLOCK) && end.is_some_and(|end| end <= degree), "whole blocks that there are");
    for whole in product.digits.iter().copied().chain(product.addend) {
        assert_eq!(whole.len(), degree, "a permutation of as many evaluations");
        debug_assert_canonical(whole, m);
    }
    product.key.check(degree, product.digits.len(), m);
    match isa.0 {
        #[cfg(target_arch = "x86_64")]
        Kind::Avx512 => {
            // SAFETY: the value of `isa` was made by detection; the lengths and counts were checked above.
            unsafe { avx512::rotated_inner_product([out0, out1], product, first, m) }
        }
        _ => by_blocks(isa, [out0, out1], product, first, m),
    }
}

/// [`rotated_inner_product`] of the kernels for each step.
fn by_blocks(
    isa: Isa,
    [out0, out1]: [&mut [u64]; 2],
    product: &RotatedProduct<'_>,
    first: usize,
    m: &Modulus,
) {
    let RotatedProduct { digits, key, addend, permutation } = product;
    let row = key.row_words().unwrap_or(0);
    let mut switched = [[0; BLOCK]; 2];
    let outs = out0.chunks_exact_mut(BLOCK).zip(out1.chunks_exact_mut(BLOCK));
    for ((out0, out1), &entry) in outs.zip(&permutation.blocks[first..]) {
        let (source, carry) = split(entry);
        let digits: Vec<&[u64]> = digits.iter().map(|digit| &digit[source..][..BLOCK]).collect();
        let words = &key.words[source / BLOCK * row..][..row + PACKED_SLACK];
        let [u0, u1] = &mut switched;
        key_inner_product(isa, u0, u1, &digits, KeyLimb { words, ..key.clone() }, m);
        if let Some(addend) = addend {
            add_assign(isa, u0, &addend[source..][..BLOCK], m);
        }
        for (out, u) in [(out0, u0), (out1, u1)] {
            for (z, &place) in out.iter_mut().zip(&permutation.places[carry]) {
                *z = u[usize::from(place)];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{PRIME_BITS, Words, ntt_prime};
    use crate::kernels::{pack_into, packed_bits, permute_into};

    #[test]
    fn products_are_those_of_all_evaluations_rotated_in_every_set() {
        let log_n = 11;
        let degree = 1 << log_n;
        for bits in PRIME_BITS {
            let m = ntt_prime(bits, log_n, 0);
            let mut words = Words(u64::from(bits));
            for (terms, key_digits, absent) in [(3, 3, 0..0), (2, 5, 1..4), (1, 1, 0..0), (19, 20, 4..5)] {
                let digits: Vec<_> = (0..terms).map(|_| words.residues(degree, m.value())).collect();
                let digits: Vec<&[u64]> = digits.iter().map(|digit| &digit[..]).collect();
                let width = packed_bits(bits);
                let residues = words.residues(2 * key_digits * degree, m.value());
                let mut packed = vec![0; residues.len() / PACKED_BLOCK * width as usize];
                pack_into(&mut packed, &residues, width);
                packed.extend([u64::MAX; PACKED_SLACK]);
                let key = KeyLimb { words: &packed, bits: width, digits: key_digits, absent };
                let addend = words.residues(degree, m.value());
                let scalar = Isa::available()[0];
                let mut whole = [(); 2].map(|()| vec![0; degree]);
                let [u0, u1] = &mut whole;
                key_inner_product(scalar, u0, u1, &digits, key.clone(), &m);
                for (element, first, blocks, added) in [
                    (25, 0, 32, true),
                    (5, 3, 8, false),
                    (2 * degree as u64 - 1, 31, 1, true),
                    (3, 32, 0, false),
                    (7, 9, 2, true),
                ] {
                    let permutation = Permutation::new(log_n, element);
                    let addend = added.then_some(&addend[..]);
                    let mut sources = whole.clone();
                    addend.into_iter().for_each(|addend| add_assign(scalar, &mut sources[0], addend, &m));
                    let expected = sources.map(|source| {
                        let mut out = vec![0; degree];
                        permute_into(scalar, &mut out, &source, &permutation);
                        out[first * BLOCK..][..blocks * BLOCK].to_vec()
                    });
                    for isa in Isa::available() {
                        let mut outs = [(); 2].map(|()| vec![u64::MAX; blocks * BLOCK]);
                        let [out0, out1] = &mut outs;
                        let product = RotatedProduct {
                            digits: &digits,
                            key: key.clone(),
                            addend,
                            permutation: &permutation,
                        };
                        rotated_inner_product(isa, [out0, out1], &product, first, &m);
                        assert!(outs == expected, "{isa:?} {bits} {terms} {element} {first}");
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "whole blocks that there are")]
    fn blocks_beyond_the_degree_are_refused() {
        let (permutation, m) = (Permutation::new(10, 5), ntt_prime(50, 10, 0));
        let bits = packed_bits(50);
        let words = vec![0; 2 * 1024 / PACKED_BLOCK * bits as usize + PACKED_SLACK];
        let key = KeyLimb { words: &words, bits, digits: 1, absent: 0..0 };
        let product = RotatedProduct { digits: &[&[0; 1024]], key, addend: None, permutation: &permutation };
        let mut outs = [[0; BLOCK]; 2];
        let [out0, out1] = &mut outs;
        rotated_inner_product(Isa::detect(), [out0, out1], &product, 16, &m);
    }
}
